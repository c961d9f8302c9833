"""Frozen language models, one file per family; they know prompts and batches, not tickets."""

from prunekit.backbones.base import Backbone, Judged, Place, Ranking
from prunekit.backbones.batch import Batch, Encoded
from prunekit.backbones.load import load, wrap
from prunekit.backbones.soft import Head, Soft, stack

__all__ = ["Backbone", "Batch", "Encoded", "Head", "Judged", "Place", "Ranking", "Soft", "load", "stack", "wrap"]
