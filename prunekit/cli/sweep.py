"""`prunekit sweep`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunekit.cli.options import DryRun, Json, Out, Tolerance
from prunekit.cli.table import Column, digits, print_table
from prunekit.experiment import settings_io
from prunekit.support import terminal

if TYPE_CHECKING:
    import pandas as pd

    from prunekit.experiment.sweep.forecast import SweepForecast
    from prunekit.experiment.sweep.jobs import Outcome

_MOST_ROWS = 60
# whose density and test a row shows
_WHICH = {
    "prune": "density, test: of the smallest ticket within {tolerance} of dense on validation; 1 is the dense prompt",
    "search": "density, test: of the chosen ticket",
}


@settings_io.with_settings("", "machine")
def sweep(  # noqa: PLR0913 (an argument is a flag)
    grid: Annotated[Path, typer.Argument(help="experiment file in which any setting may be a list")],
    out: Out = Path("runs"),
    engine: Annotated[str, typer.Option(help="local (processes), ray or slurm (pip install ray submitit)")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="runs at a time; default: by cores, memory, GPUs")
    ] = None,
    address: Annotated[str | None, typer.Option(help="of a Ray cluster; default: Ray on this machine")] = None,
    store: Annotated[str, typer.Option(help="URL (fsspec) of what holds the runs, such as s3://bucket/runs")] = "",
    tolerance: Tolerance = 0.01,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Many experiments, from one file: a grid on a local pool, Ray or Slurm. Run again to resume."""
    from prunekit.experiment.sweep.sweep import SweepOptions, read_grid, run_sweep

    screen = terminal.Screen()
    options = SweepOptions(out, store, engine, workers, address, tolerance)  # type: ignore[arg-type]  # checked there
    named = read_grid(grid, settings)
    if dry_run:
        from prunekit.experiment.sweep.forecast import forecast_sweep

        _print_forecast(forecast_sweep(named.grid, options, screen), screen, json=json)
        return
    result = run_sweep(named, options, screen, lambda total: _counted(screen, total))
    from prunekit.plots.report import sweep_page

    sweep_page.write(result)
    if json:
        failed = [{"experiment": failure.label, "reason": failure.failed} for failure in result.failures]
        facts = {"table": str(result.folder / "results.parquet"), "experiments": list(result.rows), "failed": failed}
        terminal.write_json(facts)
    else:
        print_sweep(result.table, named.grid.options.verb, tolerance, screen)
        terminal.write(f"written to {result.folder}" + (f" and {store}" if store else ""))
    result.check_ended()


@contextmanager
def _counted(screen: terminal.Screen, total: int) -> Iterator[Callable[[Outcome], None]]:
    """On a terminal a bar, below the lines of finished experiments, that counts them and says for how long it goes."""
    if not screen.console.is_terminal:
        yield lambda outcome: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("experiments{task.fields[failed]}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen.console, transient=True) as progress:
        bar = progress.add_task("", total=total, failed="")
        failures: list[Outcome] = []

        def count(outcome: Outcome) -> None:
            failures.extend([outcome] if outcome.failed else [])
            progress.update(bar, advance=1, failed=f", {len(failures)} failed" if failures else "")

        yield count


def print_sweep(table: pd.DataFrame, verb: str, tolerance: float, screen: terminal.Screen) -> None:
    """The experiments in short; of many only the first, the rest being in the table on disk."""
    # `tune` leaves no ticket but the dense one
    left_out = {"low", "high", *(("density", "test") if verb == "tune" else ())}
    if "stopped" in table and not table["stopped"].any():
        left_out.add("stopped")
    columns = {name: Column(str(name).rpartition(".")[2]) for name in table if name not in left_out}
    print_table(table.head(_MOST_ROWS), columns)
    if "density" in columns:
        terminal.write(_WHICH[verb].format(tolerance=tolerance))
    if len(table) > _MOST_ROWS:
        screen.say(f"{len(table) - _MOST_ROWS} more are in the table")


def _print_forecast(outlook: SweepForecast, screen: terminal.Screen, *, json: bool) -> None:
    if json:
        terminal.write_json(outlook.facts)
        return
    columns = {name: Column(name) for name in ("experiment", "run", "state", "tickets")}
    print_table(outlook.table.head(_MOST_ROWS), columns | {"minutes at most": Column("minutes at most", digits(1))})
    if len(outlook.table) > _MOST_ROWS:
        screen.say(f"{len(outlook.table) - _MOST_ROWS} more are listed by --json")
    terminal.write(
        f"{outlook.left} of {len(outlook.table)} would run: at most {outlook.minutes:.1f} worker minutes, "
        f"{outlook.wall_minutes:.1f} minutes on {outlook.workers} worker(s), starting them left out; nothing was "
        "written"
    )
