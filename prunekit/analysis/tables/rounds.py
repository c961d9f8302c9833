"""What every finished ticket of some runs came to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.run_columns import arm_of, run_columns
from prunekit.runs.paths import Stage
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError

ROUNDS = (
    *KEYS, "metric", "tokens", "pieces", "cells", "density", "parameters", "head_parameters", "steps", "kept_step",
    "validation", "test", "majority_validation", "majority_test", "seconds", "members", "status", "reason",
)  # fmt: skip

_REQUIRED = (
    "tokens", "pieces", "cells", "density", "parameters", "head_parameters", "steps", "kept_step", "status", "reason",
    "validation", "test", "majority",
)  # fmt: skip


def rounds(runs: Sequence[RunReader]) -> pd.DataFrame:
    """Every finished ticket of some runs, from their results tables.

    Columns:
        `KEYS`; metric (name of the primary metric); tokens, pieces, cells (kept, counts); density (kept cells / (P x
            K)); parameters, head_parameters (trained numbers); steps, kept_step (updates); validation, test (the
            primary metric; NaN where that split was not looked at or training did not come to its end);
            majority_validation, majority_test (what the most common answer reaches); seconds (of its whole cohort,
            trained side by side) and members (how many share them), NaN where not known; status ("done", "diverged",
            ...); reason (of a status that is not "done", else empty). A row for each.

    Raises:
        ArtifactError: where a run has none, or is damaged.
    """
    tables = [_rounds(run) for run in runs]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(ROUNDS))


def _rounds(run: RunReader) -> pd.DataFrame:
    columns = run_columns(run)
    _check_complete(run)
    results = run.results(times=True)
    if results.empty:
        raise ArtifactError(f"{run.path}: no finished round yet; run the same command again")
    metric, ended = columns["metric"], results["status"] == "done"
    stages = [Stage(stage).inside(arm) for stage, arm in zip(results["stage"], results["arm"], strict=True)]
    reached = {split: _column(results, f"{split}_{metric}").where(ended) for split in ("validation", "test")}
    majority = {name: _column(results, name) for name in ("majority_validation", "majority_test")}
    reason = results["reason"].where(results["reason"].notna(), "")
    table = results.assign(**columns, arm=[arm_of(stage) for stage in stages], **reached, **majority, reason=reason)
    return table.reindex(columns=list(ROUNDS))


def _column(results: pd.DataFrame, name: str) -> pd.Series:
    return results[name] if name in results else pd.Series(math.nan, index=results.index)


def _check_complete(run: RunReader) -> None:
    for key in run.tickets():
        result = run.result(key)
        lacking = next((name for name in _REQUIRED if name not in result), None)
        if lacking is not None:
            raise ArtifactError(f"{run.folder(key)}: its result lacks '{lacking}'; was it made by another version?")
