"""The tickets of runs beside their controls, with the statistics of the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prunekit.analysis import controls, tables
from prunekit.analysis.control_conclusions import conclusions
from prunekit.runs.reader import RunReader
from prunekit.support import terminal
from prunekit.tasks.metrics import bounds


@dataclass(frozen=True)
class ArmComparison:
    """What controls say of tickets.

    Attributes:
        arms: a row for each seed of each arm, as `tables.joined` makes it.
        described: a row for each arm, over all tasks and task by task (`controls.describe`).
        compared: a row for each arm that the ticket is compared with (`controls.compare`).
        per_example: of each run, the same over examples (`controls.per_example`).
        metrics: the primary metrics of the runs, each once.
    """

    arms: pd.DataFrame
    described: pd.DataFrame
    compared: pd.DataFrame
    per_example: tuple[pd.DataFrame, ...]
    metrics: tuple[str, ...]

    @property
    def conclusions(self) -> list[str]:
        """What can be concluded, a sentence each."""
        return conclusions(self.compared)

    @property
    def facts(self) -> dict[str, Any]:
        """All of it for a program."""
        return {
            "arms": terminal.records(self.arms),
            "described": terminal.records(self.described),
            "comparisons": terminal.records(self.compared),
            "per_example": terminal.records(pd.concat(self.per_example)),
            "conclusions": self.conclusions,
        }


def compare_arms(runs: Sequence[tuple[RunReader, str]], margin: float) -> ArmComparison:
    """One stage of each run beside its controls.

    Args:
        runs: runs and their stages.
        margin: below which a difference does not matter, in units of the primary metric.
    """
    arms = tables.joined(runs)
    metrics = tuple(dict.fromkeys(str(run.settings()["metric"]) for run, _ in runs))
    return ArmComparison(
        arms=arms,
        described=controls.describe(arms, bounds=bounds(*metrics)),
        compared=controls.compare(arms, margin=margin),
        per_example=tuple(controls.per_example(tables.predictions(run, stage)) for run, stage in runs),
        metrics=metrics,
    )
