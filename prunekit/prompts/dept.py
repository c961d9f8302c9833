"""DePT (Shi and Lipani, ICLR 2024, arXiv 2309.05173): [P ; X + s A B], a short prompt and an offset on the input.

As in the authors' code (ZhengxiangShi/DePT, peft/tuners/prompt_tuning_lora.py): A by position, s = 8 / sqrt(R) and not
8 / R; A as torch starts a Linear, B = 0; learning rates of their own for prompt (0.3, 0.4) and pair (5e-4, 5e-3, 0.3),
with no weight decay. Unlike it, padding gets no offset: see `offsets`.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from prunekit.prompts.base import OffsetRate, Prompt, frozen, parameter
from prunekit.prompts.factors import kaiming
from prunekit.prompts.mask import Mask, piece_width
from prunekit.prompts.offsets import added_by_position
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options

RANK = 45
ALPHA = 8.0


class DeptPrompt(Prompt):
    """P free vectors, and a low-rank offset on the embedding of the input's i-th token, the same for all inputs.

    Attributes:
        values: [P, H].
        left: A [N, R], N the longest input.
        right: B [R, H].
        scale: s, frozen.
    """

    method: ClassVar[str] = "dept"
    moves_input = True
    published_rate: ClassVar[float | None] = 0.3
    offset_parameters: ClassVar[tuple[str, ...]] = ("left", "right")
    # the middle of the three that the README tries; the offset is made of these numbers, so it is in their units
    offset_rate: ClassVar[OffsetRate | None] = OffsetRate(5e-3, 0.3, in_units=True)

    scale: Tensor

    def __init__(self, values: Tensor, left: Tensor, right: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.values, self.left, self.right = parameter(values), parameter(left), parameter(right)
        self.register_buffer("scale", frozen(scale))

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt that is plain prompt tuning from values [P, H], since B = 0."""
        width = values.shape[1]
        rank = options.rank_or(RANK)
        left = kaiming(generator, (options.input_tokens, rank), values)
        return cls(values, left, values.new_zeros(rank, width), values.new_tensor(ALPHA / math.sqrt(rank)))

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self.values

    def embed_input(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H] -> [B, T, H]: row i of s A B added to the i-th token that mask Bool[B, T] counts."""
        return added_by_position(embedded, self.scale * (self.left @ self.right), mask)

    def trainable(self, mask: Mask) -> int:
        """Kept cells x (H / K), and the pair, which is never pruned."""
        width = piece_width(self.values.shape[1], mask.piece.shape[1])
        return mask.cells * width + self.left.numel() + self.right.numel()

    @property
    def sizes(self) -> dict[str, int]:
        """The pair's rank, and the longest input it has an offset for."""
        return {"rank": self.left.shape[1], "input_tokens": len(self.left)}
