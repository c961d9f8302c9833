"""The units that can be left out of a prompt: its kept tokens, or its kept pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import Level

if TYPE_CHECKING:
    from torch import Tensor

    from prunekit.prompts.mask import Mask


def kept_units(mask: Mask, level: Level) -> Tensor:
    """Bool[P] at level "token", Bool[P, K] at level "piece": the units there are."""
    return mask.token if level == "token" else mask.piece


def cells_of(mask: Mask, units: Tensor) -> Tensor:
    """Bool[U, P, K]: the kept cells of each of the U units that are True in `units`, in the order of its entries."""
    cells = units.new_zeros(int(units.sum()), *mask.piece.shape)
    for number, index in enumerate(units.nonzero().tolist()):
        cells[(number, *index)] = True
    return cells & mask.piece
