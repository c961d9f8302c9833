"""The algorithm: iterative rewind-and-prune of soft prompts (XPrompt, section 3, as a lottery-ticket search).

    round 0   train the dense prompt
    round n   score what the last round kept -> drop the worst tokens and pieces -> rewind the rest -> train again

A ticket is a mask, the values that it starts from, and where both came from. Rewinding puts surviving values back to
what they once were, for the next training to start there; what was dropped stays dropped. The tickets of one seed
follow each other from round to round; those of several seeds are trained side by side, as a cohort.

Nothing here knows a model, a disk or a console: `train` trains and scores, the caller saves, plots or stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from prunekit.prompts.base import DroppedAs
from prunekit.prompts.mask import Mask
from prunekit.pruning.directions import Directions, in_subspace
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket, Values
from prunekit.support.errors import ConfigError

Rewind = Literal["trained", "init", "reinit"] | int


@dataclass(frozen=True)
class RoundResult:
    """What a round made of one ticket.

    Attributes:
        kept: the values of its best evaluation.
        validation: the primary metric at those values; None where training did not come to its end (it diverged, or a
            search dropped it).
        scores: importance of each token and piece at those values; None where there are none to prune by, and the
            seed ends here.
        snapshots: values by step, at least those that a later rewind asks for.
    """

    kept: Values
    validation: float | None
    scores: Scores | None
    snapshots: Mapping[int, Values]


@dataclass(frozen=True)
class Rewinding:
    """How a pruned ticket starts.

    Attributes:
        rewind: where surviving values restart: "trained", the values that the previous round kept (XPrompt); "init" or
            a step, the snapshot of round 0 (Frankle and Carbin; late rewinding); "reinit", new ones (a control).
        dropped_as: what stands for a token that was dropped.
        draw: new values for a ticket, which "reinit" needs.
    """

    rewind: Rewind
    dropped_as: DroppedAs = "remove"
    draw: Callable[[Ticket], Values] | None = None

    def start(self, ticket: Ticket, mask: Mask, number: int, last: RoundResult, dense: RoundResult) -> Ticket:
        """The ticket of round `number`: `ticket` under `mask`, rewound.

        Args:
            last: what training made of `ticket`.
            dense: what round 0 made of this seed. The mask is not applied: it stays a factor, at use.
        """
        child = replace(ticket, mask=mask, round=number, rewind=self.rewind, dropped_as=self.dropped_as)
        return child.at(self._values(child, last, dense))

    def start_in(
        self, right: Tensor, ticket: Ticket, number: int, last: RoundResult, first: tuple[Ticket, RoundResult]
    ) -> Ticket:
        """The ticket of round `number` at rank k: rewound as by `start`, then as far as it lies in given directions.

        Args:
            right: [k, H], the directions, of one length (`Directions.factor`).
            last: what training made of `ticket`.
            first: the dense ticket of this seed and what round 0 made of it, which early values are taken from.
        """
        base = ticket if self.rewind == "trained" else first[0]
        return in_subspace(self.start(base, base.mask, number, last, first[1]), right)

    def _values(self, ticket: Ticket, last: RoundResult, dense: RoundResult) -> Values:
        match self.rewind:
            case "trained":
                return last.kept
            case "init":
                return dense.snapshots[0]
            case "reinit":
                return self.new_values(ticket)
            case int(step):
                if step not in dense.snapshots:
                    raise ConfigError(
                        f"rewind = {step}: the dense round of seed {ticket.seed} has no values of that step (it ended "
                        f"at step {max(dense.snapshots, default=0)}); choose an earlier one, or a larger patience"
                    )
                return dense.snapshots[step]

    def new_values(self, ticket: Ticket) -> Values:
        """New starting values for a ticket.

        Raises:
            ValueError: where there is no `draw`.
        """
        if self.draw is None:
            raise ValueError('rewind = "reinit" needs `draw`, which draws new values')
        return self.draw(ticket)


@dataclass(frozen=True)
class Round:
    """One train -> score turn of a cohort; `tickets[i]` became `results[i]`."""

    number: int
    tickets: tuple[Ticket, ...]
    results: tuple[RoundResult, ...]

    def of(self, seed: int) -> tuple[Ticket, RoundResult]:
        """The ticket of a seed and its result."""
        return next(pair for pair in zip(self.tickets, self.results, strict=True) if pair[0].seed == seed)


TrainRound = Callable[[Sequence[Ticket]], Sequence[RoundResult]]


def find_tickets(
    dense: Sequence[Ticket], keeps: Sequence[Keep], train: TrainRound, rewinding: Rewinding
) -> Iterator[Round]:
    """Round 0 on the dense tickets, then one round per entry of `keeps`; yields each round when it is finished.

    Ends early where no seed is left.
    """
    first = last = Round(0, tuple(dense), tuple(train(dense)))
    yield first
    for keep in keeps:
        tickets = next_tickets(first, last, keep, rewinding)
        if not tickets:
            return
        last = Round(last.number + 1, tickets, tuple(train(tickets)))
        yield last


def next_tickets(first: Round, last: Round, keep: Keep, rewinding: Rewinding) -> tuple[Ticket, ...]:
    """The tickets of the round after `last`: its masks pruned by its scores, the surviving values rewound."""
    tickets = []
    for ticket, result in zip(last.tickets, last.results, strict=True):
        if result.scores is not None:
            tickets.append(next_ticket(first.of(ticket.seed), (ticket, result), keep, rewinding))
    return tuple(tickets)


def next_ticket(
    first: tuple[Ticket, RoundResult], last: tuple[Ticket, RoundResult], keep: Keep, rewinding: Rewinding
) -> Ticket:
    """The ticket of one seed after `last`, which has scores: its mask or its directions pruned by them, and rewound."""
    ticket, result = last
    assert result.scores is not None
    if keep.rank is None:
        mask = prune_mask(ticket.mask, result.scores, keep, ticket.frozen)
        return rewinding.start(ticket, mask, ticket.round + 1, result, first[1])
    directions = Directions.of(ticket.at(result.kept))
    rows = directions.right[directions.best(result.scores, keep.rank)]
    return rewinding.start_in(directions.factor(rows), ticket, ticket.round + 1, result, first)
