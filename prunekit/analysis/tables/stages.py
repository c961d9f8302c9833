"""One stage of a run, pruning or search: its arms, their answers, and the cells that a search tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from prunekit.runs.paths import GRID, LOG, PREDICTIONS, UNTRAINED, RunKey
from prunekit.runs.run import Run
from prunekit.support.errors import ArtifactError

ARM_COLUMNS = ("task", "model", "seed", "arm", "test", "validation", "tokens", "density", "updates")


def arms(run: Run, stage: str) -> pd.DataFrame:
    """The arms of a stage in their last rounds, beside the dense prompt and the base lines.

    Columns:
        task, model (str), seed (int).
        arm: "majority", "untrained", "dense", "ticket", or the name of a control.
        test, validation: the primary metric; NaN where the arm did not come to its end.
        tokens: kept tokens.  density: kept cells / (P x K).
        updates: optimiser updates behind the values, those of earlier rounds included where they were handed on.

    Raises:
        ArtifactError: where the run is damaged.
    """
    settings = run.settings()
    metric = settings["metric"]
    results = run.results()
    if results.empty:
        return pd.DataFrame(columns=ARM_COLUMNS)
    facts = {"task": _task(settings), "model": settings["model"]["name"]}
    dense = results[(results["stage"] == "") & (results["round"] == 0)]
    rows = [facts | _majority(one) for _, one in dense.iterrows()]
    rows += [facts | _row(one, "dense", metric, one["steps"]) for _, one in dense.iterrows()]
    untrained = results[results["stage"] == UNTRAINED]
    rows += [facts | _row(one, "untrained", metric, one["steps"]) for _, one in untrained.iterrows()]
    mine = results[(results["stage"] == stage) & ~results["arm"].str.startswith(GRID)]
    started = {int(row["seed"]): int(row["steps"]) for _, row in dense.iterrows()}
    last = mine["round"].max()
    for _, lineage in mine.sort_values("round").groupby(["arm", "seed"]):
        row = lineage.iloc[-1]
        made = _row(row, str(row["arm"]) or "ticket", metric, _updates(lineage, started[int(row["seed"])]))
        if row["round"] < last:  # it stopped on the way
            made |= {"test": float("nan"), "validation": float("nan")}
        rows.append(facts | made)
    return pd.DataFrame(rows, columns=list(ARM_COLUMNS))


def predictions(run: Run, stage: str) -> pd.DataFrame:
    """What each arm of a stage answered to each example of the test split, in its last round, where it came to it.

    Columns:
        task (str), seed (int), arm (as in `arms`), example (int), right (bool), loss (nats).
    """
    task = _task(run.settings())
    last: dict[tuple[str, int], RunKey] = {}
    for key in run.tickets():
        top, _, arm = key.stage.partition("/")
        if top == stage and not arm.startswith(GRID):
            last[arm or "ticket", key.seed] = key
        elif top == "":
            last["dense", key.seed] = key
    end = max((key.round for key in last.values()), default=0)
    tables = []
    for (arm, seed), key in last.items():
        if run.result(key)["status"] != "done" or (arm != "dense" and key.round < end):
            continue
        table = pd.read_parquet(run.read(key, PREDICTIONS))
        table = table[table["split"] == "test"]
        right = [choice in set(gold) for choice, gold in zip(table["choice"], table["gold"], strict=True)]
        tables.append(table[["example", "loss"]].assign(task=task, seed=seed, arm=arm, right=right))
    columns = ["task", "seed", "arm", "example", "right", "loss"]
    found: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return found.reindex(columns=columns)


def cells(run: Run, stage: str) -> pd.DataFrame:
    """What a search tried.

    Columns:
        seed, tokens, pieces, cells (counts), validation (primary metric), steps (updates), status.
    """
    metric = run.settings()["metric"]
    results = run.results()
    tried = results[(results["stage"] == stage) & results["arm"].str.startswith(GRID)]
    names = ["seed", "tokens", "pieces", "cells", "validation", "steps", "status"]
    table: pd.DataFrame = tried.rename(columns={f"validation_{metric}": "validation"}).reindex(columns=names)
    return table.reset_index(drop=True)


def curves(run: Run, stage: str) -> pd.DataFrame:
    """How the cells of a search came on.

    Columns:
        seed, tokens, pieces (counts), step (updates), validation (primary metric at that evaluation).
    """
    metric = run.settings()["metric"]
    tables = []
    for key in run.tickets():
        if key.stage.startswith(f"{stage}/{GRID}/"):
            result = run.result(key)
            log = pd.read_parquet(run.read(key, LOG))
            log = log[(log["split"] == "validation") & (log["metric"] == metric) & (log["step"] > 0)]
            facts = {name: result[name] for name in ("seed", "tokens", "pieces")}
            tables.append(log[["step", "value"]].rename(columns={"value": "validation"}).assign(**facts))
    columns = ["seed", "tokens", "pieces", "step", "validation"]
    table: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.reindex(columns=columns)


def joined(runs: Sequence[tuple[Run, str]]) -> pd.DataFrame:
    """The arms of several runs, each with its stage, in one table of the columns of `arms`.

    Raises:
        ArtifactError: where two of them are of one task: their seeds would be taken for units of one another.
    """
    tables = [arms(run, stage) for run, stage in runs]
    names = [str(table["task"].iloc[0]) for table in tables if len(table)]
    if len(set(names)) < len(names):
        raise ArtifactError(f"{', '.join(str(run.path) for run, _ in runs)}: two runs of one task; compare one of each")
    return pd.concat(tables, ignore_index=True)


def _task(settings: dict[str, Any]) -> str:
    """The task's name; a null of training, on shuffled answers, is a task of its own."""
    shuffled = settings["task"].get("labels") == "shuffled"
    return str(settings["task"]["name"]) + (" (shuffled answers)" if shuffled else "")


def _majority(row: Any) -> dict[str, object]:
    chance = {"test": row["majority_test"], "validation": row["majority_validation"]}
    return {"seed": int(row["seed"]), "arm": "majority", "tokens": 0, "density": 0.0, "updates": 0, **chance}


def _row(row: Any, arm: str, metric: str, updates: int) -> dict[str, object]:
    done = row["status"] == "done"
    return {
        "seed": int(row["seed"]),
        "arm": arm,
        "test": row[f"test_{metric}"] if done else float("nan"),
        "validation": row[f"validation_{metric}"] if done else float("nan"),
        "tokens": int(row["tokens"]),
        "density": float(row["density"]),
        "updates": int(updates),
    }


def _updates(lineage: pd.DataFrame, dense: int) -> int:
    """Updates behind the last round of a lineage: all rounds of it where each hands on its values."""
    last = lineage.iloc[-1]
    if lineage["round"].iloc[0] == 0:  # a prompt of its own from the start
        return int(lineage["steps"].sum())
    match last["rewind"]:
        case "trained":
            return dense + int(lineage["steps"].sum())
        case "init" | "reinit":
            return int(last["steps"])
        case step:
            return int(step) + int(last["steps"])
