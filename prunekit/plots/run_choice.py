"""Which runs, stage and seed a figure shows, and what of them is unfinished."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit.analysis import tables
from prunekit.analysis.subjects import PromptRecord
from prunekit.plots.figure import LackingError
from prunekit.runs.address import Address
from prunekit.runs.paths import Stage
from prunekit.runs.reader import RunReader
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ConfigError


def opened(paths: Sequence[Path]) -> list[Snapshot]:
    """Run directories, each with a finished round.

    Raises:
        ArtifactError: where one is none, or is damaged.
        ConfigError: where two have one name, by which tables tell them apart.
    """
    runs = [tables.opened(path) for path in paths]
    for number, run in enumerate(runs):
        if name_of(run) in map(name_of, runs[:number]):
            raise ConfigError(f"{run.path}: two runs have this name; name each run once, or rename one of the folders")
    return runs


def one_of_all(paths: Sequence[Path], seed: int | None, stage: str | None) -> tuple[list[Path], int | None, str | None]:
    """Run directories, and which seed and stage is shown of them: also of addresses such as RUN@prune-0123abcd,seed=1.

    Raises:
        ConfigError: where an address names what a picture does not choose, or another seed or stage than asked for.
    """
    runs = []
    for path in paths:
        address = Address.parse(path) or Address(path)
        if address.round is not None or address.arm:
            raise ConfigError(
                f"{path}: a picture shows every round and control; name a stage or seed, or the run alone"
            )
        seed = _agreed("seed", seed, address.seed)
        stage = _agreed("stage", stage, address.stage)
        runs.append(address.run)
    return runs, seed, stage


def whole_runs(paths: Sequence[Path]) -> list[Path]:
    """Run directories.

    Raises:
        ConfigError: where an address names one ticket of a run.
    """
    for path in paths:
        if (address := Address.parse(path)) and address != Address(address.run):
            raise ConfigError(f"{path}: a report shows a whole run; name {address.run}")
    return list(paths)


def name_of(run: RunReader) -> str:
    """What tables call a run."""
    return run.path.resolve().name


def unfinished(runs: Sequence[RunReader]) -> str:
    """What of the runs has not come to its end, for the picture to say; "" where all has."""
    return "; ".join(filter(None, (_unfinished(run) for run in runs)))


def _unfinished(run: RunReader) -> str:
    arms: dict[tuple[str, str, str], list[str]] = {}
    for (stage, arm, reason), rows in tables.gaps(run).groupby(["stage", "arm", "reason"], sort=False):
        seeds = f"seed{'s' * (len(rows) > 1)} {', '.join(map(str, rows['seed']))}"
        where = (str(stage or "dense round"), seeds, str(reason))
        arms.setdefault(where, []).append("" if arm == "dense" else f" {arm}")
    lines = [f"{stage}{','.join(which)} of {seeds} {reason}" for (stage, seeds, reason), which in arms.items()]
    return f"{name_of(run)}: {'; '.join(lines)}" if lines else ""


def dense_prompts(run: RunReader) -> list[PromptRecord]:
    """The dense prompts of a run, of every seed whose training came to its end.

    Raises:
        LackingError: where none did.
    """
    if not any(key.stage.is_dense and run.result(key)["status"] == "done" for key in run.tickets()):
        if any(stage.is_chosen_rate for stage in run.stages()):
            raise LackingError(f"{run.path}: `prunekit compare` made it, without a dense round; use `prunekit tune`")
        raise LackingError(f"{run.path}: no training came to its end; look at `prunekit runs show {run.path}`")
    return tables.subjects(run)


def score_command(run: RunReader, seed: int | None, *flags: str) -> str:
    """The command that scores the dense prompt of a seed, of the first where none is named."""
    seed = run.settings()["seeds"][0] if seed is None else seed
    return shlex.join(["prunekit", "score", str(run.path / f"seed={seed}" / "round=00"), *flags])


def check_several(number: int, run: RunReader, what: str) -> None:
    """Refuse what would be a single mark.

    Args:
        number: of marks.
        what: they stand for, in the plural.

    Raises:
        LackingError: where there are fewer than two.
    """
    if number < 2:
        raise LackingError(f"{run.path}: fewer than two {what}, which would be a single point")


def one_run(runs: Sequence[RunReader]) -> RunReader:
    """The run of a figure that shows one prompt.

    Raises:
        LackingError: where there are several.
    """
    if len(runs) > 1:
        raise LackingError(f"it shows one prompt, and {len(runs)} runs are named; name one of them")
    return runs[0]


def one_stage(run: RunReader, stage: str | None) -> Stage:
    """The pruning or search of a run that a figure shows: the one that is asked for, or the only one.

    Raises:
        LackingError: where there is none or several.
        ConfigError: where the run has not what is asked for.
    """
    finished = {key.stage for key in run.tickets()}
    stages = [pruning for pruning in tables.prunings(run) if pruning in finished]
    if stage is not None and stage not in stages:
        raise ConfigError(f"--stage {stage}: {run.path} has finished tickets of {', '.join(stages) or 'no pruning'}")
    if not stages:
        raise LackingError(
            f"{run.path}: no pruned ticket; repeat the command that made it as `prunekit prune --rounds 3`"
        )
    if stage is None and len(stages) > 1:
        raise LackingError(f"{run.path}: has {', '.join(stages)}; choose one of them with --stage")
    return Stage(stage) if stage else stages[0]


def one_stage_of_cells(run: RunReader, stage: str | None) -> Stage:
    """The same of a figure that shows which tokens and pieces were dropped.

    Raises:
        LackingError: also where directions were pruned.
        ConfigError: where the run has not what is asked for.
    """
    chosen = one_stage(run, stage)
    if run.unit(chosen) == "directions":
        raise LackingError(f"{run.path}: {chosen} pruned directions, and no token or piece")
    return chosen


def one_seed(table: pd.DataFrame, run: RunReader, seed: int | None) -> pd.DataFrame:
    """The rows of a seed, or of the first there is.

    Raises:
        LackingError: where the table has no rows at all.
        ConfigError: where the table has no such seed.
    """
    if table.empty:
        raise LackingError(f"{run.path}: no training that this figure shows came to its end")
    seeds = sorted(int(value) for value in set(table["seed"]))
    if seed is not None and seed not in seeds:
        raise ConfigError(f"--seed {seed}: {run.path} has what this figure shows of seeds {', '.join(map(str, seeds))}")
    return table[table["seed"] == (seeds[0] if seed is None else seed)]


def _agreed(what: str, before: Any, now: Any) -> Any:
    if None not in (before, now) and before != now:
        raise ConfigError(f"--{what}: both {before} and {now} are named; name one of them")
    return before if now is None else now
