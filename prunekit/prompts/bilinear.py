"""Low-rank bilinear prompt tuning (BPT: Wang, Duan, Kong, ICCV 2025, arXiv 2506.22908), as text sees it: P = V W^T.

What the model makes of its inputs before a prompt meets it, W_q W_k^T X^T, is bursty; W starts as columns of the matrix
that whitens it. From the authors' vision code (WangYZ1608/BPT): V from N(0, 0.02^2), lr 5e-2. Two of its traits are
not followed: eigenvalues get a floor, since Sigma has fewer directions than H and its root would blow up the others;
and one draw of columns holds for all rows, where the code draws anew for every row and scrambles the matrix.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from prunekit.prompts.base import AutoRate
from prunekit.prompts.factors import FactorPrompt, normal, xavier
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options
from prunekit.support.errors import ConfigError

RANK = 75
DEVIATION = 0.02
# the smallest eigenvalue that is believed, as a fraction of the largest (ours: BPT's code has none)
FLOOR = 1e-3


class BilinearPrompt(FactorPrompt):
    """A product of two thin matrices, the second one whitening at the start; R (P + H) numbers.

    left: V [P, R].  right: W [H, R].
    """

    method: ClassVar[str] = "bilinear"
    published_rate: ClassVar[float | None] = 5e-2
    auto_rate: ClassVar[AutoRate] = AutoRate(0.03, in_units=False)

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt; only the shape of values [P, H] is used.

        Raises:
            ConfigError: where W is to whiten and `context` has no matrix that does, or one of another width.
        """
        tokens, width = values.shape
        rank = options.rank_or(RANK, most=width)
        left = normal(generator, (tokens, rank), DEVIATION, values)
        if not options.whiten:
            return cls(left, xavier(generator, (width, rank), values))
        if context.whitening is None:
            raise ConfigError(
                "a bilinear prompt starts from columns of a whitening matrix [H, H]; make one by `whitened` from "
                "`query_key_moment` of some texts, or set whiten = false for random columns"
            )
        if tuple(context.whitening.shape) != (width, width):
            raise ConfigError(
                f"the whitening matrix has shape {[*context.whitening.shape]}, this model's is [{width}, {width}]"
            )
        columns = torch.randperm(width, generator=generator)[:rank]
        return cls(left, context.whitening[:, columns].to(values))

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self.left @ self.right.T


def whitened(sigma: Tensor, floor: float = FLOOR) -> Tensor:
    """The symmetric whitening matrix [H, H] of sigma [H, H]: U max(S, floor * S_1)^(-1/2) U^T.

    Args:
        floor: the smallest eigenvalue that is believed, as a fraction of the largest, S_1.

    Raises:
        ConfigError: where sigma is zero, or not finite.
    """
    exact = sigma.detach().double()
    finite = bool(torch.isfinite(exact).all())
    size, basis = torch.linalg.eigh((exact + exact.T) / 2 if finite else torch.zeros_like(exact))
    if size[-1] <= 0:
        raise ConfigError("Sigma is zero or not finite, so nothing can be whitened by it; measure it on other inputs")
    size = size.clamp(min=floor * float(size[-1]))
    root: Tensor = (basis * size.rsqrt()) @ basis.T
    return root.to(sigma.dtype)
