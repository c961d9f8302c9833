"""Keys turned to other positions, as a model itself would have turned them (rotary embeddings, RoPE).

A row of one token attends to itself alone, whatever its position, so that all that its position changes in what a layer
keeps of it is the rotation of its key. Single tokens at two positions therefore show each layer's own rotation, with
whatever base, scaling, part and order of coordinates; nothing of a model's configuration is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from prunekit.models.cache_argument import cache_argument
from prunekit.models.prefix import CacheShape
from prunekit.models.prefix_decoder import PrefixDecoder

# single tokens that are looked at
_TOKENS = 64
# the largest error of a turned key, as a part of the largest key
_BAR = 1e-5
# rotations that follow the longest row of a batch: what is seen on short rows is not what long ones get
_FOLLOWING = ("dynamic", "longrope")


@dataclass(frozen=True)
class Turn:
    """A rotation of every layer's keys by so many positions.

    Attributes:
        pairs: Int[r / 2, 2], the coordinates that turn together; others stay.
        angles: [L, r / 2], float64.
    """

    pairs: Tensor
    angles: Tensor

    def keys(self, keys: Tensor) -> Tensor:
        """[..., L, heads, D] keys, turned."""
        return rotated(keys, self.pairs, self.angles[:, None])

    def vectors(self, values: Tensor, shape: CacheShape) -> Tensor:
        """[P, H] prompt vectors, their keys turned."""
        parts = values.unflatten(-1, (shape.layers, shape.heads, 2, shape.size)).clone()
        parts[..., 0, :] = self.keys(parts[..., 0, :])
        turned: Tensor = parts.flatten(-4)
        return turned


def rotated(states: Tensor, pairs: Tensor, angles: Tensor) -> Tensor:
    """States [..., D], of which the pairs Int[r / 2, 2] of coordinates are turned by angles [..., r / 2]."""
    first, second = (states[..., pairs[:, part]].double() for part in (0, 1))
    cos, sin = (function(angles).to(states.device) for function in (torch.cos, torch.sin))
    turned = states.clone()
    turned[..., pairs[:, 0]] = (first * cos - second * sin).to(states.dtype)
    turned[..., pairs[:, 1]] = (first * sin + second * cos).to(states.dtype)
    return turned


def turn_back(model: PrefixDecoder, positions: int) -> Turn | None:
    """The rotation that moves keys so many positions towards a row's beginning; None where the model has none.

    A model that learned its positions has none; one whose distances are biases (ALiBi) has none either.
    """
    if positions == 0:
        return Turn(torch.empty(0, 2, dtype=torch.long), torch.empty(model.shape.layers, 0, dtype=torch.float64))
    rotations = repr(getattr(model.text_config, "rope_parameters", None))
    if model.traits.first_position is None or any(kind in rotations for kind in _FOLLOWING):
        return None
    if positions >= model.most_positions:
        return None
    early, late = (_keys_at(model, position) for position in (0, positions))  # [N, L, heads, D]
    if float((early - late).abs().max()) <= _BAR * float(late.abs().max()):
        return None
    for pairs in _pairings(model.shape.size):
        turn = Turn(pairs, _angles(late, early, pairs))
        if float((turn.keys(late) - early).abs().max()) <= _BAR * float(early.abs().max()):
            return turn
    return None


def _keys_at(model: PrefixDecoder, position: int) -> Tensor:
    """[N, L, heads, D], what the layers keep of single tokens at a position."""
    ids = torch.arange(_TOKENS, device=model.device) * 7 % model.embedding_rows
    cache = DynamicCache()
    arguments = {"position_ids": torch.full_like(ids, position + (model.traits.first_position or 0))[:, None]}
    with torch.no_grad():
        model.model(input_ids=ids[:, None], use_cache=True, **arguments, **cache_argument(model.model, cache))
    return torch.stack([layer.keys[:, :, 0] for layer in cache.layers], dim=1)


def _pairings(size: int) -> Iterator[Tensor]:
    """Which coordinates of a key may turn together: halves or neighbours, of all of it or of its first part."""
    for width in (size, size // 2, size // 4, 3 * size // 4):
        if width and width % 2 == 0:
            order = torch.arange(width)
            yield torch.stack([order[: width // 2], order[width // 2 :]], dim=1)
            yield order.view(-1, 2)


def _angles(late: Tensor, early: Tensor, pairs: Tensor) -> Tensor:
    """[L, r / 2], by how much each pair of coordinates turned, over all tokens and heads."""
    numbers = [torch.view_as_complex(keys.double()[..., pairs].contiguous()) for keys in (late, early)]
    return (numbers[0].conj() * numbers[1]).sum((0, 2)).angle()
