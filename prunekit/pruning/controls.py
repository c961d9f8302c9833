"""The controls of a pruned ticket: arms of one experiment that differ from it in one thing each (XPrompt, Figure 5).

    dense-continued   nothing is pruned, the same further training; a ticket is only better if it beats this
    random            random masks of the same counts, round by round
    reversed          the complement of the ticket's mask: the tokens and pieces that were thrown away
    fresh             the ticket's mask on new values
    length            a new prompt of as many whole tokens as the ticket has

Every arm is trained as often as the ticket was: where values are handed on from round to round (rewind "trained"), as
many rounds; where each round restarts from round 0, once, in the data order of the ticket's last round. (Rewound to a
step, a ticket carries that step's updates, which new values do not have: the table counts them.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from prunekit.prompts.mask import Mask
from prunekit.pruning.lottery import Rewinding, Round, RoundResult
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import random_scores
from prunekit.pruning.ticket import Ticket

Arm = Literal["dense-continued", "random", "complement", "reinit", "short-prompt"]
ARMS: tuple[Arm, ...] = get_args(Arm)
#: One arm of a seed.
Key = tuple[Arm, int]
LearnArms = Callable[[Mapping[Key, Ticket]], Mapping[Key, RoundResult]]


@dataclass(frozen=True)
class Target:
    """The ticket that is to be controlled, and what each of its rounds kept."""

    ticket: Ticket
    keeps: Sequence[Keep]


def train_arms(
    dense: Round, targets: Sequence[Target], learn: LearnArms, rewinding: Rewinding, *, without: Sequence[Arm] = ()
) -> dict[Key, tuple[Ticket, RoundResult]]:
    """Train every arm beside every target; returns what each ended with. An arm that diverges stops.

    A target that dropped nothing has no reversed arm; one that was rewound to fresh values is its own fresh arm.

    Args:
        without: arms that the caller has already.
    """
    needless = {*without, *(("reinit",) if rewinding.rewind == "reinit" else ())}
    arms = [arm for arm in ARMS if arm not in needless]
    targets = [one for one in targets if one.ticket.round]  # the dense prompt is its own control
    last: dict[Key, tuple[Ticket, RoundResult]] = {}
    stopped: set[Key] = set()
    numbers = {one.ticket.round for one in targets}
    for number in range(max(numbers, default=0) + 1):
        turn = {}
        for one in targets:
            for arm in arms:
                key = (arm, one.ticket.seed)
                if key not in stopped and number in _turns(arm, one.ticket.round, rewinding):
                    ticket = _next(arm, one, dense, last.get(key), number, rewinding)
                    if ticket is not None:
                        turn[key] = ticket
        for key, learned in (learn(turn) if turn else {}).items():
            last[key] = turn[key], learned
            if learned.validation is None:
                stopped.add(key)
    return last


def _turns(arm: Arm, number: int, rewinding: Rewinding) -> range:
    """The rounds in which an arm is trained, so that its last values have seen as many updates as the ticket's."""
    if rewinding.rewind != "trained":
        return range(number, number + 1)
    return range(0 if arm in ("reinit", "short-prompt") else 1, number + 1)


def _next(
    arm: Arm, target: Target, dense: Round, last: tuple[Ticket, RoundResult] | None, number: int, rewinding: Rewinding
) -> Ticket | None:
    """The ticket of an arm's round; None where it has none."""
    first, trained = dense.of(target.ticket.seed)
    before, learned = last or (first, trained)
    mask = _mask(arm, target, before, number)
    if not mask.tokens:
        return None
    if last is None and arm in ("reinit", "short-prompt"):
        # a removed token has no slot, so that a prompt of n whole tokens is a shorter prompt
        dropped_as = "remove" if arm == "short-prompt" else rewinding.dropped_as
        child = replace(first, mask=mask, round=number, rewind="reinit", dropped_as=dropped_as)
        return child.at(rewinding.new_values(child))
    child = rewinding.start(before, mask, number, learned, trained)
    return replace(child, dropped_as="remove") if arm == "short-prompt" else child


def _mask(arm: Arm, target: Target, before: Ticket, number: int) -> Mask:
    final = target.ticket.mask
    match arm:
        case "dense-continued":
            return before.mask
        case "random":
            return prune_mask(before.mask, random_scores([before])[0], target.keeps[number - 1])
        case "complement":
            return ~final
        case "reinit":
            return final
        case "short-prompt":
            return Mask(final.token, final.token[:, None].expand_as(final.piece).clone())
