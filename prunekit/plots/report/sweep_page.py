"""The page of a whole sweep: what was asked, one row per experiment, every ticket behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from prunekit.experiment.sweep.grid import Grid
from prunekit.experiment.sweep.jobs import Outcome
from prunekit.plots.report.page import render
from prunekit.plots.report.parts import Block, Column, Page, Section, number, significant, table_of

# rows of the table of tickets that a page holds; all of them are in the parquet file
_MOST = 500
_SHORT = {
    "metric": Column("metric"),
    "seeds": Column("seeds"),
    "stopped": Column("diverged"),
    "dense": Column("dense report", number(3)),
    "density": Column("density", significant),
    "report": Column("ticket's report", number(3)),
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


def html(name: str, grid: Grid, short: Sequence[dict[str, Any]], found: pd.DataFrame, failed: Sequence[Outcome]) -> str:
    """The page as HTML. short: a row per finished experiment.  found: a row per ticket.  failed: who came to no end."""
    varied = {setting: Column(setting.rpartition(".")[2]) for setting in grid.varied}
    rows = pd.DataFrame(short)
    metrics = [name for name in map(str, found.columns) if name.startswith(("validation_", "test_"))]
    shown = {**varied, **_TICKET, **{metric: Column(metric.replace("_", " "), number(3)) for metric in metrics}}
    blocks = [
        Block("Experiments", "experiments", tables=[table_of(rows, varied | _SHORT, "means over seeds")]),
        Block("Tickets", "tickets", further=[table_of(found, shown, "every finished ticket", _MOST)]),
    ]
    options = grid.options
    asked = [
        ("verb", options.verb + (" with controls" if options.controls else "")),
        ("what varies", ", ".join(grid.varied) or "nothing"),
        ("experiments", str(len(grid.experiments))),
        ("seeds", str(max(len(one.seeds) for one in grid.experiments))),
    ]
    runs = found["directory"].nunique() if len(found) else 0
    said = [f"{len(short)} of {len(grid.experiments)} experiments are finished, in {runs} run directories."]
    warnings = [f"Failed: {one.label}: {one.failed}" for one in failed]
    warnings.append(
        "Rows beside each other are no test: the best of many is partly luck. `--controls` and seeds decide."
    )
    section = Section(name, "sweep", asked, said, warnings, blocks)
    lead = "Many experiments with soft prompts on frozen language models, from one grid."
    foot = "Made by prunekit; `prunekit report RUN` makes a page of a run. Nothing here is loaded from elsewhere."
    return render(Page(f"The sweep {name}", lead, [section], [], foot))
