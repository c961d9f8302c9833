"""P = U ReLU(Sigma) V, all three trained: the parameterisation of DPT's rank study (Xiao et al. 2023).

The study's code is not public; that U, Sigma and V are all trained, from the SVD of the start, is from memory.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from prunekit.prompts.base import AutoRate, Prompt, parameter
from prunekit.prompts.factors import svd
from prunekit.prompts.mask import Mask
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options


class SingularPrompt(Prompt):
    """A singular value decomposition whose values can die.

    A value that falls to 0 or below gets no gradient any more, nor do its directions: `positive` never grows, whatever
    the task. U and V do not stay orthogonal, so that `positive` bounds the rank of P from above and no more.

    Attributes:
        left: U [P, R].
        sigma: [R], descending at the start.
        right: V [R, H].
    """

    method: ClassVar[str] = "singular"
    published_rate: ClassVar[float | None] = 0.3  # DPT's
    auto_rate: ClassVar[AutoRate] = AutoRate(0.05, in_units=False)

    def __init__(self, left: Tensor, sigma: Tensor, right: Tensor) -> None:
        super().__init__()
        self.left, self.sigma, self.right = parameter(left), parameter(sigma), parameter(right)

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt equal to values [P, H], or to the nearest of the asked rank; nothing is drawn."""
        full = min(values.shape)
        return cls(*svd(values, options.rank_or(full, full)))

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return (self.left * F.relu(self.sigma)) @ self.right

    @property
    def positive(self) -> int:
        """How many singular values are left, a count."""
        return int((self.sigma > 0).sum())

    def trainable(self, mask: Mask) -> int:
        """Kept rows of U, and the whole of Sigma and V, dead directions counted too."""
        return mask.tokens * len(self.sigma) + self.sigma.numel() + self.right.numel()

    @property
    def sizes(self) -> dict[str, int]:
        """The rank at the start."""
        return {"rank": len(self.sigma)}
