"""Which round of a pruning or search a page shows beside the dense prompt."""

from __future__ import annotations

from prunekit.runs import summary
from prunekit.runs.baselines import BaseLines, best_of_stage
from prunekit.runs.paths import Stage
from prunekit.runs.reader import RunReader


def round_of_stage(run: RunReader, stage: Stage, tolerance: float) -> int:
    """The smallest good round of a stage, or its last one; 0 where none is finished.

    Args:
        tolerance: how far below dense, on validation, a ticket may be.
    """
    best = best_of_stage(run.results(), stage, tolerance, BaseLines.of(run))
    if best is not None and best.round:
        return best.round
    rounds = summary.of_stage(run.results(), str(run.settings()["metric"]), stage)
    return max((entry.round for entry in rounds), default=0)
