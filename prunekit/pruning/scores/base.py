"""What a score is: numbers for every token and piece of a prompt, and what each kind of score says of itself.

No file of this package imports torch when it is itself imported: `prunekit --help` lists the scores, and should not
wait for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from prunekit.pruning.ticket import Ticket

Level = Literal["token", "piece"]
#: Losses and chosen answers [M, N] on N examples, of one prompt with only the cells Bool[P, K] of each of M entries;
#: the function that is passed along is called with the number of entries done.
Evaluate = Callable[[Sequence["Tensor"], Callable[[int], None]], tuple["Tensor", "Tensor"]]


@dataclass(frozen=True)
class Scores:
    """Importance of a prompt's tokens and pieces; larger = keep.

    Attributes:
        token: Float[P].
        piece: Float[P, K].
        examples: how many examples the scores are averaged over, 0 where they need none. Entries of dropped cells mean
            nothing and are ignored when choosing.
    """

    token: Tensor
    piece: Tensor
    examples: int

    def __post_init__(self) -> None:
        if self.token.dim() != 1 or self.piece.dim() != 2 or len(self.piece) != len(self.token):
            raise ValueError(f"want token [P] and piece [P, K], got {[*self.token.shape]} and {[*self.piece.shape]}")


class Score(ABC):
    """A way to say how important each token and each piece of a prompt is.

    Attributes:
        name: as settings, flags, files and tables spell it.
        label: as figures spell it.
        description: one line, for help texts.
        source: who proposed it, or what it is there for.
        splits: the splits of the data that it is measured on, in order.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str]
    source: ClassVar[str]
    splits: ClassVar[tuple[str, ...]] = ("train",)


class GradientScore(Score):
    """A first-order estimate: the mean over examples of some function of dL/dgamma.

    gamma is a factor of 1 on a token, or on a piece: its slope says how the loss of one example would answer if the
    token were turned down. `prunekit.engine.gradient_scores` measures the slopes, for all such scores in one pass.
    """

    @abstractmethod
    def reduce(self, slopes: Tensor) -> Tensor:
        """What is averaged of the slopes of single examples, Float[...] of any shape to the same, entry by entry."""


class TicketScore(Score):
    """A score that can be read off the ticket itself, without model and data."""

    @abstractmethod
    def of(self, ticket: Ticket) -> Scores:
        """The scores of a ticket at its own values."""


class MeasuredScore(Score):
    """A score that is measured by leaving tokens or pieces out: exact, and slower than an estimate.

    Each has a `measure` of its own, which is given a function that evaluates the prompt with some of its cells
    (`prunekit.engine.ablation` makes one). No schedule prunes by it.
    """

    splits: ClassVar[tuple[str, ...]] = ("validation",)
