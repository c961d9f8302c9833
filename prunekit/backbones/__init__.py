"""Frozen language models, one file per family; they know prompts and batches, not tickets."""

from prunekit.backbones.base import Backbone, Judged, Place, Ranking
from prunekit.backbones.batch import Batch, Encoded
from prunekit.backbones.load import borrowed, load, wrap
from prunekit.backbones.soft import Head, Soft, stack
from prunekit.backbones.traits import Traits
from prunekit.backbones.trial import check_gradient, settle

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
