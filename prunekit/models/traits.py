"""How a model must be given rows of embeddings, as a trial at load (`models/trial.py`) finds out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

# Which rows may share a forward pass, from the most to the least: rows of unequal prompts and texts; rows of one prompt
# length, padded behind their texts; rows of one length; one row.
Together = Literal["batch", "rows", "lengths", "alone"]
# The same of rows that a model writes behind: any, those of one length, or one.
WritesTogether = Literal["batch", "lengths", "alone"]


@dataclass(frozen=True)
class Traits:
    """How a model is given rows of embeddings so that it answers as it does from token ids.

    Attributes:
        scale: what the model multiplies its embeddings by when it is given ids, and only then (Marian, Pegasus).
        per_layer: whether every layer also gets an embedding of its own of each id (Gemma 3n, Gemma 4).
        first_position: the number of a row's first position; None where the model takes no numbers and counts by
            itself.
        together: which rows may share a forward pass; others go one by one.
    """

    scale: float = 1.0
    per_layer: bool = False
    first_position: int | None = None
    together: Together = "batch"


def text_config(config: Any) -> Any:
    """The part of a configuration that is about text, where a model reads pictures or sounds too."""
    try:
        return config.get_text_config()
    except (AttributeError, ValueError):  # not a configuration of transformers, or one of several texts
        return config


def embedding_rows(embedding: nn.Module, config: Any) -> int:
    """How many ids an embedding module has a row for."""
    weight = getattr(embedding, "weight", None)
    return int(text_config(config).vocab_size if weight is None else weight.shape[0])


# settings of lengths beyond which models read a row otherwise: windows, blocks, rotations that follow the longest row
_WINDOWS = (
    "sliding_window", "window_size", "attention_window", "attention_window_size", "local_attention", "local_radius",
    "attention_chunk_size", "local_attn_chunk_length", "lsh_attn_chunk_length", "max_relative_positions",
)  # fmt: skip


def windows(config: Any) -> list[int]:
    """Row lengths, ascending, beyond which a model may read a row otherwise than shorter ones."""
    text_settings = text_config(config)
    lengths: list[Any] = []
    for name in _WINDOWS:
        value = getattr(text_settings, name, None)
        lengths += value if isinstance(value, list | tuple) else [value]
    rope = getattr(text_settings, "rope_parameters", None) or {}
    if isinstance(rope, dict):
        tables = [rope, *(part for part in rope.values() if isinstance(part, dict))]
        lengths += [part.get("original_max_position_embeddings") for part in tables]
    return sorted({int(length) for length in lengths if isinstance(length, int | float) and length > 0})
