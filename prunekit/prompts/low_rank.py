"""What pruning directions leaves of a prompt: k of its singular directions, as the factors that it is trained on at.

Nobody begins with such a prompt: `prunekit.pruning.directions` makes it of a trained one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from prunekit.prompts.base import Prompt, frozen, parameter
from prunekit.prompts.mask import Mask


class OfDirections(Prompt):
    """What tokens have of k directions, times these.

    The product is scaled so that both factors are as large as the prompt itself: one learning rate then moves them, and
    what they make, by as much of themselves as it moves plain vectors.

    Attributes:
        left: [P, k], what each token has of each direction.
        scale: [], frozen.
    """

    method: ClassVar[str] = "low_rank"

    scale: Tensor

    def __init__(self, left: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.left = parameter(left)
        self.register_buffer("scale", frozen(scale))

    @property
    def directions(self) -> Tensor:
        """[k, H], as long as the prompt is large."""
        raise NotImplementedError

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self.scale * (self.left @ self.directions)

    @property
    def rank(self) -> int:
        """How many directions there are."""
        return self.left.shape[1]

    def density(self, mask: Mask) -> float:
        """Free numbers / (P x H)."""
        return self.trainable(mask) / (len(mask.token) * self.directions.shape[1])


class LowRankPrompt(OfDirections):
    """A prompt of rank k at most for the whole of training, whose directions may turn; k (P + H - k) free numbers.

    Attributes:
        right: [k, H], the directions.
    """

    def __init__(self, left: Tensor, right: Tensor, scale: Tensor) -> None:
        super().__init__(left, scale)
        self.right = parameter(right)

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> type[Prompt]:
        """A control's directions are frozen, and have another name."""
        return FixedSubspacePrompt if "basis" in state else cls

    @property
    def directions(self) -> Tensor:
        """Trained."""
        return self.right

    def trainable(self, mask: Mask) -> int:
        """Of P kept tokens k (P + H - k): k x k of the factors' numbers only turn one against the other."""
        rank, width = self.right.shape
        return rank * (mask.tokens + width - rank)


class FixedSubspacePrompt(OfDirections):
    """The same with directions that stay as they were; P k numbers, the control of `LowRankPrompt`.

    Attributes:
        basis: [k, H], the directions.
    """

    basis: Tensor

    def __init__(self, left: Tensor, basis: Tensor, scale: Tensor) -> None:
        super().__init__(left, scale)
        self.register_buffer("basis", frozen(basis))

    @property
    def title(self) -> str:
        """Set apart from the prompts that it is a control of."""
        return "fixed-subspace"

    @property
    def directions(self) -> Tensor:
        """Frozen."""
        return self.basis

    def trainable(self, mask: Mask) -> int:
        """What each kept token has of each direction."""
        return mask.tokens * self.rank
