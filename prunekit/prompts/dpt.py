"""DPT, decomposed prompt tuning (Xiao et al., Findings of EMNLP 2023, arXiv 2310.10094, Figure 1): P = A B.

As in the authors' code (XYaoooo/DPT): no scaling, no non-linearity, no bias; both factors U(-0.5, 0.5). AdamW at 0.3.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from prunekit.prompts.base import AutoRate
from prunekit.prompts.factors import FactorPrompt, svd, uniform
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options

RANK = 10


class DptPrompt(FactorPrompt):
    """A product of two thin matrices, of rank R at most for the whole of training; R (P + H) numbers.

    left: A [P, R].  right: B [R, H].
    """

    method: ClassVar[str] = "dpt"
    published_rate: ClassVar[float | None] = 0.3
    auto_rate: ClassVar[AutoRate] = AutoRate(0.1, in_units=False)

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt: uniform factors of the shape of values [P, H], or its balanced SVD factors.

        Balanced (PT-MoE): U_R S_R^(1/2) and S_R^(1/2) V_R, whose product is the nearest to `values` of rank R, and
        whose norms are equal, so that one learning rate moves both alike.
        """
        rank = options.rank_or(RANK, min(values.shape))
        match options.factors:
            case "uniform":
                tokens, width = values.shape
                left = uniform(generator, (tokens, rank), 0.5, values)
                return cls(left, uniform(generator, (rank, width), 0.5, values))
            case "svd":
                left, size, right = svd(values, rank)
                return cls(left * size.sqrt(), size.sqrt()[:, None] * right)

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self.left @ self.right
