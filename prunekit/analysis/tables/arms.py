"""The arms of a stage, pruning or search: its ticket, its controls, the dense prompt and the base lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from prunekit.runs.baselines import BaseLineRecord, BaseLines
from prunekit.runs.paths import DENSE, UNTRAINED, is_trial
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError

ARM_COLUMNS = ("task", "model", "seed", "arm", "test", "validation", "tokens", "density", "updates")


def arms(run: RunReader, stage: str) -> pd.DataFrame:
    """The arms of a stage in their last rounds, beside the dense prompt and the base lines.

    Columns:
        task, model (str), seed (int).
        arm: a base line, such as "majority", "no-prompt" and "untrained"; "dense", "ticket", or the name of a control.
        test, validation: the primary metric; NaN where the arm did not come to its end.
        tokens: kept tokens.  density: kept cells / (P x K).
        updates: optimiser updates behind the values, those of earlier rounds included where they were handed on.

    Raises:
        ArtifactError: where the run is damaged.
    """
    settings = run.settings()
    results = run.results()
    if results.empty:
        return pd.DataFrame(columns=ARM_COLUMNS)
    metric = settings["metric"]
    dense = results[(results["stage"] == DENSE) & (results["round"] == 0)].to_dict("records")
    untrained = results[results["stage"] == UNTRAINED].to_dict("records")
    records = {record.arm: record for record in BaseLines.of(run).records if record.name != "untrained"}
    rows = [_base_line(record, int(row["seed"])) for record in records.values() for row in dense]
    rows += [_row(row, "dense", metric, row["steps"]) for row in dense]
    rows += [_row(row, "untrained", metric, row["steps"]) for row in untrained]
    steps_before = {int(row["seed"]): int(row["steps"]) for row in dense}
    rows += _last_rounds(results[(results["stage"] == stage) & ~results["arm"].map(is_trial)], metric, steps_before)
    columns = {"task": task_name(settings), "model": settings["model"]["name"]}
    return pd.DataFrame([columns | row for row in rows], columns=list(ARM_COLUMNS))


def joined(runs: Sequence[tuple[RunReader, str]]) -> pd.DataFrame:
    """The arms of several runs, each with its stage, in one table of the columns of `arms`.

    Raises:
        ArtifactError: where two of them are of one task: their seeds would be taken for units of one another.
    """
    tables = [arms(run, stage) for run, stage in runs]
    names = [str(table["task"].iloc[0]) for table in tables if len(table)]
    if len(set(names)) < len(names):
        raise ArtifactError(f"{', '.join(str(run.path) for run, _ in runs)}: two runs of one task; compare one of each")
    return pd.concat(tables, ignore_index=True)


def task_name(settings: Mapping[str, Any]) -> str:
    """The task's name; a null of training, on shuffled answers, is a task of its own."""
    shuffled = settings["task"].get("labels") == "shuffled"
    return str(settings["task"]["name"]) + (" (shuffled answers)" if shuffled else "")


def _last_rounds(results: pd.DataFrame, metric: str, steps_before: Mapping[int, int]) -> Iterator[dict[str, object]]:
    """The last round of each arm and seed of a stage.

    Args:
        steps_before: updates of the dense round, by seed.
    """
    last = results["round"].max()
    for (arm, _), rounds in results.sort_values("round").groupby(["arm", "seed"]):
        end = rounds.iloc[-1].to_dict()
        row = _row(end, str(arm) or "ticket", metric, _updates(rounds, steps_before[int(end["seed"])]))
        if end["round"] < last:  # it stopped on the way
            row |= {"test": float("nan"), "validation": float("nan")}
        yield row


def _base_line(record: BaseLineRecord, seed: int) -> dict[str, object]:
    """A base line beside the dense prompt of a seed; NaN where it was not measured for that seed."""
    place = seed if record.seeded else 0
    reached = {name: getattr(record, name).get(place, float("nan")) for name in ("test", "validation")}
    return {"seed": seed, "arm": record.arm, "tokens": 0, "density": 0.0, "updates": 0, **reached}


def _row(row: Mapping[Any, Any], arm: str, metric: str, updates: int) -> dict[str, object]:
    ended = row["status"] == "done"
    return {
        "seed": int(row["seed"]),
        "arm": arm,
        "test": row[f"test_{metric}"] if ended else float("nan"),
        "validation": row[f"validation_{metric}"] if ended else float("nan"),
        "tokens": int(row["tokens"]),
        "density": float(row["density"]),
        "updates": int(updates),
    }


def _updates(rounds: pd.DataFrame, dense: int) -> int:
    """Updates behind the last of an arm's rounds of one seed: all of them where each hands on its values."""
    last = rounds.iloc[-1]
    if rounds["round"].iloc[0] == 0:  # a prompt of its own from the start
        return int(rounds["steps"].sum())
    match last["rewind"]:
        case "trained":
            return dense + int(rounds["steps"].sum())
        case "init" | "reinit":
            return int(last["steps"])
        case step:
            return int(step) + int(last["steps"])
