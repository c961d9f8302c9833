"""The `sweep` verb: what would run or runs where, what came of it, the table of it all."""

from __future__ import annotations

import json as codec
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pandas as pd
import torch

from prunekit.cli.livetable import LiveTable
from prunekit.engine import memory
from prunekit.experiment import dry_run as foresight
from prunekit.experiment import settings_io
from prunekit.experiment.settings import Experiment
from prunekit.experiment.sweep import engines, grid, table
from prunekit.experiment.sweep.engines import Resources
from prunekit.experiment.sweep.grid import Grid
from prunekit.experiment.sweep.jobs import LEDGER, Outcome, jobs, key, receipt
from prunekit.experiment.sweep.mirror import mirror
from prunekit.experiment.sweep.plan import spread
from prunekit.experiment.sweep.worker import ready
from prunekit.plots.report import sweep_page
from prunekit.runs import summary
from prunekit.runs.paths import UNTRAINED
from prunekit.runs.run import Run
from prunekit.runs.store import Store
from prunekit.support import atomic, terminal, toml
from prunekit.support.digest import identity
from prunekit.support.errors import ArtifactError, ConfigError, PrunekitError, nearest
from prunekit.tasks.testbed import MODEL_PATH

# what a worker needs beside its model: Python, torch, transformers and one task, as measured on the testbed
_WORKER_BYTES = 700 * 2**20
_SHOWN = 60
# whose density and test a row shows
_WHICH = {
    "prune": "density, test: of the smallest ticket within {tolerance} of dense on validation; 1 is the dense prompt",
    "search": "density, test: of the chosen ticket",
}


@dataclass(frozen=True)
class Wish:
    """How the verb was called.

    Attributes:
        workers: None for as many as cores, memory and GPUs allow.
        store: URL of what holds the runs, "" for `out` itself.
    """

    out: Path
    store: str = ""
    engine: engines.Name = "local"
    workers: int | None = None
    address: str | None = None
    tolerance: float = 0.01
    dry_run: bool = False
    json: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def sweep(file: Path, wish: Wish) -> None:
    """Do what a grid asks for and is not finished, then show and write the table of all of it.

    Raises:
        ConfigError: where the grid or the engine cannot be used, before anything runs.
        PrunekitError: at the end where experiments failed, all others being done and in the table.
    """
    if wish.engine not in get_args(engines.Name):
        raise ConfigError(f"--engine {wish.engine}: {nearest(wish.engine, get_args(engines.Name))}")
    if wish.address and wish.engine != "ray":
        raise ConfigError(f"--address is of --engine ray; --engine {wish.engine} takes none")
    asked = grid.read(file, lambda settings: parsed(settings, wish.settings))
    if not wish.store:
        _sweep(asked, file, wish, wish.out, lambda: None)
        return
    store, keys = Store(wish.store), [key(one, asked) for one in asked.experiments]
    with TemporaryDirectory(prefix="prunekit-") as folder:
        try:
            _sweep(asked, file, wish, Path(folder), lambda: mirror(store, keys, Path(folder)))
        except ArtifactError as error:
            raise ArtifactError(str(error).replace(folder, wish.store)) from error


def _sweep(asked: Grid, file: Path, wish: Wish, runs: Path, look: Callable[[], None]) -> None:
    """The sweep of a grid. runs: where finished runs are read.  look: brings there what is new."""
    look()
    done = {one: found for one in asked.experiments if (found := receipt(runs, key(one, asked))) is not None}
    left = [one for one in asked.experiments if one not in done]
    left.sort(key=lambda one: -weight_bytes(one.model.name))  # the longest first: else all wait for the last in the end
    resources = _resources(asked, wish, len(left))
    screen = terminal.Screen()
    screen.say(
        f"{len(asked.experiments)} experiments ({asked.options.verb}), {len(done)} finished before; "
        f"engine {wish.engine}, {_workers(wish, resources)} of {resources.threads} thread(s) each"
    )
    if wish.dry_run:
        _foresee(asked, done, resources.workers, wish, screen)
        return
    done |= _perform(asked, left, wish, resources, screen)
    if left:
        look()
    _conclude(asked, done, file, wish, runs, screen)


