"""ULPT (arXiv 2502.04501): P = Z R * s + t, with a frozen random R; the cheapest null model of a low-rank prompt.

As in the authors' code (MANGA-UOFA/ULPT): R Xavier-uniform, Z from N(0, 1), s = 1 and t = 0 of width H; AdamW at 0.6.
R is stored although a seed would make it: what a seed makes may change with the version of torch.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from prunekit.prompts.base import AutoRate, Prompt, frozen, parameter
from prunekit.prompts.factors import normal, xavier
from prunekit.prompts.mask import Mask
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options

RANK = 2


class UlptPrompt(Prompt):
    """A short code per token, thrown into the embedding space at random; R P + 2 H trained numbers.

    Attributes:
        code: Z [P, R].
        scale: s [H].
        shift: t [H].
        projection: R [R, H], frozen.
    """

    method: ClassVar[str] = "ulpt"
    published_rate: ClassVar[float | None] = 0.6
    auto_rate: ClassVar[AutoRate] = AutoRate(0.1, in_units=False)

    projection: Tensor

    def __init__(self, code: Tensor, scale: Tensor, shift: Tensor, projection: Tensor) -> None:
        super().__init__()
        self.code, self.scale, self.shift = parameter(code), parameter(scale), parameter(shift)
        self.register_buffer("projection", frozen(projection))

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt; only the shape of values [P, H] is used."""
        tokens, width = values.shape
        rank = options.rank_or(RANK, most=width)
        code = normal(generator, (tokens, rank), 1.0, values)
        projection = xavier(generator, (rank, width), values)
        return cls(code, values.new_ones(width), values.new_zeros(width), projection)

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return (self.code @ self.projection) * self.scale + self.shift

    def trainable(self, mask: Mask) -> int:
        """The codes of kept tokens, and scale and shift, which all tokens share."""
        return mask.tokens * self.code.shape[1] + self.scale.numel() + self.shift.numel()

    @property
    def sizes(self) -> dict[str, int]:
        """The rank."""
        return {"rank": self.code.shape[1]}
