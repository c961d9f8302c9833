"""A figure as a thing: which table it takes from runs, how it is drawn, and how large; then its files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import tables
from prunekit.plots import style
from prunekit.runs import outputs
from prunekit.runs.run import Run
from prunekit.support import atomic, reading
from prunekit.support.errors import ArtifactError, ConfigError


class LackingError(ArtifactError):
    """A sound run that does not hold what a figure shows; the text names the command that would make it."""


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: of its module and files.
        shows: one sentence, for captions and help.
        table_of: runs -> the table that is drawn and saved; raises LackingError where the runs do not hold it. It may
            take `seed` and `stage`, None for what there is; a command then has flags for them.
        draw: (table, axes) -> axes.
        columns: paper columns, 1 or 2, that suit it.
        height: (table, columns) -> inches.
    """

    name: str
    shows: str
    table_of: Callable[..., pd.DataFrame]
    draw: Callable[[pd.DataFrame, Axes], Axes]
    columns: int = 1
    height: Callable[[pd.DataFrame, int], float] = lambda table, columns: 2.4 if columns == 1 else 2.9

    @property
    def choices(self) -> tuple[str, ...]:
        """What of runs it can be told to show: "seed", "stage", or nothing."""
        return tuple(name for name in ("seed", "stage") if name in inspect.signature(self.table_of).parameters)

    def table(self, runs: Sequence[Run], **chosen: Any) -> pd.DataFrame:
        """The table of runs; `seed` and `stage` count where the figure shows one of several."""
        return self.table_of(runs, **{name: chosen[name] for name in self.choices if name in chosen})

    def render(self, table: pd.DataFrame, suffix: str, columns: int | None = None, note: str = "") -> bytes:
        """The bytes of the figure of a table.

        Args:
            note: what a reader must know, such as that the run is unfinished; it stands in the picture.
        """
        wide = columns or self.columns
        height = self.height(table, wide)
        return style.render(self.draw, table, suffix, columns=wide, height=height, salt=self.name, note=note)


def opened(paths: Sequence[Path]) -> list[Run]:
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


def name_of(run: Run) -> str:
    """What tables call a run."""
    return run.path.resolve().name


def unfinished(runs: Sequence[Run]) -> str:
    """What of the runs has not come to its end, for the picture to say; "" where all has."""
    return "; ".join(filter(None, (_unfinished(run) for run in runs)))


def _unfinished(run: Run) -> str:
    arms: dict[tuple[str, str, str], list[str]] = {}
    for (stage, arm, reason), rows in tables.gaps(run).groupby(["stage", "arm", "reason"], sort=False):
        seeds = f"seed{'s' * (len(rows) > 1)} {', '.join(map(str, rows['seed']))}"
        where = (str(stage or "dense round"), seeds, str(reason))
        arms.setdefault(where, []).append("" if arm == "dense" else f" {arm}")
    said = [f"{stage}{','.join(which)} of {seeds} {reason}" for (stage, seeds, reason), which in arms.items()]
    return f"{name_of(run)}: {'; '.join(said)}" if said else ""


def one_run(runs: Sequence[Run]) -> Run:
    """The run of a figure that shows one prompt.

    Raises:
        LackingError: where there are several.
    """
    if len(runs) > 1:
        raise LackingError(f"it shows one prompt, and {len(runs)} runs are named; name one of them")
    return runs[0]


def one_stage(run: Run, stage: str | None) -> str:
    """The pruning or search of a run that a figure shows: the one that is asked for, or the only one.

    Raises:
        LackingError: where there is none or several.
        ConfigError: where the run has not what is asked for.
    """
    finished = {place.stage for place in run.tickets()}
    there = [one for one in tables.prunings(run) if one in finished]
    if stage is not None and stage not in there:
        raise ConfigError(f"--stage {stage}: {run.path} has finished tickets of {', '.join(there) or 'no pruning'}")
    if not there:
        raise LackingError(
            f"{run.path}: no pruned ticket; repeat the command that made it as `prunekit prune --rounds 3`"
        )
    if stage is None and len(there) > 1:
        raise LackingError(f"{run.path}: has {', '.join(there)}; choose one of them with --stage")
    return stage or there[0]


def one_seed(table: pd.DataFrame, run: Run, seed: int | None) -> pd.DataFrame:
    """The rows of a seed, or of the first there is.

    Raises:
        ConfigError: where the table has no such seed.
    """
    there = sorted(int(one) for one in set(table["seed"]))
    if seed is not None and seed not in there:
        raise ConfigError(f"--seed {seed}: {run.path} has what this figure shows of seeds {', '.join(map(str, there))}")
    return table[table["seed"] == (there[0] if seed is None else seed)]


def suffix_of(path: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        ConfigError: where it is none that a figure can have.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in style.SUFFIXES:
        known = ", ".join(f".{one}" for one in style.SUFFIXES)
        raise ConfigError(f'--out {path}: a figure ends in {known}, not in "{path.suffix}"')
    return suffix


def write(path: Path, picture: bytes, table: pd.DataFrame, *, overwrite: bool = False) -> None:
    """A figure, and its table beside it as CSV: whole files, or the old ones.

    Args:
        overwrite: also files that are no figure of prunekit.

    Raises:
        ConfigError: as `check`.
    """
    check(path, table, overwrite=overwrite)
    atomic.replace(path, picture)
    atomic.replace(path.with_suffix(".csv"), _csv(table))


def check(path: Path, table: pd.DataFrame, *, overwrite: bool) -> None:
    """Refuse to write over what is no earlier figure: a picture with a table of the same columns beside it.

    Raises:
        ConfigError: in one line.
    """
    beside = path.with_suffix(".csv")
    columns = _csv(table.iloc[:0])

    def is_ours(_: bytes) -> bool:
        try:
            return path.exists() and reading.content(beside, reading.TABLE).startswith(columns)
        except OSError:
            return False

    for target in (path, beside):
        outputs.check(target, overwrite=overwrite, is_ours=is_ours)


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()
