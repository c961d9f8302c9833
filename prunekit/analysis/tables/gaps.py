"""What a run that was begun has not finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from prunekit.analysis.tables.run_columns import arm_of, prunings
from prunekit.pruning.controls import CONTROLS
from prunekit.runs.paths import DENSE, Stage
from prunekit.runs.reader import RunReader

GAPS = ("stage", "arm", "seed", "rounds", "wanted", "reason", "line")

_BY_NAME = {control.name: control for control in CONTROLS}

# statuses of the rounds of one seed in one stage, by number
Statuses = Mapping[int, str]


class _Finished(NamedTuple):
    """What is finished of a run.

    Attributes:
        statuses: by stage, arms apart, and seed.
        densities: of each ticket in its last round, by stage and seed.
    """

    statuses: Mapping[tuple[Stage, int], Statuses]
    densities: Mapping[tuple[Stage, int], float]


def gaps(run: RunReader) -> pd.DataFrame:
    """What a run that was begun has not finished; empty where it is whole.

    Columns:
        stage, arm (str); seed (int); rounds (finished), wanted (counts; NaN where only the end is known to be missing);
            reason ("not finished", "diverged"); line (a sentence). A row for each seed of an arm that is short.

    Raises:
        ArtifactError: where the run is damaged.
    """
    seeds = [int(seed) for seed in run.settings().get("seeds", [])]
    finished = _finished(run)
    dense = {seed: finished.statuses.get((DENSE, seed), {}) for seed in seeds}
    rows = [row for seed in seeds for row in _short(DENSE, seed, dense[seed], wanted=1, first=0)]
    started = [seed for seed in seeds if dense[seed].get(0, "done") == "done"]  # of the others that row says why
    for stage in prunings(run):
        rows += _gaps_of(stage, run, started, finished)
    return pd.DataFrame(rows, columns=list(GAPS))


def _finished(run: RunReader) -> _Finished:
    statuses: dict[tuple[Stage, int], dict[int, str]] = {}
    densities: dict[tuple[Stage, int], float] = {}
    for key in run.tickets():
        result = run.result(key)
        statuses.setdefault((key.stage, key.seed), {})[key.round] = str(result["status"])
        if not key.stage.arm:  # rounds come in order: the last one stays
            densities[key.stage, key.seed] = float(result["density"])
    return _Finished(statuses, densities)


def _gaps_of(stage: Stage, run: RunReader, seeds: Sequence[int], finished: _Finished) -> Iterator[dict[str, Any]]:
    # a search has one round; a pruning as many as it was asked for
    wanted = int(run.stage_settings(stage).get("rounds", 1))
    arms = sorted({key for key, _ in finished.statuses if key.top == stage and key.arm and not key.is_trial})
    for seed in seeds:
        yield from _short(stage, seed, finished.statuses.get((stage, seed), {}), wanted=wanted, first=1)
    for arm in arms:  # some train every round and some the last alone
        for seed in seeds:
            control = _BY_NAME.get(arm.arm)
            if control and not control.exists(finished.densities.get((stage, seed), 0.0)):
                continue
            yield from _short(arm, seed, finished.statuses.get((arm, seed), {}), wanted=1, first=wanted)


def _short(stage: Stage, seed: int, statuses: Statuses, *, wanted: int, first: int) -> Iterator[dict[str, Any]]:
    """A row where the rounds from `first` on are not `wanted` many, or one of them did not come to its end."""
    rounds = [number for number in statuses if number >= first]
    stopped = next((status for _, status in sorted(statuses.items()) if status != "done"), None)
    if stopped is None and len(rounds) >= wanted:
        return
    reason = "not finished" if stopped is None else stopped.partition(" ")[0]
    what = f"stops after round {max(statuses)}" if statuses else "has no finished round"
    why = "run the same command again to go on" if stopped is None else f"it {stopped}"
    yield {
        "stage": str(stage.top), "arm": arm_of(stage), "seed": seed, "rounds": len(rounds), "wanted": wanted,
        "reason": reason, "line": f"{stage or 'dense'}: seed {seed} {what} ({why})",
    }  # fmt: skip
