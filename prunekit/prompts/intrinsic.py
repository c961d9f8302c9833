"""Intrinsic prompt tuning (Qin et al., arXiv 2110.07867): a code in a subspace that many tasks' prompts share.

A prompt autoencoder is fitted to many trained prompts (`prunekit.experiment.prompt_autoencoder`); its decoder,
Linear-tanh-Linear, is frozen and only a code is trained. As in the authors' code (thunlp/Intrinsic-Prompt-Tuning,
bartPrompt.py, AE_type 1): inner width 768, the code from
N(0, 0.02^2). The control is a random subspace around the start (its intrinsic.py, "random").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor

from prunekit.prompts.base import AutoRate, Prompt, frozen, parameter
from prunekit.prompts.factors import normal
from prunekit.prompts.mask import Mask
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options
from prunekit.support.errors import ConfigError

DEVIATION = 0.02


class IntrinsicPrompt(Prompt):
    """What the frozen decoder of other prompts makes of a trained code; D numbers.

    P_0 + W_2 tanh(W_1 z + b_1), with W_2 = basis outer.

    Attributes:
        code: z [D].
        inner: W_1 [W, D], inner_bias b_1 [W].
        outer: [K, W], basis: [K, P, H], base: P_0 [P, H]. All but the code frozen.
    """

    method: ClassVar[str] = "intrinsic"
    auto_rate: ClassVar[AutoRate] = AutoRate(0.1, in_units=False)  # a fitted code has RMS 1

    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    basis: Tensor
    base: Tensor

    def __init__(
        self, code: Tensor, inner: Tensor, inner_bias: Tensor, outer: Tensor, basis: Tensor, base: Tensor
    ) -> None:
        super().__init__()
        self.code = parameter(code)
        parts = dict(inner=inner, inner_bias=inner_bias, outer=outer, basis=basis, base=base)
        for name, part in parts.items():
            self.register_buffer(name, frozen(part))

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Prompt:
        """A fresh code, near the middle of the decoder's subspace; only the shape of values [P, H] is used.

        With options.subspace = "random" it is the control instead, a `RandomSubspacePrompt`.

        Raises:
            ConfigError: where `context` has no decoder, or one of another shape.
        """
        if options.subspace == "random":
            return RandomSubspacePrompt.start(values, generator, options)
        decoder = context.decoder
        if decoder is None:
            raise ConfigError(
                "an intrinsic prompt needs the decoder of a prompt autoencoder over trained prompts; give the runs "
                'that it is fitted to, or set subspace = "random" for the control'
            )
        if decoder.base.shape != values.shape:
            raise ConfigError(
                f"the decoder makes prompts of {_shape(decoder.base)}, this one has {_shape(values)}; fit it to "
                "prompts of the same length and model"
            )
        code = normal(generator, (decoder.inner.shape[1],), DEVIATION, values)
        parts = (decoder.inner, decoder.inner_bias, decoder.outer, decoder.basis, decoder.base)
        return cls(code, *(part.to(values) for part in parts))

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> type[Prompt]:
        """The control's prompts have no decoder."""
        return cls if "inner" in state else RandomSubspacePrompt

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        inner = self.outer @ torch.tanh(self.inner @ self.code + self.inner_bias)
        return self.base + torch.einsum("k,kph->ph", inner, self.basis)

    def trainable(self, mask: Mask) -> int:
        """The code, whatever is kept: every coordinate hangs on the whole of it."""
        return self.code.numel()

    @property
    def sizes(self) -> dict[str, int]:
        """The dimension of the subspace."""
        return {"dimension": len(self.code)}


class RandomSubspacePrompt(Prompt):
    """P_0 + reshape(R z): a random subspace around the start, the control that has learned nothing from other tasks.

    Attributes:
        code: z [D].
        base: P_0 [P, H], frozen.
        basis: R [D, P, H], frozen.
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

    @property
    def title(self) -> str:
        """Set apart from the other prompts of its method."""
        return "random-subspace"

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


def _shape(values: Tensor) -> str:
    return f"{len(values)} tokens x {values.shape[1]}"
