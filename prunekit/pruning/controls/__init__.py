"""The controls of a pruned ticket, one file each (XPrompt, Figure 5). A new one: a file and an entry in `CONTROLS`.

Each differs from the ticket in one thing, so that what the ticket gains over it is that thing's doing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from prunekit.pruning.controls.base import Control, Target
from prunekit.pruning.controls.complement import Complement
from prunekit.pruning.controls.dense_continued import DenseContinued
from prunekit.pruning.controls.fixed_subspace import FixedSubspace
from prunekit.pruning.controls.lowest_directions import LowestDirections
from prunekit.pruning.controls.random import RandomMask
from prunekit.pruning.controls.random_subspace import RandomSubspace
from prunekit.pruning.controls.reinit import Reinit
from prunekit.pruning.controls.short_prompt import ShortPrompt
from prunekit.pruning.lottery import Rewinding, Round, RoundResult
from prunekit.pruning.schedule import Unit
from prunekit.pruning.ticket import Ticket

#: All controls, in the order of tables and figures. The first is the primary comparison of a study.
CONTROLS: tuple[Control, ...] = (
    DenseContinued(),
    RandomMask(),
    Complement(),
    Reinit(),
    ShortPrompt(),
    RandomSubspace(),
    LowestDirections(),
    FixedSubspace(),
)

#: As tables and directories spell them.
CONTROL_NAMES = tuple(control.name for control in CONTROLS)

#: The control of a seed's ticket: its name and the seed.
ControlKey = tuple[str, int]
TrainControls = Callable[[Mapping[ControlKey, Ticket]], Mapping[ControlKey, RoundResult]]


def train_controls(
    dense: Round,
    targets: Sequence[Target],
    train: TrainControls,
    rewinding: Rewinding,
    *,
    without: Collection[str] = (),
) -> dict[ControlKey, tuple[Ticket, RoundResult]]:
    """Train every control beside every target; returns what each ended with. A control that diverges stops.

    Args:
        train: trains all controls of a round at once.
        without: names of controls that the caller has already.
    """
    pruned = [target for target in targets if target.ticket.round]  # the dense prompt is its own control
    last: dict[ControlKey, tuple[Ticket, RoundResult]] = {}
    diverged: set[ControlKey] = set()
    for number in range(max((target.ticket.round for target in pruned), default=0) + 1):
        tickets = {
            key: control.next(target, dense, last.get(key), number, rewinding)
            for target in pruned
            for control in controls_of(target, number, rewinding)
            if control.name not in without and (key := (control.name, target.ticket.seed)) not in diverged
        }
        for key, result in (train(tickets) if tickets else {}).items():
            last[key] = tickets[key], result
            if result.validation is None:
                diverged.add(key)
    return last


def controls_of(target: Target, number: int, rewinding: Rewinding) -> list[Control]:
    """The controls of a ticket that are trained in round `number`."""
    ticket = target.ticket
    return [
        control
        for control in controls_for(target.keeps[-1].unit)
        if control.exists(ticket.density) and number in control.rounds(ticket.round, rewinding.rewind)
    ]


def controls_for(unit: Unit) -> list[Control]:
    """The controls of what is pruned: of tokens and pieces, or of directions."""
    return [control for control in CONTROLS if unit in control.units]


__all__ = [
    "CONTROLS",
    "CONTROL_NAMES",
    "Control",
    "ControlKey",
    "Target",
    "TrainControls",
    "controls_for",
    "controls_of",
    "train_controls",
]
