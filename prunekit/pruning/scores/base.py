"""What a score is: numbers for every token and piece of a prompt, and what each kind of score says of itself.

No file of this package imports torch when it is itself imported: `prunekit --help` lists the scores, and should not
wait for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from prunekit.prompts.mask import Mask
    from prunekit.pruning.schedule import Keep
    from prunekit.pruning.ticket import Ticket

Level = Literal["token", "piece"]
#: What pruning does to a unit: it becomes zeros, is hidden, or removed; "own" is whatever the ticket does.
Act = Literal["zero", "hide", "remove", "own", "none"]
#: What is differentiated: the loss, or how far the right choice is above the best of the others, turned round.
Objective = Literal["loss", "margin"]
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
        facts: what else the score says of itself, by name, such as how far it is from complete.
    """

    token: Tensor
    piece: Tensor
    examples: int
    facts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.token.dim() != 1 or self.piece.dim() != 2 or len(self.piece) != len(self.token):
            raise ValueError(f"want token [P] and piece [P, K], got {[*self.token.shape]} and {[*self.piece.shape]}")


@dataclass(frozen=True)
class Passes:
    """What a score costs: how often each example goes forward through the model, and how often backward."""

    forward: float = 0.0
    backward: float = 0.0

    @property
    def epochs(self) -> float:
        """The same in epochs of training on those examples, of which one is a pass forward and one backward."""
        return (self.forward + self.backward) / 2


class Probe(Protocol):
    """What a score may ask about one ticket; each answer costs passes of the model.

    `prunekit.engine.probe` answers. Slopes are Float[P, K + 1]: of a factor gamma on each token in column 0, of one on
    each of its pieces in the others.

    Attributes:
        ticket: at its own values.
        levels: at which scores are asked for.
        examples: how many there are.
        batch: how many of them an update of training sees.
        start: the ticket as its training began, None where that is not known.
        keep: what pruning by the scores will keep, None where they serve several counts.
    """

    ticket: Ticket
    levels: Sequence[Level]
    examples: int
    batch: int
    start: Ticket | None
    keep: Keep | None

    def slopes(
        self, of_each: Callable[[Tensor], Tensor] | None = None, *, gamma: float = 1.0, objective: Objective = "loss"
    ) -> Tensor:
        """The mean slope where all factors are `gamma`, a pass forward and one backward.

        Args:
            of_each: what is averaged of the slopes of single examples, entry by entry; by default themselves.
        """

    def curvature(self) -> tuple[Tensor, Tensor]:
        """The mean slope at 1, and the Hessian there times ones: how each slope answers if all factors grow.

        A pass forward and about three backward.
        """

    def loss(self, gamma: float) -> float:
        """The loss where all factors are `gamma`, a pass forward."""

    def losses(self, factors: Tensor, update: int) -> Tensor:
        """Float[B], the losses of the B examples of one update, from which slopes go back to the factors.

        A share of a pass forward and one backward.

        Args:
            factors: Float[B, P, K], of each piece, for each of the examples by itself.
            update: its number; examples come in the order in which the ticket would be trained on them.
        """

    def attention(self) -> Tensor:
        """Float[P], the mean attention that each token receives in an example, a pass forward.

        Raises:
            ConfigError: where the model does not show its attention.
        """

    def evaluate(self, cells: Sequence[Tensor], tick: Callable[[int], None]) -> tuple[Tensor, Tensor]:
        """Losses and chosen answers with only some of the cells: `Evaluate`, a pass forward for each entry."""


class Score(ABC):
    """A way to say how important each token and each piece of a prompt is.

    Attributes:
        name: as settings, flags, files and tables spell it.
        label: as figures spell it.
        description: one line, for help texts.
        source: who proposed it, or what it is there for.
        act: what it estimates the cost of.
        levels: at which it tells units apart.
        of_directions: whether it can tell directions of a prompt apart, which are of no token.
        of_choices: whether it needs answers to choose among.
        splits: the splits of the data that `prunekit score` measures it on, in order.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str]
    source: ClassVar[str]
    act: ClassVar[Act] = "zero"
    levels: ClassVar[tuple[Level, ...]] = ("token", "piece")
    of_directions: ClassVar[bool] = True
    of_choices: ClassVar[bool] = False
    splits: ClassVar[tuple[str, ...]] = ("train",)

    @abstractmethod
    def score(self, probe: Probe) -> Scores:
        """The scores of the probe's ticket at its own values."""

    @abstractmethod
    def passes(self, units: Sequence[int]) -> Passes:
        """What `score` costs for so many kept units at each level that is asked for."""


class GradientScore(Score):
    """A first-order estimate: the mean over examples of some function of dL/dgamma.

    gamma is a factor of 1 on a token, or on a piece: its slope says how the loss of one example would answer if the
    token were turned down. `prunekit.engine.gradient_scores` measures the slopes, for all such scores in one pass.
    """

    @abstractmethod
    def reduce(self, slopes: Tensor) -> Tensor:
        """What is averaged of the slopes of single examples, Float[...] of any shape to the same, entry by entry."""

    def score(self, probe: Probe) -> Scores:
        """Means over examples."""
        return from_columns(probe.slopes(self.reduce), probe.examples)

    def passes(self, units: Sequence[int]) -> Passes:
        """A pass, and one back."""
        return Passes(1, 1)


class TicketScore(Score):
    """A score that can be read off the ticket itself, without model and data."""

    act = "none"

    @abstractmethod
    def of(self, ticket: Ticket) -> Scores:
        """The scores of a ticket at its own values."""

    def score(self, probe: Probe) -> Scores:
        """Those of the probe's ticket."""
        return self.of(probe.ticket)

    def passes(self, units: Sequence[int]) -> Passes:
        """None."""
        return Passes()


class MeasuredScore(Score):
    """A score that is measured by leaving tokens or pieces out: exact, a reference for the others, and slower.

    Each has a `measure` of its own, which is given a function that evaluates the prompt with some of its cells
    (`prunekit.engine.ablation` makes one).
    """

    act = "own"
    splits: ClassVar[tuple[str, ...]] = ("validation",)


def from_columns(columns: Tensor, examples: int, facts: Mapping[str, float] | None = None) -> Scores:
    """Scores of Float[P, K + 1] as a probe gives slopes: of tokens first, then of their pieces."""
    return Scores(columns[:, 0], columns[:, 1:], examples, facts or {})


def from_levels(
    mask: Mask, by_level: Mapping[Level, Tensor], examples: int, facts: Mapping[str, float] | None = None
) -> Scores:
    """Scores of Float[P] and Float[P, K] by level; a level that was not asked for is all zeros."""
    piece = by_level.get("piece", mask.piece.double().zero_())
    return Scores(by_level.get("token", mask.token.double().zero_()).double(), piece.double(), examples, facts or {})
