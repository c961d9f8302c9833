"""A prompt in front of a decoder's texts, read once for all of them (Decoder, position "first").

The model is causal, so that nothing of a prompt depends on the texts behind it. The prompt of a member goes through the
model as one row, and its texts as rows behind the keys and values that it leaves, instead of once with every text. The
gradient comes back through these keys and values, added up over the texts, and through that one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from prunekit.models.input_rows import InputRows, PromptAndInput, positions_of
from prunekit.models.prefix import PrefixLayer
from prunekit.models.prompt_batch import PromptBatch


class PromptLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values of prompts, with their history.

    A layer that is computed again for its backward pass finds no others before its own, unlike in a cache that grows.
    """

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """The prompts' own keys and values [S, heads, P, D], as they are."""
        self.keys, self.values = key_states, value_states
        return key_states, value_states


@dataclass(frozen=True)
class RowsBehindPrompts(InputRows):
    """N = S * B * R rows of texts behind the prompts of S members; `attention` and `counted` are of the texts alone.

    Attributes:
        before: Bool[N, P], the prompt slots that are attended to.
        cache: what the model keeps of the prompts, in every layer.
    """

    before: Tensor
    cache: Cache


def empty_cache() -> Cache:
    """A cache that the prompts' own pass fills."""
    return Cache(layer_class_to_replicate=PromptLayer)


def prompt_rows(prompts: PromptBatch, like: Tensor) -> InputRows:
    """The prompts of S members as rows [S, P] of their own, of the kind of the embeddings `like`."""
    placed = prompts.placed
    return InputRows(prompts.values.to(like.dtype), prompts.present.long(), positions_of(placed), placed)


def rows_behind(prompts: PromptBatch, parts: PromptAndInput, cache: Cache) -> RowsBehindPrompts:
    """The texts of `parts`, whose positions go on from those of the prompts.

    Args:
        cache: filled by `prompt_rows`.
    """
    members, size, rows = parts.mask.shape[:3]
    begins = prompts.placed.sum(-1)[:, None, None, None]
    positions = positions_of(parts.mask) + begins
    layers = [
        PrefixLayer(layer.keys[:, None, None], layer.values[:, None, None], None, (members, size, rows))
        for layer in cache.layers
    ]
    embeds, mask, positions, before = (
        part.flatten(0, 2) for part in (parts.embedded, parts.mask, positions, parts.present)
    )
    return RowsBehindPrompts(embeds, mask.long(), positions, mask, before, Cache(layers=layers))
