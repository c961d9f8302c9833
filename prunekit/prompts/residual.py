"""Residual prompt tuning (Razdaibiedina et al., Findings of ACL 2023): P' = P + LN(MLP(P)).

As in the authors' code (arazd/ResidualPrompts): one MLP shared by all tokens, Linear, ReLU, Linear, then a LayerNorm
and the skip; torch's default start; AdamW at 0.3 for prompt and MLP alike.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from prunekit.prompts.base import Prompt, parameter
from prunekit.prompts.factors import kaiming, uniform
from prunekit.prompts.mask import Mask
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options


class ResidualPrompt(Prompt):
    """P free vectors, each with a shared MLP of itself added.

    At the start the MLP's part has norm sqrt(H) in every row, that of a fresh LayerNorm: P' is not near P, and where
    embeddings are small it is nearly all of P'. The MLP is thrown away after training (`materialise`).

    Attributes:
        values: [P, H].
        down: [W, H], down_bias [W].
        up: [H, W], up_bias [H].
        norm: [H], norm_bias [H].
    """

    method: ClassVar[str] = "residual"
    published_rate: ClassVar[float | None] = 0.3

    def __init__(
        self,
        values: Tensor,
        down: Tensor,
        down_bias: Tensor,
        up: Tensor,
        up_bias: Tensor,
        norm: Tensor,
        norm_bias: Tensor,
    ) -> None:
        super().__init__()
        self.values = parameter(values)
        self.down, self.down_bias = parameter(down), parameter(down_bias)
        self.up, self.up_bias = parameter(up), parameter(up_bias)
        self.norm, self.norm_bias = parameter(norm), parameter(norm_bias)

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt on values [P, H], its MLP as torch starts a Linear."""
        width, inner = values.shape[1], options.bottleneck
        return cls(
            values,
            kaiming(generator, (inner, width), values),
            uniform(generator, (inner,), 1 / math.sqrt(width), values),
            kaiming(generator, (width, inner), values),
            uniform(generator, (width,), 1 / math.sqrt(inner), values),
            values.new_ones(width),
            values.new_zeros(width),
        )

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        inner = F.relu(F.linear(self.values, self.down, self.down_bias))
        outer = F.linear(inner, self.up, self.up_bias)
        return self.values + F.layer_norm(outer, outer.shape[-1:], self.norm, self.norm_bias)

    def trainable(self, mask: Mask) -> int:
        """Kept tokens x H, and the MLP: a dropped piece of a kept token still feeds the pieces that are kept."""
        shared = sum(part.numel() for part in self.parameters()) - self.values.numel()
        return mask.tokens * self.values.shape[1] + shared

    @property
    def sizes(self) -> dict[str, int]:
        """The MLP's hidden width."""
        return {"bottleneck": len(self.down)}
