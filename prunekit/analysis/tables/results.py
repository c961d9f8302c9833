"""What every finished round of a run came to, how it came on, and what the run still lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit.analysis.subjects import KEYS
from prunekit.pruning.controls import CONTROLS
from prunekit.runs.paths import GRID, LOG, UNTRAINED, RunKey
from prunekit.runs.run import Run
from prunekit.support.errors import ArtifactError

ROUNDS = (
    *KEYS, "metric", "tokens", "pieces", "cells", "density", "parameters", "head_parameters", "steps", "kept_step",
    "validation", "test", "majority_validation", "majority_test", "seconds", "members", "status", "reason",
)  # fmt: skip
GAPS = ("stage", "arm", "seed", "rounds", "wanted", "reason", "line")
LOGS = (*KEYS, "step", "split", "metric", "value")

_BY_NAME = {control.name: control for control in CONTROLS}
_COPIED = (
    "tokens", "pieces", "cells", "density", "parameters", "head_parameters", "steps", "kept_step", "status", "reason",
)  # fmt: skip


def opened(path: Path) -> Run:
    """A run that has something to look at.

    Raises:
        ArtifactError: where the directory is no run, its settings are damaged, or no round of it is finished.
    """
    run = Run.open(path)
    facts(run)
    if not run.tickets():
        raise ArtifactError(f"{path}: no finished round yet; run the same command again, it goes on where it stopped")
    return run


def facts(run: Run) -> dict[str, str]:
    """The first columns of `KEYS`, and the primary metric, from the settings.

    labels: "given" or "shuffled", what the prompt was trained on.

    Raises:
        ArtifactError: where the settings lack one of them.
    """
    settings = run.settings()
    try:
        return {
            "run": run.path.resolve().name,
            "task": settings["task"]["name"],
            "model": settings["model"]["name"],
            "method": settings["prompt"]["method"],
            "labels": settings["task"].get("labels", "given"),
            "metric": settings["metric"],
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{run.path}: its settings lack {error}; was it made by another version?") from error


def keys_of(known: Mapping[str, str], run_key: RunKey) -> dict[str, Any]:
    """All of `KEYS` for a place, from what `facts` said of its run."""
    stage, _, arm = run_key.stage.partition("/")
    plain = {"": "dense", UNTRAINED: "untrained"}.get(stage, "ticket")
    named = {"stage": stage, "arm": arm or plain, "seed": run_key.seed, "round": run_key.round}
    return {key: named[key] if key in named else known[key] for key in KEYS}


def prunings(run: Run) -> list[str]:
    """The stages of a run that pruned or searched, by name."""
    return [stage for stage in run.stages() if stage.startswith(("prune-", "search-"))]


def rounds(runs: Sequence[Run]) -> pd.DataFrame:
    """Every finished ticket of some runs.

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
    rows = []
    for run in runs:
        known = facts(run)
        keys = run.tickets()
        if not keys:
            raise ArtifactError(f"{run.path}: no finished round yet; run the same command again")
        rows += [_row(run, key, known) for key in keys]
    return pd.DataFrame(rows, columns=list(ROUNDS))


def logs(runs: Sequence[Run]) -> pd.DataFrame:
    """How training came on in every finished round but the cells of searches.

    Columns:
        `KEYS`; step (int, updates); split ("train", "validation"); metric ("loss" in nats, or a metric's name); value.
    """
    tables = []
    for run in runs:
        known = facts(run)
        for key in run.tickets():
            if f"/{GRID}/" not in key.stage:
                table = pd.read_parquet(run.read(key, LOG))
                tables.append(table.assign(**keys_of(known, key)))
    tables = [one for one in tables if len(one)]
    found: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return found.reindex(columns=list(LOGS))


def gaps(run: Run) -> pd.DataFrame:
    """What a run that was begun has not finished; empty where it is whole.

    Columns:
        stage, arm (str); seed (int); rounds (finished), wanted (counts; NaN where only the end is known to be missing);
            reason ("not finished", "diverged"); line (a sentence). A row for each lineage that is short.

    Raises:
        ArtifactError: where the run is damaged.
    """
    return pd.DataFrame(list(_gaps(run)), columns=list(GAPS))


def _row(run: Run, key: RunKey, known: Mapping[str, str]) -> dict[str, object]:
    result, times, metric = run.result(key), run.timing(key), known["metric"]
    done = result.get("status") == "done"
    try:
        return {
            **keys_of(known, key),
            "metric": metric,
            **{name: result[name] for name in _COPIED},
            "reason": result["reason"] or "",
            "validation": result["validation"].get(metric, float("nan")) if done else float("nan"),
            "test": result["test"].get(metric, float("nan")) if done else float("nan"),
            "majority_validation": result["majority"].get("validation", float("nan")),
            "majority_test": result["majority"].get("test", float("nan")),
            **{name: times.get(name, float("nan")) for name in ("seconds", "members")},
        }
    except (KeyError, AttributeError) as error:
        raise ArtifactError(f"{run.folder(key)}: its result lacks {error}; was it made by another version?") from error


def _gaps(run: Run) -> Iterator[dict[str, object]]:
    seeds = [int(seed) for seed in run.settings().get("seeds", [])]
    done: dict[tuple[str, str, int], dict[int, str]] = {}
    densities: dict[tuple[str, int], float] = {}  # of each ticket in its last round
    for key in run.tickets():
        stage, _, arm = key.stage.partition("/")
        result = run.result(key)
        done.setdefault((stage, arm, key.seed), {})[key.round] = str(result["status"])
        if not arm:
            densities[stage, key.seed] = float(result["density"])
    stopped = {seed for seed in seeds if done.get(("", "", seed), {}).get(0, "done") != "done"}
    for seed in seeds:
        yield from _short("", "", seed, done.get(("", "", seed), {}), 1, 0)
    for stage in prunings(run):
        # a search has one round; a pruning as many as it was asked for
        wanted = int(run.stage_settings(stage).get("rounds", 1))
        arms = sorted({arm for top, arm, _ in done if top == stage and not arm.startswith(GRID)} | {""})
        for arm in arms:
            for seed in seeds:
                found = done.get((stage, arm, seed), {})
                control = _BY_NAME.get(arm)
                if seed in stopped or (control and not control.exists(densities.get((stage, seed), 0.0))):
                    continue  # its dense round, or its ticket, says why
                if arm:  # some arms train every round and some the last alone
                    yield from _short(stage, arm, seed, found, 1, wanted)
                else:
                    yield from _short(stage, arm, seed, found, wanted, 1)


def _short(
    stage: str, arm: str, seed: int, found: Mapping[int, str], wanted: int, first: int
) -> Iterator[dict[str, Any]]:
    """A row where the rounds from `first` on are not `wanted` many, or one of them did not come to its end."""
    rounds = {number: status for number, status in found.items() if number >= first}
    bad = next((status for _, status in sorted(found.items()) if status != "done"), None)
    if bad is None and len(rounds) >= wanted:
        return
    title = "/".join(filter(None, (stage, arm))) or "dense"
    reason = "not finished" if bad is None else bad.partition(" ")[0]
    what = "has no finished round" if not found else f"stops after round {max(found)}"
    why = "run the same command again to go on" if bad is None else f"it {bad}"
    yield {
        "stage": stage, "arm": arm or ("ticket" if stage else "dense"), "seed": seed, "rounds": len(rounds),
        "wanted": wanted, "reason": reason, "line": f"{title}: seed {seed} {what} ({why})",
    }  # fmt: skip


__all__ = ["GAPS", "LOGS", "ROUNDS", "gaps", "logs", "opened", "prunings", "rounds"]
