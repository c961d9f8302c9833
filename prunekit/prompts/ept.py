"""EPT-style prompts, after EPT (Lan et al., AAAI 2025, arXiv 2405.11464): short prompt, low-rank pair, fusion, spaces.

The paper's equations could not be read and its code is not public, so that this is a reading of its abstract: the pair
A B moves the input embeddings, as in DePT; fusion lets the short prompt attend to A B; multi-space projection weighs
several subspaces by a gating network; the result is prepended. It is not to be reported as EPT. Hyper-parameters are
DePT's where it has them, else ours, and so is the low-rank form of fusion and spaces: full H x H maps would train more
numbers than the prompt that they are to save.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from prunekit.prompts.base import OffsetRate, Prompt, parameter
from prunekit.prompts.factors import kaiming, uniform
from prunekit.prompts.mask import Mask, piece_width
from prunekit.prompts.offsets import added_by_position
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options

RANK = 45


class EptPrompt(Prompt):
    """EPT-style: P free vectors, a positional offset on the input, and two modules that let the prompt know of it.

    fusion: P_f = P + softmax(P W_q (A B W_k)^T / sqrt D) (A B) W_v W_o.
    projection: sum over j of g_j S_j, with spaces S_j = P_f (I + D_j U_j) and the gate g = softmax(G mean(P_f)).

    Attributes:
        values: P [P, H].
        left: A [N, R], N the longest input.
        right: B [R, H].
        attention: W_q, W_k, W_v [3, H, D] and out: W_o [D, H], or None without fusion.
        down: D_j [M, H, D], up: U_j [M, D, H] and gate: G [M, H], or None without projection.
    """

    method: ClassVar[str] = "ept"
    moves_input = True
    # of these, the ones that an ablation leaves in
    offset_parameters: ClassVar[tuple[str, ...]] = ("left", "right", "attention", "out", "down", "up", "gate")
    offset_rate: ClassVar[OffsetRate | None] = OffsetRate(5e-3, 0.3, in_units=True)  # DePT's

    attention: nn.Parameter | None
    out: nn.Parameter | None
    down: nn.Parameter | None
    up: nn.Parameter | None
    gate: nn.Parameter | None

    def __init__(
        self,
        values: Tensor,
        left: Tensor,
        right: Tensor,
        *,
        attention: Tensor | None = None,
        out: Tensor | None = None,
        down: Tensor | None = None,
        up: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> None:
        super().__init__()
        if (attention is None) != (out is None) or len({part is None for part in (down, up, gate)}) > 1:
            raise TypeError("fusion takes attention and out, projection takes down, up and gate")
        self.values, self.left, self.right = parameter(values), parameter(left), parameter(right)
        for name, part in dict(attention=attention, out=out, down=down, up=up, gate=gate).items():
            self.register_parameter(name, None if part is None else parameter(part))

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt that is plain prompt tuning from values [P, H], bit for bit: B and every U_j are zero.

        B = 0 silences the offset and fusion alike. The other parts are random and the gate is even, so that B and the
        spaces learn from the first update on.
        """
        width, inner, count = values.shape[1], options.inner, options.spaces
        rank = options.rank_or(RANK)
        bound = 1 / math.sqrt(width)
        left = kaiming(generator, (options.input_tokens, rank), values)
        modules: dict[str, Tensor] = {}
        if options.fusion:
            modules["attention"] = uniform(generator, (3, width, inner), bound, values)
            modules["out"] = uniform(generator, (inner, width), 1 / math.sqrt(inner), values)
        if options.projection:
            modules["down"] = uniform(generator, (count, width, inner), bound, values)
            modules["up"] = values.new_zeros(count, inner, width)
            modules["gate"] = values.new_zeros(count, width)
        return cls(values, left, values.new_zeros(rank, width), **modules)

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self._projected(self._fused(self.values))

    def embed_input(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H] -> [B, T, H]: row i of A B added to the i-th token that mask Bool[B, T] counts."""
        return added_by_position(embedded, self.left @ self.right, mask)

    def trainable(self, mask: Mask) -> int:
        """The pair and the modules, never pruned, and what of the values still reaches something.

        All P x H of them where there is a gate, which reads their mean; kept tokens x H with fusion alone, whose
        query reads whole tokens; kept cells x (H / K) with neither.
        """
        tokens, width = self.values.shape
        shared = sum(part.numel() for part in self.parameters()) - self.values.numel()
        if self.gate is not None:
            return tokens * width + shared
        if self.attention is not None:
            return mask.tokens * width + shared
        return mask.cells * piece_width(width, mask.piece.shape[1]) + shared

    @property
    def sizes(self) -> dict[str, int]:
        """Rank, longest input, whether there is fusion (0 or 1), and the number of spaces, 0 without projection."""
        return {
            "rank": self.left.shape[1],
            "input_tokens": len(self.left),
            "fusion": int(self.attention is not None),
            "spaces": 0 if self.gate is None else len(self.gate),
        }

    def _fused(self, prompt: Tensor) -> Tensor:
        if self.attention is None or self.out is None:
            return prompt
        query, key, value = self.attention
        pair = self.left @ self.right  # [N, H]
        logits = (prompt @ query) @ (pair @ key).T / math.sqrt(query.shape[1])  # [P, N]
        fused: Tensor = logits.softmax(dim=-1) @ (pair @ value) @ self.out
        return prompt + fused

    def _projected(self, prompt: Tensor) -> Tensor:
        if self.down is None or self.up is None or self.gate is None:
            return prompt
        share = (self.gate @ prompt.mean(dim=0)).softmax(dim=0)  # [M]
        moves = (prompt @ self.down) @ self.up  # [M, P, H]
        return prompt + torch.einsum("m,mph->ph", share, moves)  # the shares sum to 1, so that each space adds its part
