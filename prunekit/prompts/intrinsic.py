"""Intrinsic prompt tuning (Qin et al., arXiv 2110.07867): a code in a subspace that many tasks' prompts share.

A prompt autoencoder is fitted to many trained prompts; its decoder, Linear-tanh-Linear, is frozen and only a code is
trained. As in the authors' code (thunlp/Intrinsic-Prompt-Tuning, bartPrompt.py, AE_type 1): inner width 768, the code
from N(0, 0.02^2). The control is a random subspace around the start (its intrinsic.py, "random").
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from prunekit.errors import ConfigError
from prunekit.masks import Mask
from prunekit.prompts.base import Prompt, frozen, parameter
from prunekit.prompts.factors import normal
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options

DEVIATION = 0.02


class IntrinsicPrompt(Prompt):
    """What a frozen decoder makes of a trained code: W_2 tanh(W_1 z + b_1) + b_2; D trained numbers.

    code: z [D].  inner: W_1 [W, D], inner_bias [W].  outer: W_2 [P, H, W], outer_bias [P, H]. All but the code frozen.
    """

    method: ClassVar[str] = "intrinsic"

    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    def __init__(self, code: Tensor, inner: Tensor, inner_bias: Tensor, outer: Tensor, outer_bias: Tensor) -> None:
        super().__init__()
        self.code = parameter(code)
        for name, part in dict(inner=inner, inner_bias=inner_bias, outer=outer, outer_bias=outer_bias).items():
            self.register_buffer(name, frozen(part))

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Prompt:
        """A fresh code, near the middle of the decoder's subspace; it owes values [P, H] its shape alone.

        With options.subspace = "random" it is the control instead, a `RandomSubspacePrompt`.

        Raises: ConfigError where `context` has no decoder, or one of another shape.
        """
        if options.subspace == "random":
            return RandomSubspacePrompt.start(values, generator, options)
        decoder = context.decoder
        if decoder is None:
            raise ConfigError(
                "an intrinsic prompt needs the decoder of a prompt autoencoder over trained prompts; give the runs "
                'that it is fitted to, or set subspace = "random" for the control'
            )
        if len(decoder.outer_bias) != values.numel():
            raise ConfigError(
                f"the decoder makes {len(decoder.outer_bias)} numbers, a prompt of {len(values)} tokens x "
                f"{values.shape[1]} has {values.numel()}; fit it to prompts of the same length and model"
            )
        code = normal(generator, (decoder.inner.shape[1],), DEVIATION, values)
        outer = decoder.outer.unflatten(0, values.shape)
        parts = (decoder.inner, decoder.inner_bias, outer, decoder.outer_bias.view(values.shape))
        return cls(code, *(part.to(values) for part in parts))

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self.outer @ torch.tanh(self.inner @ self.code + self.inner_bias) + self.outer_bias

    def trainable(self, mask: Mask) -> int:
        """The code, whatever is kept: every coordinate hangs on the whole of it."""
        return self.code.numel()

    @property
    def sizes(self) -> dict[str, int]:
        """The dimension of the subspace."""
        return {"dimension": len(self.code)}


class RandomSubspacePrompt(Prompt):
    """P_0 + reshape(R z): a random subspace around the start, the control that no other task has told anything.

    code: z [D].  base: P_0 [P, H], frozen.  basis: R [D, P, H], frozen.
    """

    method: ClassVar[str] = "intrinsic"

    base: Tensor
    basis: Tensor

    def __init__(self, code: Tensor, base: Tensor, basis: Tensor) -> None:
        super().__init__()
        self.code = parameter(code)
        self.register_buffer("base", frozen(base))
        self.register_buffer("basis", frozen(basis))

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt that is values [P, H] exactly, since z = 0.

        R is N(0, 1) / sqrt(D): a step of z moves every coordinate of P by about as much as itself, so that prompt
        tuning's learning rate fits. The authors' N(0, 0.01^2) is the same at another learning rate.
        """
        dimension = options.dimension
        basis = normal(generator, (dimension, *values.shape), 1 / math.sqrt(dimension), values)
        return cls(values.new_zeros(dimension), values, basis)

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self.base + torch.einsum("d,dph->ph", self.code, self.basis)

    def trainable(self, mask: Mask) -> int:
        """The code, whatever is kept."""
        return self.code.numel()

    @property
    def sizes(self) -> dict[str, int]:
        """The dimension of the subspace."""
        return {"dimension": len(self.code)}
