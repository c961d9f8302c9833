"""Frozen language models, one file per family; they know prompts and batches, not tickets."""

from prunekit.models.base import FrozenModel, Position, Predictions, Ranking
from prunekit.models.batch import Batch, Encoded
from prunekit.models.encoder import Encoder
from prunekit.models.load import borrowed, load, wrap
from prunekit.models.prompt_batch import Head, PromptBatch, stack
from prunekit.models.traits import Traits
from prunekit.models.trial import check_gradient, find_traits

__all__ = [
    "Batch",
    "Encoded",
    "Encoder",
    "FrozenModel",
    "Head",
    "Position",
    "Predictions",
    "PromptBatch",
    "Ranking",
    "Traits",
    "borrowed",
    "check_gradient",
    "find_traits",
    "load",
    "stack",
    "wrap",
]
