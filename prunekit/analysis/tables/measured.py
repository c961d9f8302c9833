"""What `prunekit score` measured on the prompts of some runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from prunekit.analysis.prefix_parts import GROUPS
from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.run_columns import key_columns, run_columns
from prunekit.runs.paths import FACTS, IMPORTANCE, RunKey
from prunekit.runs.reader import RunReader

MEASURED = (
    *KEYS, "kind", "level", "token", "piece", "kept", "score", "error", "low", "high", "p", "p_corrected", "negative",
    "right_change", "test_cost", "confirmed", "split", "examples",
)  # fmt: skip

MEASURED_GROUPS = (
    *KEYS, "kind", "level", "layer", "head", "part", "kept", "score", "low", "high", "p", "p_corrected", "negative",
    "right_change", "split", "examples",
)  # fmt: skip

_OF_FACTS = ("kind", "level", "split", "examples")


def measured(
    runs: Sequence[RunReader], changed: Mapping[str, Any] | None = None, *, partial: bool = False
) -> pd.DataFrame:
    """What `prunekit score` measured on the prompts of some runs; empty where it has not been called.

    Args:
        changed: settings, by dotted name, in which the measuring differed from the runs' own; other measurements are
            left out. By default those are read that were made on a run's own model, task and data.
        partial: also those that were made on a part of a split (`--examples`).

    Columns:
        `KEYS` of the prompt; kind ("leave-one-out", "shapley", or a first-order one); level; token; piece (-1 at level
            token); kept (bool); score (larger = keep); error (standard error of a Shapley value); low, high, p,
            p_corrected, negative, right_change (of leave-one-out, as in `token_importance.negative`); test_cost,
            confirmed (of what is negative, as in `token_importance.confirm`); split, examples (what it was measured
            on).

    Raises:
        ArtifactError: where a run is damaged.
    """
    tables = [table for run in runs for table in _of_run(run, changed or {}, partial) if not _is_of_groups(table)]
    whole = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    whole = whole.reindex(columns=list(MEASURED))
    whole["piece"] = whole["piece"].fillna(-1).astype(int)
    return whole.astype({"negative": "boolean", "confirmed": "boolean"})


def measured_groups(runs: Sequence[RunReader]) -> pd.DataFrame:
    """What leaving out whole layers, heads, keys or values of prefixes costs; empty where it was not measured.

    Columns:
        `KEYS` of the prompt; kind ("leave-one-out"); level ("layer", "head", "part"); layer; head (-1 at level layer);
            part ("key", "value", or "" at the other levels); kept (bool: whether any token has it); score, low, high,
            p, p_corrected, negative, right_change (as in `token_importance.negative`); split, examples.

    Raises:
        ArtifactError: where a run is damaged.
    """
    tables = [table for run in runs for table in _of_run(run, {}, partial=True) if _is_of_groups(table)]
    whole = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return whole.reindex(columns=list(MEASURED_GROUPS))


def _of_run(run: RunReader, changed: Mapping[str, Any], partial: bool) -> Iterator[pd.DataFrame]:
    """A table for each wanted measurement on a prompt of a run."""
    columns = run_columns(run)
    for key in filter(_is_scoring, run.rounds()):
        if IMPORTANCE in run.manifest(key)["files"]:
            facts = run.facts(key, FACTS)
            if _is_wanted(facts, changed, partial):
                of_prompt = key_columns(columns, key._replace(stage=key.stage.measured))
                of_facts = {name: facts[name] for name in _OF_FACTS}
                yield run.table(key, IMPORTANCE).assign(**of_prompt, **of_facts)


def _is_of_groups(table: pd.DataFrame) -> bool:
    return bool(table["level"].isin(GROUPS).any())


def _is_scoring(key: RunKey) -> bool:
    return key.stage.verb == "score"


def _is_wanted(facts: Mapping[str, Any], changed: Mapping[str, Any], partial: bool) -> bool:
    """Whether a measurement is one of those that are read."""
    if facts.get("changed", {}) != changed or (facts.get("differs") and not changed):
        return False
    return partial or facts["examples"] >= facts.get("rows", facts["examples"])
