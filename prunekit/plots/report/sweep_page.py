"""The page of a whole sweep: what was asked, one row per experiment, every ticket behind it."""

from __future__ import annotations

from prunekit.experiment.sweep.sweep import SweepResult
from prunekit.plots.report.page import render
from prunekit.plots.report.parts import Block, Column, Page, Section, number, significant, table_of

# rows of the table of tickets that a page holds; all of them are in the parquet file
_MOST = 500
_SHORT = {
    "metric": Column("metric"),
    "seeds": Column("seeds"),
    "stopped": Column("diverged"),
    "dense": Column("dense on test", number(3)),
    "density": Column("density", significant),
    "test": Column("ticket on test", number(3)),
    "low": Column("95 % low", number(3)),
    "high": Column("high", number(3)),
}
_TICKET = {
    "stage": Column("stage"),
    "arm": Column("arm"),
    "seed": Column("seed"),
    "round": Column("round"),
    "status": Column("status"),
    "tokens": Column("tokens"),
    "pieces": Column("pieces"),
    "density": Column("density", number(2)),
    "steps": Column("updates"),
}


def write(result: SweepResult) -> None:
    """Write the page beside a sweep's table, where any experiment is finished."""
    if result.rows:
        result.put("report.html", html(result).encode())


def html(result: SweepResult) -> str:
    """The page of a sweep."""
    grid, tickets = result.grid, result.tickets
    varied = {setting: Column(setting.rpartition(".")[2]) for setting in grid.varied}
    metrics = [name for name in map(str, tickets.columns) if name.startswith(("validation_", "test_"))]
    columns = {**varied, **_TICKET, **{metric: Column(metric.replace("_", " "), number(3)) for metric in metrics}}
    blocks = [
        Block("Experiments", "experiments", tables=[table_of(result.table, varied | _SHORT, "means over seeds")]),
        Block("Tickets", "tickets", further=[table_of(tickets, columns, "every finished ticket", _MOST)]),
    ]
    options = grid.options
    request = [
        ("verb", options.verb + (" with controls" if options.controls else "")),
        ("what varies", ", ".join(grid.varied) or "nothing"),
        ("experiments", str(len(grid.experiments))),
        ("seeds", str(max(len(experiment.seeds) for experiment in grid.experiments))),
    ]
    runs = tickets["directory"].nunique() if len(tickets) else 0
    finished = f"{len(result.rows)} of {len(grid.experiments)} experiments are finished, in {runs} run directories."
    warnings = [f"Failed: {failure.label}: {failure.failed}" for failure in result.failures]
    warnings.append(
        "Rows beside each other are no test: the best of many is partly luck. `--controls` and seeds decide."
    )
    section = Section(result.name, "sweep", request, [finished], warnings, blocks)
    lead = "Many experiments with soft prompts on frozen language models, from one grid."
    foot = "Made by prunekit; `prunekit report RUN` makes a page of a run. Nothing here is loaded from elsewhere."
    return render(Page(f"The sweep {result.name}", lead, [section], [], foot))
