"""The ticket against each control: the paired difference on the test split, beside the band of what matters."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import controls, tables
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import one_stage
from prunekit.pruning.controls import CONTROL_NAMES
from prunekit.runs.reader import RunReader
from prunekit.tasks.metrics import bounds


def table_of(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """The comparisons of the pruning or search of each run that has controls, pairs of finished seeds.

    Columns:
        those of `prunekit.analysis.controls.compare`, and metric, task, model (str; several are joined by " / ").

    Raises:
        LackingError: where a run has no controls, several prunings with them, or no finished pair.
    """
    arms = tables.joined([(run, _stage(run, stage)) for run in runs])
    compared = controls.compare(arms)
    paired = compared[compared["units"] > 0].reset_index(drop=True)
    if len(paired) < 2:
        raise LackingError(
            f"{', '.join(str(run.path) for run in runs)}: no two controls came to their end beside the ticket"
        )
    names = {"metric": [str(run.settings()["metric"]) for run in runs]} | {
        key: list(arms[key]) for key in ("task", "model")
    }
    return paired.assign(**{key: " / ".join(dict.fromkeys(values)) for key, values in names.items()})


def _stage(run: RunReader, stage: str | None) -> str:
    results = run.results()
    stages = sorted(set(results.loc[results["arm"].isin(CONTROL_NAMES), "stage"]))
    if not stages:
        raise LackingError(
            f"{run.path}: no controls; repeat the command that made it with --controls (and --seeds 6), it goes on"
        )
    return stages[0] if stage is None and len(stages) == 1 else one_stage(run, stage)


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A row per control, a mark per task: right of the line the ticket is better; inside the band nothing matters."""
    against, scopes = (list(dict.fromkeys(table[name])) for name in ("against", "scope"))
    most, margin = int(table["units"].max()), float(table["margin"].max())
    metric = str(table["metric"].iloc[0])
    least, greatest = bounds(*metric.split(" / "))
    widest = greatest - least  # no difference can be larger; intervals of two seeds would go beyond
    ax.axvspan(-margin, margin, color=style.FAINT, linewidth=0, zorder=0, label=f"too small to matter (±{margin:g})")
    ax.axvline(0, color=style.INK, linewidth=0.6)
    for number, scope in enumerate(scopes):
        color, marker, _ = style.series(number)
        shift = style.spread(number, len(scopes))
        rows = table[table["scope"] == scope]
        heights = [against.index(arm) + shift for arm in rows["against"]]
        ax.hlines(heights, *(rows[end].clip(-widest, widest) for end in ("low", "high")), color=color, linewidth=1.4)
        label = style.short(scope, 24) if len(scopes) > 1 else "difference" + ", 95 % interval" * (most > 1)
        ax.plot(rows["difference"], heights, marker, color=color, linestyle="none", label=label)
    fewer = table[table["units"] < most].groupby("against")["units"].min()
    names = [controls.LABELS.get(arm, arm) + (f" (n = {fewer[arm]})" if arm in fewer else "") for arm in against]
    style.ticks(ax.yaxis, names)
    ax.set_ylim(len(against) - 0.5, -0.5)
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, -widest), min(high, widest))
    ax.set_xlabel(f"ticket less control, test {style.short(metric, 16)}")
    ax.set_title(naming.in_two_lines(naming.title(table, most)), color=style.QUIET)
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "controls",
    "What the pruned ticket reaches on the test split less what each control does, paired over seeds, with 95 % "
    "intervals; the grey band is too small to matter.",
    table_of,
    draw,
    height=lambda table, columns: 1.22 + 0.165 * table["against"].nunique() * max(1, table["scope"].nunique() * 0.7),
)
