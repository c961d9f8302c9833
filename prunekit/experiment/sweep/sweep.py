"""A sweep from its grid to its table: what is finished is kept, the rest is done on an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from prunekit.experiment import settings_io
from prunekit.experiment.progress import progress_of
from prunekit.experiment.settings import Experiment
from prunekit.experiment.sweep import engines, table
from prunekit.experiment.sweep.engines import Resources
from prunekit.experiment.sweep.grid import Grid, grid_of, read
from prunekit.experiment.sweep.jobs import LEDGER, Outcome, jobs, key, receipt
from prunekit.experiment.sweep.mirror import mirror
from prunekit.experiment.sweep.resources import resources_for, weight_bytes
from prunekit.runs.store import Store
from prunekit.support import atomic, toml
from prunekit.support.digest import identity
from prunekit.support.errors import ArtifactError, ConfigError, PrunekitError, nearest

if TYPE_CHECKING:  # it imports torch
    from prunekit.experiment.round_runner import Progress

#: Shows how many of so many experiments have ended; what it gives is called with each outcome.
Counter = Callable[[int], AbstractContextManager[Callable[[Outcome], None]]]


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep is called, beside its grid.

    Attributes:
        out: folder that holds the runs.
        store: URL of what holds the runs, "" for `out` itself.
        engine: local, ray or slurm.
        workers: None for as many as cores, memory and GPUs allow.
        address: of a Ray cluster.
        tolerance: how far below dense on validation a ticket may be.
    """

    out: Path
    store: str = ""
    engine: engines.Name = "local"
    workers: int | None = None
    address: str | None = None
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        if self.engine not in get_args(engines.Name):
            raise ConfigError(f"--engine {self.engine}: {nearest(self.engine, get_args(engines.Name))}")
        if self.address and self.engine != "ray":
            raise ConfigError(f"--address is of --engine ray; --engine {self.engine} takes none")


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to.

    Attributes:
        name: of the grid's file.
        rows: one a finished experiment: the settings that vary, metric, seeds, stopped (members that diverged), and
            means over seeds of test: dense, and density, test, low, high of its smallest good or its chosen ticket.
        tickets: a row for each finished ticket, as in results.parquet.
        failures: the experiments that came to no end, with why.
        folder: where the table of tickets and the grid lie.
        store: URL of the store that holds them too, or "".
    """

    name: str
    grid: Grid
    rows: tuple[dict[str, Any], ...]
    tickets: pd.DataFrame
    failures: tuple[Outcome, ...]
    folder: Path
    store: str = ""

    @property
    def table(self) -> pd.DataFrame:
        """The `rows` as a table."""
        return pd.DataFrame(list(self.rows))

    def put(self, name: str, content: bytes) -> None:
        """Add a file to the folder, and to the store where there is one."""
        atomic.replace(self.folder / name, content)
        if self.store:
            Store(self.store).write({f"{self.folder.name}/{name}": content})

    def check_ended(self) -> None:
        """Whether every experiment came to its end.

        Raises:
            PrunekitError: naming the first that did not.
        """
        if self.failures:
            count, first = f"{len(self.failures)} of {len(self.grid.experiments)}", self.failures[0]
            raise PrunekitError(f"{count} experiments failed, the first is {first.label}: {first.failed}")


def sweep(
    grid: Path | str | Mapping[str, Any],
    *,
    out: Path | str = "runs",
    store: str = "",
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    tolerance: float = 0.01,
    quiet: bool = False,
    **settings: Any,
) -> SweepResult:
    """Many experiments: those of a grid that are not finished are run, then the table of all of them is made.

    Args:
        grid: an experiment file in which any setting may be a list, or the table that such a file holds.
        out: folder that holds runs.
        store: URL (fsspec) of what holds the runs, such as s3://bucket/runs.
        engine: local (processes), ray or slurm.
        workers: runs at a time; None for as many as cores, memory and GPUs allow.
        address: of a Ray cluster; None starts Ray on this machine.
        tolerance: how far below dense on validation a ticket may be.
        quiet: report no progress.
        settings: seeds and the machine flags of `prunekit sweep --help-all`, with underscores.

    Returns:
        its `table` has a row for each experiment, its `tickets` one for each ticket, its `failures` what failed.

    Raises:
        ConfigError: where the grid, the engine or a setting cannot be used, before anything runs.
    """
    settings_io.check_names(settings, settings_io.names("", "machine"), "; every other one belongs into the grid")
    options = SweepOptions(Path(out), store, engine, workers, address, tolerance)  # type: ignore[arg-type]  # checked there
    return run_sweep(read_grid(grid, settings), options, progress_of(quiet))


@dataclass(frozen=True)
class NamedGrid:
    """A grid, the table that it was read from, and what it is called."""

    name: str
    source: Mapping[str, Any]
    grid: Grid


def read_grid(source: Path | str | Mapping[str, Any], settings: Mapping[str, Any]) -> NamedGrid:
    """The grid of a file or of a table, with settings laid over every experiment.

    Raises:
        ConfigError: naming what is wrong with it.
    """

    def parse(experiment_table: dict[str, Any]) -> Experiment:
        return parse_experiment(experiment_table, settings)

    if isinstance(source, Mapping):
        return NamedGrid("grid", source, grid_of(dict(source), parse, "the grid"))
    return NamedGrid(Path(source).stem, toml.read_table(Path(source)), read(Path(source), parse))


def parse_experiment(experiment_table: dict[str, Any], settings: Mapping[str, Any]) -> Experiment:
    """One experiment of a grid. A run takes one thread where nothing else is said: many at a time fill the cores."""
    experiment = settings_io.experiment(None, dict(settings), experiment_table)
    machine = experiment.machine.model_copy(update={"threads": experiment.machine.threads or 1})
    return experiment.model_copy(update={"machine": machine})


def uncounted(total: int) -> AbstractContextManager[Callable[[Outcome], None]]:
    """The `Counter` that shows nothing."""
    return nullcontext(lambda outcome: None)


def run_sweep(named: NamedGrid, options: SweepOptions, progress: Progress, counter: Counter = uncounted) -> SweepResult:
    """Do what a grid asks for and is not finished, then make and write the table of all of it.

    Args:
        counter: shows how many experiments have ended; `progress` is told a line of each in any case.
    """
    grid = named.grid
    with begun(grid, options, progress) as start:
        outcomes = start.finished | _perform(grid, start, options, progress, counter)
        if start.left:
            start.refresh()
        return _result(named, outcomes, options, start.runs)


@dataclass(frozen=True)
class Start:
    """Where a sweep stands before anything runs.

    Attributes:
        runs: the folder where finished runs are read.
        refresh: brings there what is new.
        finished: by experiment, what came of it before.
        left: the experiments that are to be run, the longest first.
    """

    runs: Path
    refresh: Callable[[], None]
    finished: dict[Experiment, Outcome]
    left: tuple[Experiment, ...]
    resources: Resources


@contextmanager
def begun(grid: Grid, options: SweepOptions, progress: Progress) -> Iterator[Start]:
    """What is finished and what is left of a grid; said in a line."""
    with _readable(grid, options) as (runs, refresh):
        refresh()
        receipts = {experiment: receipt(runs, key(experiment, grid)) for experiment in grid.experiments}
        finished = {experiment: outcome for experiment, outcome in receipts.items() if outcome is not None}
        left = [experiment for experiment in grid.experiments if experiment not in finished]
        # the longest first: else all wait for the last in the end
        left.sort(key=lambda experiment: -weight_bytes(experiment.model.name))
        resources = resources_for(grid, options.engine, options.workers, options.address, len(left))
        progress.say(
            f"{len(grid.experiments)} experiments ({grid.options.verb}), {len(finished)} finished before; "
            f"engine {options.engine}, {_workers(options, resources)} of {resources.threads} thread(s) each"
        )
        yield Start(runs, refresh, finished, tuple(left), resources)


@contextmanager
def _readable(grid: Grid, options: SweepOptions) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The folder where finished runs are read (of a store, a temporary one), and what brings there what is new."""
    if not options.store:
        yield options.out, lambda: None
        return
    store, keys = Store(options.store), [key(experiment, grid) for experiment in grid.experiments]
    with TemporaryDirectory(prefix="prunekit-") as folder:
        try:
            yield Path(folder), lambda: mirror(store, keys, Path(folder))
        except ArtifactError as error:
            raise ArtifactError(str(error).replace(folder, options.store)) from error


