"""What pruning costs in quality: the test metric against density, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from prunekit.analysis import curves, tables
from prunekit.analysis.tables.run_columns import run_columns
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure, LackingError, usual_height
from prunekit.plots.run_choice import name_of, one_stage
from prunekit.runs.baselines import BaseLines
from prunekit.runs.paths import UNTRAINED, is_trial
from prunekit.runs.reader import RunReader

_ROUND = ["run", "stage", "round"]
_BARS = ["within", "non_inferior", "best"]

# of the most common answer, and of the other base lines, of which there may be six
_MAJORITY_DASH, _BASE_DASHES = style.DASHES[2], (style.DASHES[1], *style.DASHES[3:], (0, (8, 1.5, 1, 1.5)), (0, (1, 3)))
# base lines that the usual height has room to name, and inches of each further one
_NAMED, _LEGEND_LINE = 3, 0.13


def table_of(runs: Sequence[RunReader]) -> pd.DataFrame:
    """The tickets of every pruning and search, each behind its dense round, every trial of a search, the base lines.

    Columns:
        those of `prunekit.analysis.curves.density`, of base lines that are no tickets their metrics alone; trials as
            `prunekit.analysis.curves.tried` has them; of tickets also within, non_inferior, best (bool), of
            `prunekit.analysis.curves.smallest`, where best is none of a run whose dense prompt does not beat its base
            lines.

    Raises:
        LackingError: where a run has no pruned ticket.
    """
    rounds = tables.rounds(runs)
    drawn = tickets_of(runs, rounds)
    drawn = drawn[
        ~drawn["arm"].map(is_trial).astype(bool) | drawn["validation"].notna()
    ]  # by their losses they have another unit
    bars = curves.smallest(rounds)[[*_ROUND, *_BARS]].assign(arm="ticket")
    base_lines = {name_of(run): BaseLines.of(run) for run in runs}
    unbeaten = [name for name, lines in base_lines.items() if lines.nothing_to_prune]
    bars["best"] &= ~bars["run"].isin(unbeaten)
    drawn = drawn.merge(bars, how="left", on=[*_ROUND, "arm"])
    untrained = [_untrained(run, base_lines[name_of(run)]) for run in runs]
    return pd.concat([drawn, *(table for table in untrained if len(table))], ignore_index=True)


def tickets_of(runs: Sequence[RunReader], rounds: pd.DataFrame) -> pd.DataFrame:
    """The tickets of every pruning and search and the untrained prompt, over seeds, and each trial of a search.

    Args:
        rounds: of `prunekit.analysis.tables.rounds`, of the same runs.

    Raises:
        LackingError: where a run has none, or all of one size.
    """
    density = curves.density(rounds)
    parts = [density[density["arm"].isin(["ticket", "untrained"])], curves.tried(rounds)]
    drawn = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    for run in runs:
        of_run = drawn[(drawn["run"] == name_of(run)) & drawn["stage"].ne(UNTRAINED)]
        if not (of_run["arm"] == "ticket").any():
            one_stage(run, None)  # says what it lacks
            raise LackingError(f"{run.path}: no ticket came to its end; look at `prunekit runs show {run.path}`")
        if of_run["density"].nunique() < 2:
            raise LackingError(f"{run.path}: every ticket is of one size, which is one point; keep fewer tokens")
    return drawn


def _untrained(run: RunReader, base_lines: BaseLines) -> pd.DataFrame:
    """The base lines that are no tickets and that no column holds."""
    table = base_lines.table
    table = table[~table["name"].isin(["majority", "untrained"])]
    return table[["label", "validation", "test"]].rename(columns={"label": "arm"}).assign(**run_columns(run))


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A line per pruning, bars for 95 % intervals, a ring around the smallest ticket that is good enough.

    Trials of a search are small crosses, by validation: they never look at the test split.
    """
    trials, curves_of = table[table["arm"].map(is_trial)], table[table["arm"] == "ticket"]
    for number, (name, part) in enumerate(naming.parts(curves_of)):
        line = part.sort_values("density")
        color, marker, dash = style.series(number)
        dash = dash if line["density"].nunique() > 1 else "none"
        label = name or label_of(part)
        ax.plot(line["density"], line["test"], color=color, marker=marker, linestyle=dash, label=label)
        of_part = trials.merge(part[["run", "stage"]].drop_duplicates())
        ax.plot(
            of_part["density"], of_part["validation"], "x", color=color, markersize=3.5, markeredgewidth=0.8, zorder=3
        )
        ax.vlines(line["density"], line["low"], line["high"], color=color, linewidth=1.0)
        best = line[line["best"].eq(True)]
        ax.plot(
            best["density"], best["test"], "o", markersize=8, color=style.INK, markerfacecolor="none", clip_on=False
        )
    if curves_of["best"].eq(True).any():
        ax.plot([], [], "o", markersize=8, color=style.INK, markerfacecolor="none", label="smallest within tolerance")
    if len(trials):
        ax.plot([], [], "x", color=style.QUIET, markersize=3, markeredgewidth=0.7, label="tried, on validation")
    _base_lines(table, ax)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(LogLocator(base=2))
    style.plain(ax.xaxis, "{:.3g}")
    ax.set_xlabel(f"density ({counted(table)}, log scale)")
    metric = str(curves_of["metric"].iloc[0])
    ax.set_ylabel(f"{'' if len(trials) else 'test '}{style.short(metric, 16)}")
    style.bounded(ax.yaxis, metric)
    ax.set_title(naming.title(curves_of, curves_of["seeds"].max()), color=style.QUIET)
    style.legend_above(ax)
    return ax


def counted(table: pd.DataFrame) -> str:
    """What the densities of a table are shares of: cells, or numbers where directions were pruned and no cell was."""
    whole = table.groupby("run")["cells"].transform("max")
    of_directions = table["cells"].eq(whole)[table["density"] < 1]
    if not of_directions.any():
        return "kept cells"
    return "free numbers" if of_directions.all() else "kept cells, free numbers"


def label_of(part: pd.DataFrame) -> str:
    """What the line of the only pruning or search is called."""
    return "chosen by the search" if str(part["stage"].iloc[0]).startswith("search") else "pruned prompt"


def _base_lines(table: pd.DataFrame, ax: Axes) -> None:
    """Only of one task: those of several could not be told apart."""
    if table["run"].nunique() > 1:
        return
    ax.axhline(table["majority_test"].iloc[0], color=style.QUIET, linestyle=_MAJORITY_DASH, label="most common answer")
    others = _others(table)
    for number, (arm, reached) in enumerate(zip(others["arm"], others["test"], strict=True)):
        label = "untrained prompt" if arm == "untrained" else arm
        ax.axhline(reached, color=style.QUIET, linestyle=_BASE_DASHES[number % len(_BASE_DASHES)], label=label)


def _others(table: pd.DataFrame) -> pd.DataFrame:
    """The base lines beside the most common answer, a row each."""
    return table[(table["arm"] != "ticket") & ~table["arm"].map(is_trial)].drop_duplicates("arm")


def _height(table: pd.DataFrame, columns: int) -> float:
    """Higher where a legend of many base lines would take the place of the axes."""
    several = 0 if table["run"].nunique() > 1 else max(0, len(_others(table)) - _NAMED)
    return usual_height(table, columns) + _LEGEND_LINE * several / columns


FIGURE = Figure(
    "density_curve",
    "The test metric against the density of the prompt, round by round, with 95 % intervals over seeds; of a search "
    "every trial, by validation.",
    table_of,
    draw,
    height=_height,
)
