"""Every score there is: one file each. A new one is a new file here and an entry in `SCORES`."""

from __future__ import annotations

from prunekit.pruning.scores.absolute import Absolute
from prunekit.pruning.scores.base import (
    Evaluate,
    GradientScore,
    Level,
    MeasuredScore,
    Score,
    Scores,
    TicketScore,
)
from prunekit.pruning.scores.leave_one_out import LeaveOneOut
from prunekit.pruning.scores.magnitude import Magnitude
from prunekit.pruning.scores.random import Random
from prunekit.pruning.scores.shapley import Shapley
from prunekit.pruning.scores.signed import Signed
from prunekit.pruning.scores.squared import Squared

#: All scores, in the order of tables and figures: estimates first, what is measured last.
SCORES: tuple[Score, ...] = (
    Absolute(),
    Signed(),
    Squared(),
    Magnitude(),
    Random(),
    LeaveOneOut(),
    Shapley(),
)
#: Those that a schedule prunes by; every round writes them all.
PRUNING_SCORES = tuple(score for score in SCORES if isinstance(score, GradientScore | TicketScore))
#: Those that are measured by `prunekit score` alone.
MEASURED_SCORES = tuple(score for score in SCORES if isinstance(score, MeasuredScore))

__all__ = [
    "MEASURED_SCORES",
    "PRUNING_SCORES",
    "SCORES",
    "Absolute",
    "Evaluate",
    "GradientScore",
    "LeaveOneOut",
    "Level",
    "Magnitude",
    "MeasuredScore",
    "Random",
    "Score",
    "Scores",
    "Shapley",
    "Signed",
    "Squared",
    "TicketScore",
]