def parsed(settings: dict[str, Any], given: dict[str, Any]) -> Experiment:
    """One experiment. A run takes one thread where nothing else is said: many at a time fill the cores."""
    experiment = settings_io.experiment(None, given, settings)
    machine = experiment.machine.model_copy(update={"threads": experiment.machine.threads or 1})
    return experiment.model_copy(update={"machine": machine})


def _resources(asked: Grid, wish: Wish, left: int) -> Resources:
    """Workers by cores and memory, or by GPUs, where they are not given."""
    machine = asked.experiments[0].machine
    threads, gpus = machine.threads or 1, 0 if machine.device == "cpu" else 1
    workers = wish.workers
    if workers is None:
        workers = torch.cuda.device_count() if gpus else len(os.sched_getaffinity(0)) // threads
        if wish.engine == "local":
            weights = max(weight_bytes(one.model.name) for one in asked.experiments)
            workers = min(workers, memory.free_bytes(torch.device("cpu")) // (_WORKER_BYTES + 2 * weights))
        workers = max(1, workers)
    slurm = asked.options.slurm
    return Resources(min(workers, max(left, 1)), threads, gpus, asked.options.retries, wish.address, slurm)


def weight_bytes(model: str) -> int:
    """Size of a local model's weights; 0 for a Hub name, whose size is not known before it is loaded."""
    folder = MODEL_PATH if model == "testbed" else Path(model)
    return sum(one.stat().st_size for one in folder.glob("*.safetensors"))


def _workers(wish: Wish, resources: Resources) -> str:
    if wish.address:
        return f"as many workers as {wish.address} has room for,"
    return f"{resources.workers} worker{'' if resources.workers == 1 else 's'}"


def _perform(
    asked: Grid, left: Sequence[Experiment], wish: Wish, resources: Resources, screen: terminal.Screen
) -> dict[Experiment, Outcome]:
    """Do what is left on the engine; returns what became of it."""
    if not left:
        return {}
    wish.out.mkdir(parents=True, exist_ok=True)
    out = wish.out.resolve()
    work = jobs(asked, out, left, wish.store)
    by_key = {key(one, asked): one for one in left}
    found: dict[Experiment, Outcome] = {}
    running = engines.outcomes(wish.engine, work, resources, out / LEDGER)
    with LiveTable(screen, out / LEDGER, len(left)) as live, closing(running):
        for outcomes in running:
            for outcome in outcomes:
                found[by_key[outcome.key]] = outcome
                live.ended(outcome)
            live.look()
    return found


def _foresee(
    asked: Grid, done: Mapping[Experiment, Outcome], workers: int, wish: Wish, screen: terminal.Screen
) -> None:
    """`--dry-run`: every experiment, with its run directory and minutes at most."""
    rates: dict[str, tuple[float, float]] = {}
    by_experiment, minutes = {}, []
    for experiment in sorted(asked.experiments, key=_loaded):  # what several need is loaded once
        outcome = done.get(experiment)
        if outcome is not None:
            by_experiment[experiment] = [outcome.run, "finished", "0", "0.0"]
            continue
        prepared = ready(experiment)
        parts = foresight.parts(prepared, asked.options.verb, asked.options.controls)
        alike = foresight.pace(prepared)
        if alike not in rates:
            rates[alike] = foresight.timed(prepared)
        spent = sum(foresight.minutes(prepared, parts, rates[alike]))
        begun = bool(Store(wish.store).names(prepared.name)) if wish.store else (wish.out / prepared.name).exists()
        tickets = sum(part.tickets for part in parts)
        by_experiment[experiment] = [prepared.name, "begun" if begun else "new", str(tickets), f"{spent:.1f}"]
        minutes.append(spent)
    rows = [[asked.label(experiment), *by_experiment[experiment]] for experiment in asked.experiments]
    columns = ["experiment", "run", "state", "tickets", "minutes at most"]
    total, wall = sum(minutes), spread(minutes, workers)
    if wish.json:
        each = [dict(zip(columns, row, strict=True)) for row in rows]
        terminal.write_json({"experiments": each, "minutes": total, "workers": workers, "wall_minutes": wall})
        return
    terminal.show(columns, rows[:_SHOWN])
    if len(rows) > _SHOWN:
        screen.say(f"{len(rows) - _SHOWN} more are listed by --json")
    terminal.write(
        f"{len(minutes)} of {len(rows)} would run: at most {total:.1f} worker minutes, {wall:.1f} minutes on {workers} "
        "worker(s), starting them left out; nothing was written"
    )


def _loaded(experiment: Experiment) -> str:
    """Equal for experiments that need the same model and rows, in an order that keeps those of one model together."""
    settings = experiment.model_dump(mode="json", include={"model", "machine", "task", "prompt"})
    return codec.dumps([settings["model"], settings["machine"], settings["task"], settings["prompt"]["tokens"]])


def _conclude(
    asked: Grid, done: Mapping[Experiment, Outcome], file: Path, wish: Wish, runs: Path, screen: terminal.Screen
) -> None:
    """The table, on disk and in short; then what failed."""
    found = table.results(runs, asked, done)
    folder = wish.out / f"sweep-{file.stem}-{_name(asked)}"
    if len(found):
        atomic.replace(folder / table.RESULTS, atomic.as_parquet(found))
        atomic.replace(folder / "grid.toml", toml.dump(toml.read_table(file)).encode())
    rows = [row for one in asked.experiments if (row := _row(asked, one, done.get(one), found, wish, runs)) is not None]
    failures = [one for one in done.values() if one.failed]
    if rows:
        made = sweep_page.html(file.stem, asked, rows, found, failures)
        atomic.replace(folder / "report.html", made.encode())
    if wish.store and folder.exists():
        Store(wish.store).write({f"{folder.name}/{one.name}": one.read_bytes() for one in folder.iterdir()})
    if wish.json:
        failed = [{"experiment": one.label, "reason": one.failed} for one in failures]
        facts = {"table": str(folder / table.RESULTS), "experiments": rows, "failed": failed}
        terminal.write_json(facts)
    else:
        _show(rows, asked.options.verb, wish.tolerance, screen)
        terminal.write(f"written to {folder}" + (f" and {wish.store}" if wish.store else ""))
    if failures:
        count, first = f"{len(failures)} of {len(asked.experiments)}", failures[0]
        raise PrunekitError(f"{count} experiments failed, the first is {first.label}: {first.failed}")


def _name(asked: Grid) -> str:
    return identity(sorted(key(one, asked) for one in asked.experiments), 4)


def _row(
    asked: Grid, experiment: Experiment, outcome: Outcome | None, found: pd.DataFrame, wish: Wish, runs: Path
) -> dict[str, Any] | None:
    """One experiment in short: its dense prompt, and its smallest good or its chosen ticket, means over seeds."""
    if outcome is None or outcome.failed:
        return None
    metric = Run.open(runs / outcome.run).settings()["metric"]
    own = found[(found["directory"] == outcome.run) & found["stage"].isin(["", UNTRAINED, outcome.stage])]
    rounds = summary.summarise(own.assign(stage=own["stage"].str.replace("search-", "prune-")), metric)
    row: dict[str, Any] = {**asked.values(experiment), "metric": metric, "seeds": len(experiment.seeds)}
    row |= {"stopped": int((own["status"] == "diverged").sum())}
    if not rounds:
        return row
    best = rounds[-1] if outcome.stage.startswith("search-") else summary.smallest(rounds, wish.tolerance)
    best = best or rounds[0]
    mine = own[(own["round"] == best.round) & (own["arm"] == "") & own["stage"].isin(["", outcome.stage])]
    density = float(mine[mine["status"] == "done"]["density"].mean())  # of a search every seed has its own
    return row | {
        "dense": rounds[0].test,
        "density": density,
        "test": best.test,
        "low": best.low,
        "high": best.high,
    }


def _show(rows: Sequence[dict[str, Any]], verb: grid.Verb, tolerance: float, screen: terminal.Screen) -> None:
    """The experiments in short; of many only the first, the rest being in the table on disk."""
    # `tune` leaves no ticket but the dense one
    left_out = ("low", "high", "density", "test") if verb == "tune" else ("low", "high")
    names = list(dict.fromkeys(name for row in rows for name in row if name not in left_out))
    if not any(row["stopped"] for row in rows):
        names = [name for name in names if name != "stopped"]
    cells = [[_cell(row.get(name, "")) for name in names] for row in rows[:_SHOWN]]
    terminal.show([name.rpartition(".")[2] for name in names], cells)
    if "density" in names:
        terminal.write(_WHICH[verb].format(tolerance=tolerance))
    if len(rows) > _SHOWN:
        screen.say(f"{len(rows) - _SHOWN} more are in the table")


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
