"""Prompts under study: what was learned, where it started and what of it is kept, as matrices that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunekit.prompts.mask import Mask
from prunekit.support.errors import DivergedError

#: The first columns of every table about prompts: which one it is.
KEYS = ("run", "task", "model", "method", "labels", "stage", "arm", "seed", "round")
#: What of a prompt has a spectrum; "centred": without its column mean, which a start of positive numbers has by itself.
MATRICES = ("values", "change", "start", "values centred", "change centred", "start centred")
CENTRED = " centred"


@dataclass(frozen=True)
class PromptRecord:
    """One prompt.

    Attributes:
        keys: `KEYS` and their values.
        values: [P, H] as trained.
        start: [P, H] what its round started from.
        origin: [P, H] before any update, which rounds that hand on their values share.
        mask: what of it is kept.
    """

    keys: Mapping[str, Any]
    values: Tensor
    start: Tensor
    origin: Tensor
    mask: Mask

    @property
    def keep(self) -> Tensor:
        """Bool[P', H]: the kept entries of the P' kept tokens."""
        return self.mask.expand(self.values.shape[1])[self.mask.token]

    def matrix(self, name: str) -> Tensor:
        """[P', H], float64: one of `MATRICES` on the kept tokens, exact zeros where a piece is dropped.

        Rows of dropped tokens would be zeros, which change no singular value but one that is zero.

        Raises:
            ValueError: where there is no such matrix.
            DivergedError: where it holds NaN or infinite numbers.
        """
        if name not in MATRICES:
            raise ValueError(f'no matrix is called "{name}"; there are {", ".join(MATRICES)}')
        match name.removesuffix(CENTRED):
            case "values":
                matrix = self.values.double()
            case "start":
                matrix = self.origin.double()
            case _:
                matrix = self.values.double() - self.origin.double()
        kept = matrix[self.mask.token] * self.keep
        if not bool(torch.isfinite(kept).all()):
            which = ", ".join(f"{key} {self.keys[key]}" for key in ("run", "seed", "round") if key in self.keys)
            raise DivergedError(f"the {name} of {which} hold NaN or infinite numbers, which have no spectrum")
        return centred(kept, self.keep) if name.endswith(CENTRED) else kept


@dataclass(frozen=True)
class Snapshots:
    """One dense prompt while it was trained.

    Attributes:
        keys: `KEYS` and their values.
        values: step -> [P, H], step 0 its start.
        sigma: step -> [R], the singular values before ReLU of method "singular"; None for the others.
    """

    keys: Mapping[str, Any]
    values: Mapping[int, Tensor]
    sigma: Mapping[int, Tensor] | None = None

    def at(self, step: int) -> PromptRecord:
        """The prompt as it was after `step` updates."""
        values, start = self.values[step], self.values[min(self.values)]
        return PromptRecord(self.keys, values, start, start, Mask.full(len(values), 1))


def centred(matrices: Tensor, keep: Tensor) -> Tensor:
    """[..., P, H] without the mean of each column over its kept entries; dropped ones stay zero."""
    kept = keep.to(matrices.dtype)
    mean = (matrices * kept).sum(dim=-2, keepdim=True) / kept.sum(dim=-2, keepdim=True).clamp(min=1)
    return (matrices - mean) * kept


def largest_rank(keep: Tensor, name: str) -> int:
    """The most a numerical rank can be: of keep [P', H] min(P', H), one less where a mean was taken from P' <= H."""
    tokens, width = keep.shape
    return min(tokens - 1 if name.endswith(CENTRED) else tokens, width)


def plain(values: Tensor, origin: Tensor | None = None, keys: Mapping[str, Any] | None = None) -> PromptRecord:
    """A prompt of values [P, H] alone, nothing dropped; for matrices that come from no run.

    Args:
        origin: [P, H], zeros by default.
        keys: some of `KEYS`; the others are empty.
    """
    start = torch.zeros_like(values) if origin is None else origin
    all_keys = dict.fromkeys(KEYS, "") | {"seed": 0, "round": 0} | dict(keys or {})
    return PromptRecord(all_keys, values, start, start, Mask.full(len(values), 1))
