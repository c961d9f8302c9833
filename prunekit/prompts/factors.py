"""Draws and factors that several methods start from, and the prompt that is a product of two of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from prunekit.prompts.base import Prompt, parameter
from prunekit.prompts.mask import Mask
from prunekit.support.errors import DivergedError


class FactorPrompt(Prompt):
    """A product of two thin matrices, of rank R at most for the whole of training; R (P + H) numbers.

    Attributes:
        left: [P, R], a row per token.
        right: what all tokens share.
    """

    def __init__(self, left: Tensor, right: Tensor) -> None:
        super().__init__()
        self.left, self.right = parameter(left), parameter(right)

    def trainable(self, mask: Mask) -> int:
        """Kept rows of the left factor, and the whole right one, which all rows share."""
        return mask.tokens * self.left.shape[1] + self.right.numel()

    @property
    def sizes(self) -> dict[str, int]:
        """The rank."""
        return {"rank": self.left.shape[1]}


def svd(values: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Truncated singular value decomposition of values [P, H]: U [P, R], s [R], V [R, H], U diag(s) V the nearest.

    Computed in float64. The sign of each direction, which is free, is fixed: the largest entry of its row of V is
    positive, so that two machines agree.

    Raises:
        DivergedError: where an entry is NaN or infinite.
    """
    if not torch.isfinite(values).all():
        raise DivergedError("values with NaN or infinite entries have no singular value decomposition")
    left, size, right = torch.linalg.svd(values.detach().double(), full_matrices=False)
    left, size, right = left[:, :rank], size[:rank], right[:rank]
    peak = right.gather(1, right.abs().argmax(dim=1, keepdim=True))
    sign = torch.where(peak < 0, -1.0, 1.0).to(right)  # [R, 1]
    return (left * sign.T).to(values.dtype), size.to(values.dtype), (right * sign).to(values.dtype)


def uniform(generator: torch.Generator, shape: tuple[int, ...], bound: float, like: Tensor) -> Tensor:
    """Independent U(-bound, bound) entries [*shape], of the type of `like` (any tensor)."""
    return (torch.rand(shape, generator=generator, dtype=like.dtype) * 2 - 1) * bound


def normal(generator: torch.Generator, shape: tuple[int, ...], deviation: float, like: Tensor) -> Tensor:
    """Independent N(0, deviation^2) entries [*shape], of the type of `like` (any tensor)."""
    return torch.randn(shape, generator=generator, dtype=like.dtype) * deviation


def kaiming(generator: torch.Generator, shape: tuple[int, int], like: Tensor) -> Tensor:
    """The default start of a matrix [*shape] in torch: U(-b, b), b = 1 / sqrt(columns) (Kaiming-uniform, a = sqrt 5).

    torch takes the number of columns for the fan-in, whatever the matrix multiplies; DePT and ADePT call it so.
    """
    return uniform(generator, shape, 1 / math.sqrt(shape[1]), like)


def xavier(generator: torch.Generator, shape: tuple[int, int], like: Tensor) -> Tensor:
    """Xavier-uniform [*shape]: U(-b, b) with b = sqrt(6 / (rows + columns))."""
    return uniform(generator, shape, math.sqrt(6 / sum(shape)), like)
