"""The algorithm: iterative rewind-and-prune of soft prompts (XPrompt, section 3, as a lottery-ticket search).

    round 0   train the dense prompt
    round n   score what the last round kept -> drop the worst tokens and pieces -> rewind the rest -> train again

Nothing here knows a model, a disk or a console: `learn` trains and scores, the caller saves, plots or stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prunekit.cohort import Values
from prunekit.errors import ConfigError
from prunekit.prompts import Absent
from prunekit.pruning import Scores, prune_mask
from prunekit.schedule import Keep
from prunekit.tickets import Ticket

Rewind = Literal["trained", "init", "fresh"] | int


@dataclass(frozen=True)
class Learned:
    """What a round made of one ticket.

    kept: the values of its best evaluation.  scores: importance at those values; None where training diverged, which
    ends the lineage.  snapshots: values by step, at least those that a later rewind asks for.
    """

    kept: Values
    scores: Scores | None
    snapshots: Mapping[int, Values]


@dataclass(frozen=True)
class Round:
    """One train -> score turn of a cohort; member i is `tickets[i]`, which became `learned[i]`.

    A lineage keeps its seed from round to round.
    """

    number: int
    tickets: tuple[Ticket, ...]
    learned: tuple[Learned, ...]


Learn = Callable[[Sequence[Ticket]], Sequence[Learned]]
Fresh = Callable[[Ticket], Values]


def find_tickets(
    dense: Sequence[Ticket],
    keeps: Sequence[Keep],
    learn: Learn,
    *,
    rewind: Rewind,
    absent: Absent = "remove",
    fresh: Fresh | None = None,
    after: Sequence[Round] = (),
) -> Iterator[Round]:
    """Round 0 on the dense tickets, then one round per entry of `keeps`; yields each round when it is finished.

    rewind: where surviving values restart: "trained", the values that the previous round kept (XPrompt); "init" or a
    step, the snapshot of round 0 (Frankle and Carbin; late rewinding); "fresh", new ones from `fresh` (a control).
    absent: what stands for a token that was dropped.
    after: finished rounds of an interrupted search, from round 0 on; only what follows them is done.
    """
    rounds = list(after)
    for number in range(len(rounds), len(keeps) + 1):
        if number == 0:
            tickets = tuple(dense)
        else:
            pruned = next_tickets(rounds[0], rounds[-1], keeps[number - 1], rewind, fresh)
            tickets = tuple(replace(ticket, absent=absent) for ticket in pruned)
        if not tickets:
            return
        rounds.append(Round(number, tickets, tuple(learn(tickets))))
        yield rounds[-1]


def next_tickets(
    first: Round, last: Round, keep: Keep, rewind: Rewind, fresh: Fresh | None = None
) -> tuple[Ticket, ...]:
    """The tickets of the round after `last`: its masks pruned by its scores, the surviving values rewound."""
    dense = {ticket.seed: learned for ticket, learned in zip(first.tickets, first.learned, strict=True)}
    pruned = []
    for ticket, learned in zip(last.tickets, last.learned, strict=True):
        if learned.scores is None:
            continue
        mask = prune_mask(ticket.mask, learned.scores, keep)
        child = replace(ticket, mask=mask, round=last.number + 1, rewind=rewind)
        values = _rewound(child, learned, dense[ticket.seed], rewind, fresh)
        pruned.append(replace(child, state=values.state, head=values.head))
    return tuple(pruned)


def _rewound(ticket: Ticket, learned: Learned, dense: Learned, rewind: Rewind, fresh: Fresh | None) -> Values:
    """Where the next round starts. The mask is not applied here: it stays a factor, at use."""
    match rewind:
        case "trained":
            return learned.kept
        case "init":
            return dense.snapshots[0]
        case "fresh":
            if fresh is None:
                raise ValueError('rewind = "fresh" needs `fresh`, which draws new values')
            return fresh(ticket)
        case int(step):
            if step not in dense.snapshots:
                raise ConfigError(
                    f"rewind = {step}: the dense round of seed {ticket.seed} has no values of that step (it ended at "
                    f"step {max(dense.snapshots, default=0)}); choose an earlier one, or a larger patience"
                )
            return dense.snapshots[step]
