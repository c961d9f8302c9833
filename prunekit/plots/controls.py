"""The ticket beside its controls and base lines: what each reached on the test split, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import controls, tables
from prunekit.plots import style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import one_stage
from prunekit.pruning.controls import CONTROL_NAMES
from prunekit.runs.reader import RunReader
from prunekit.tasks.metrics import bounds

# a pruning's or search's ticket is what the others are compared with
_TICKET = "ticket"


def table_of(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """The arms of the pruning or search of each run that has controls.

    Columns:
        those of `prunekit.analysis.controls.describe`, and metric (str).

    Raises:
        LackingError: where a run has no controls, or several prunings with them.
    """
    stages = [(run, _stage(run, stage)) for run in runs]
    metrics = dict.fromkeys(str(run.settings()["metric"]) for run in runs)
    return controls.describe(tables.joined(stages), bounds=bounds(*metrics)).assign(metric=" / ".join(metrics))


def _stage(run: RunReader, stage: str | None) -> str:
    results = run.results()
    stages = sorted(set(results.loc[results["arm"].isin(CONTROL_NAMES), "stage"]))
    if not stages:
        raise LackingError(
            f"{run.path}: no controls; repeat the command that made it with --controls (and --seeds 6), it goes on"
        )
    return stages[0] if stage is None and len(stages) == 1 else one_stage(run, stage)


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A row per arm, a mark per task; the line marks the ticket."""
    arms = list(dict.fromkeys(table["arm"]))
    scopes = list(dict.fromkeys(table["scope"]))
    most = table["units"].max()
    for number, scope in enumerate(scopes):
        shift = style.spread(number, len(scopes))
        for row in table[table["scope"] == scope].itertuples():
            height = arms.index(row.arm) + shift
            color = style.QUIET if row.arm in controls.BASE_LINES else style.SERIES[number]
            ax.hlines(height, row.low, row.high, color=color, linewidth=1.4)
            ax.plot(row.test, height, style.MARKERS[number], color=color, markeredgecolor="white", markeredgewidth=0.4)
        if len(scopes) > 1:
            ax.plot([], [], style.MARKERS[number], color=style.SERIES[number], label=style.short(scope, 24))
    ticket = table[(table["arm"] == _TICKET) & (table["scope"] == scopes[0])]["test"]
    for reached in ticket:
        ax.axvline(reached, color=style.BLUE, linewidth=0.6, linestyle=style.DASHES[1], zorder=0)
    fewer = table[table["units"] < most].groupby("arm")["units"].min()
    names = [controls.LABELS.get(arm, arm) + (f" (n = {fewer[arm]})" if arm in fewer else "") for arm in arms]
    style.ticks(ax.yaxis, names)
    ax.set_ylim(len(arms) - 0.5, -0.5)
    ax.set_xlabel(f"test {style.short(table['metric'].iloc[0], 16)} (n = {most})")
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "controls",
    "What the pruned ticket and its controls reach on the test split, with 95 % intervals over seeds.",
    table_of,
    draw,
    height=lambda table, columns: 0.7 + 0.165 * table["arm"].nunique() * max(1, table["scope"].nunique() * 0.7),
)
