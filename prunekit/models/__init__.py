"""Frozen language models, one file per family; they know prompts and batches, not tickets."""

from prunekit.models.base import Backbone, Judged, Place, Ranking
from prunekit.models.batch import Batch, Encoded
from prunekit.models.load import borrowed, load, wrap
from prunekit.models.prompt_batch import Head, Soft, stack
from prunekit.models.traits import Traits
from prunekit.models.trial import check_gradient, settle

__all__ = [
    "Backbone",
    "Batch",
    "Encoded",
    "Head",
    "Judged",
    "Place",
    "Ranking",
    "Soft",
    "Traits",
    "borrowed",
    "check_gradient",
    "load",
    "settle",
    "stack",
    "wrap",
]
