"""The algorithm: iterative rewind-and-prune of soft prompts (XPrompt, section 3, as a lottery-ticket search).

    round 0   train the dense prompt
    round n   score what the last round kept -> drop the worst tokens and pieces -> rewind the rest -> train again

A ticket is a mask, the values that it starts from, and where both came from. Rewinding puts surviving values back to
where they once were, for the next training to start there; what was dropped stays dropped.

Nothing here knows a model, a disk or a console: `learn` trains and scores, the caller saves, plots or stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prunekit.prompts.base import DroppedAs
from prunekit.prompts.mask import Mask
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket, Values
from prunekit.support.errors import ConfigError

Rewind = Literal["trained", "init", "reinit"] | int
Fresh = Callable[[Ticket], Values]


@dataclass(frozen=True)
class RoundResult:
    """What a round made of one ticket.

    Attributes:
        kept: the values of its best evaluation.
        validation: their primary metric there; None where training did not come to its end (it diverged, or a search
            dropped it).
        scores: importance of each token and piece at those values; None where there are none to prune by, and the
            lineage ends.
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
            a step, the snapshot of round 0 (Frankle and Carbin; late rewinding); "reinit", new ones from `fresh` (a
            control).
        dropped_as: what stands for a token that was dropped.
    """

    rewind: Rewind
    dropped_as: DroppedAs = "remove"
    fresh: Fresh | None = None

    def start(self, ticket: Ticket, mask: Mask, number: int, last: RoundResult, dense: RoundResult) -> Ticket:
        """The ticket of round `number`: `ticket` under `mask`, rewound.

        Args:
            last: what was learned from `ticket`, and in round 0. The mask is not applied: it stays a factor, at use.
            dense: what was learned from `ticket`, and in round 0. The mask is not applied: it stays a factor, at use.
        """
        child = replace(ticket, mask=mask, round=number, rewind=self.rewind, dropped_as=self.dropped_as)
        return child.at(self._values(child, last, dense))

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
            ValueError: where there is no `fresh` to draw them.
        """
        if self.fresh is None:
            raise ValueError('rewind = "reinit" needs `fresh`, which draws new values')
        return self.fresh(ticket)


@dataclass(frozen=True)
class Round:
    """One train -> score turn of a cohort; member i is `tickets[i]`, which became `learned[i]`.

    A lineage keeps its seed from round to round.
    """

    number: int
    tickets: tuple[Ticket, ...]
    learned: tuple[RoundResult, ...]

    def of(self, seed: int) -> tuple[Ticket, RoundResult]:
        """The member of a seed."""
        return next(pair for pair in zip(self.tickets, self.learned, strict=True) if pair[0].seed == seed)


Learn = Callable[[Sequence[Ticket]], Sequence[RoundResult]]


def find_tickets(dense: Sequence[Ticket], keeps: Sequence[Keep], learn: Learn, rewinding: Rewinding) -> Iterator[Round]:
    """Round 0 on the dense tickets, then one round per entry of `keeps`; yields each round when it is finished.

    Ends early where no lineage is left.
    """
    rounds = [Round(0, tuple(dense), tuple(learn(dense)))]
    yield rounds[0]
    for keep in keeps:
        tickets = next_tickets(rounds[0], rounds[-1], keep, rewinding)
        if not tickets:
            return
        rounds.append(Round(len(rounds), tickets, tuple(learn(tickets))))
        yield rounds[-1]


def next_tickets(first: Round, last: Round, keep: Keep, rewinding: Rewinding) -> tuple[Ticket, ...]:
    """The tickets of the round after `last`: its masks pruned by its scores, the surviving values rewound."""
    return tuple(
        rewinding.start(
            ticket, prune_mask(ticket.mask, learned.scores, keep), last.number + 1, learned, first.of(ticket.seed)[1]
        )
        for ticket, learned in zip(last.tickets, last.learned, strict=True)
        if learned.scores is not None
    )
