"""Which round of a pruning or search a page shows beside the dense prompt."""

from __future__ import annotations

from prunekit.runs import summary
from prunekit.runs.baselines import BaseLines, dense_or_smallest
from prunekit.runs.paths import DENSE, Stage
from prunekit.runs.reader import RunReader


def round_of_stage(run: RunReader, stage: Stage, tolerance: float) -> int:
    """The smallest good round of a stage, or its last one; 0 where none is finished.

    Args:
        tolerance: how far below dense, on validation, a ticket may be.
    """
    rounds = summary.summarise(run.results(), str(run.settings()["metric"]), (stage.verb,))
    of_stage = [entry for entry in rounds if entry.stage in (DENSE, stage)]
    best = dense_or_smallest(of_stage, tolerance, BaseLines.of(run))
    return best.round if best is not None and best.round else max((entry.round for entry in of_stage), default=0)
