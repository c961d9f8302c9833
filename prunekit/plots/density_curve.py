"""What pruning costs in quality: the test metric against density, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from prunekit.analysis import curves, tables
from prunekit.analysis.tables.run_columns import run_columns
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import name_of, one_stage
from prunekit.runs.baselines import BaseLines
from prunekit.runs.reader import RunReader

_ROUND = ["run", "stage", "round"]
_BARS = ["within", "non_inferior", "best"]

# of the most common answer, and of the other base lines
_MAJORITY_DASH, _BASE_DASHES = style.DASHES[2], (style.DASHES[1], *style.DASHES[3:])


def table_of(runs: Sequence[RunReader]) -> pd.DataFrame:
    """The tickets of every pruning and search, each behind its dense round, and the base lines.

    Columns:
        those of `prunekit.analysis.curves.density`, of base lines that are no tickets their metrics alone; of tickets
            also within, non_inferior, best (bool), of `prunekit.analysis.curves.smallest`, where best is none of a run
            whose dense prompt does not beat its base lines.

    Raises:
        LackingError: where a run has no pruned ticket.
    """
    rounds = tables.rounds(runs)
    density = curves.density(rounds)
    drawn = density[density["arm"].isin(["ticket", "untrained"])]
    for run in runs:
        tickets = drawn[(drawn["run"] == name_of(run)) & (drawn["arm"] == "ticket")]
        if tickets.empty:
            one_stage(run, None)  # says what it lacks
            raise LackingError(f"{run.path}: no ticket came to its end; look at `prunekit runs show {run.path}`")
        if tickets["density"].nunique() < 2:
            raise LackingError(f"{run.path}: every ticket is of one size, which is one point; keep fewer tokens")
    bars = curves.smallest(rounds)[[*_ROUND, *_BARS]].assign(arm="ticket")
    base_lines = {name_of(run): BaseLines.of(run) for run in runs}
    unbeaten = [name for name, lines in base_lines.items() if lines.nothing_to_prune]
    bars["best"] &= ~bars["run"].isin(unbeaten)
    drawn = drawn.merge(bars, how="left", on=[*_ROUND, "arm"])
    untrained = [_untrained(run, base_lines[name_of(run)]) for run in runs]
    return pd.concat([drawn, *(table for table in untrained if len(table))], ignore_index=True)


def _untrained(run: RunReader, base_lines: BaseLines) -> pd.DataFrame:
    """The base lines that are no tickets and that no column holds."""
    table = base_lines.table
    table = table[~table["name"].isin(["majority", "untrained"])]
    return table[["label", "validation", "test"]].rename(columns={"label": "arm"}).assign(**run_columns(run))


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A line per pruning, bars for 95 % intervals, a ring around the smallest ticket that is good enough."""
    curves_of = table[table["arm"] == "ticket"]
    for number, (name, part) in enumerate(naming.parts(curves_of)):
        line = part.sort_values("density")
        color, marker, dash = style.series(number)
        ax.plot(
            line["density"], line["test"], color=color, marker=marker, linestyle=dash, label=name or "pruned prompt"
        )
        ax.vlines(line["density"], line["low"], line["high"], color=color, linewidth=1.0)
        best = line[line["best"].eq(True)]
        ax.plot(
            best["density"], best["test"], "o", markersize=8, color=style.INK, markerfacecolor="none", clip_on=False
        )
    if curves_of["best"].eq(True).any():
        ax.plot([], [], "o", markersize=8, color=style.INK, markerfacecolor="none", label="smallest within tolerance")
    _base_lines(table, ax)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(LogLocator(base=2))
    style.plain(ax.xaxis, "{:.3g}")
    ax.set_xlabel("density (kept cells, log scale)")
    metric = str(curves_of["metric"].iloc[0])
    ax.set_ylabel(f"test {style.short(metric, 16)}")
    style.bounded(ax.yaxis, metric)
    ax.set_title(naming.title(curves_of, curves_of["seeds"].max()), color=style.QUIET)
    style.legend_above(ax)
    return ax


def _base_lines(table: pd.DataFrame, ax: Axes) -> None:
    """Only of one task: those of several could not be told apart."""
    if table["run"].nunique() > 1:
        return
    ax.axhline(table["majority_test"].iloc[0], color=style.QUIET, linestyle=_MAJORITY_DASH, label="most common answer")
    others = table[table["arm"] != "ticket"].drop_duplicates("arm")
    for number, (arm, reached) in enumerate(zip(others["arm"], others["test"], strict=True)):
        label = "untrained prompt" if arm == "untrained" else arm
        ax.axhline(reached, color=style.QUIET, linestyle=_BASE_DASHES[number % len(_BASE_DASHES)], label=label)


FIGURE = Figure(
    "density_curve",
    "The test metric against the density of the prompt, round by round, with 95 % intervals over seeds.",
    table_of,
    draw,
)