def _workers(options: SweepOptions, resources: Resources) -> str:
    if options.address:
        return f"as many workers as {options.address} has room for,"
    return f"{resources.workers} worker{'' if resources.workers == 1 else 's'}"


def _perform(
    grid: Grid, start: Start, options: SweepOptions, progress: Progress, counter: Counter
) -> dict[Experiment, Outcome]:
    """Do what is left on the engine; returns what became of it."""
    if not start.left:
        return {}
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out.resolve()
    work = jobs(grid, out, start.left, options.store)
    by_key = {key(experiment, grid): experiment for experiment in start.left}
    ended: dict[Experiment, Outcome] = {}
    running = engines.outcomes(options.engine, work, start.resources, out / LEDGER)
    with counter(len(start.left)) as count, closing(running):
        for outcomes in running:
            for outcome in outcomes:
                ended[by_key[outcome.key]] = outcome
                progress.say(f"{len(ended)} of {len(start.left)}: {outcome.sentence}")
                count(outcome)
    return ended


def _result(named: NamedGrid, outcomes: Mapping[Experiment, Outcome], options: SweepOptions, runs: Path) -> SweepResult:
    """The table of all tickets, written, and its short form."""
    grid = named.grid
    tickets = table.results(runs, grid, outcomes)
    ended = [(experiment, outcomes[experiment]) for experiment in grid.experiments if experiment in outcomes]
    rows = [
        table.experiment_row(grid, experiment, outcome, tickets, runs, options.tolerance)
        for experiment, outcome in ended
        if not outcome.failed
    ]
    failures = [outcome for outcome in outcomes.values() if outcome.failed]
    folder = options.out / f"sweep-{named.name}-{_name(grid)}"
    result = SweepResult(named.name, grid, tuple(rows), tickets, tuple(failures), folder, options.store)
    if len(tickets):
        result.put(table.RESULTS, atomic.as_parquet(tickets))
        result.put("grid.toml", toml.dump(dict(named.source)).encode())
    return result


def _name(grid: Grid) -> str:
    return identity(sorted(key(experiment, grid) for experiment in grid.experiments), 4)


def finished_outcomes(grid: Grid, runs: Path) -> Sequence[tuple[Experiment, Outcome]]:
    """Every experiment of a grid with what came of it.

    Raises:
        ArtifactError: where the receipt of a finished experiment is gone.
    """
    ended = []
    for experiment in grid.experiments:
        outcome = receipt(runs, key(experiment, grid))
        if outcome is None:
            raise ArtifactError(f"{runs}: the receipt of {grid.label(experiment)} is gone; run it again")
        ended.append((experiment, outcome))
    return ended
