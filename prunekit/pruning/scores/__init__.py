"""Every score there is: one file each. A new one is a new file here and an entry in `SCORES`."""

from __future__ import annotations

from prunekit.pruning.scores.absolute import Absolute
from prunekit.pruning.scores.attention import Attention
from prunekit.pruning.scores.base import (
    Evaluate,
    GradientScore,
    Level,
    MeasuredScore,
    Passes,
    Probe,
    Score,
    Scores,
    TicketScore,
)
from prunekit.pruning.scores.elimination import Elimination
from prunekit.pruning.scores.hard_concrete import HardConcrete
from prunekit.pruning.scores.integrated import Integrated
from prunekit.pruning.scores.learned import LearnedScore
from prunekit.pruning.scores.leave_one_out import LeaveOneOut
from prunekit.pruning.scores.magnitude import Magnitude
from prunekit.pruning.scores.margin import Margin
from prunekit.pruning.scores.movement import Movement
from prunekit.pruning.scores.random import Random
from prunekit.pruning.scores.second_order import SecondOrder
from prunekit.pruning.scores.shapley import Shapley
from prunekit.pruning.scores.signed import Signed
from prunekit.pruning.scores.squared import Squared
from prunekit.pruning.scores.straight_through import StraightThrough

#: All scores, in the order of tables and figures: estimates first, what is measured last. A schedule prunes by any.
SCORES: tuple[Score, ...] = (
    Absolute(),
    Signed(),
    Squared(),
    Magnitude(),
    Random(),
    Integrated(),
    SecondOrder(),
    Margin(),
    Attention(),
    Movement(),
    HardConcrete(),
    StraightThrough(),
    Elimination(),
    LeaveOneOut(),
    Shapley(),
)
#: The cheap ones, which every round writes; others are computed where they prune, or `prunekit score` asks for them.
ROUND_SCORES = tuple(score for score in SCORES if isinstance(score, GradientScore | TicketScore))
#: Those that are exact: what the others are compared with.
MEASURED_SCORES = tuple(score for score in SCORES if isinstance(score, MeasuredScore))

__all__ = [
    "MEASURED_SCORES",
    "ROUND_SCORES",
    "SCORES",
    "Absolute",
    "Attention",
    "Elimination",
    "Evaluate",
    "GradientScore",
    "HardConcrete",
    "Integrated",
    "LearnedScore",
    "LeaveOneOut",
    "Level",
    "Magnitude",
    "Margin",
    "MeasuredScore",
    "Movement",
    "Passes",
    "Probe",
    "Random",
    "Score",
    "Scores",
    "SecondOrder",
    "Shapley",
    "Signed",
    "Squared",
    "StraightThrough",
    "TicketScore",
]
