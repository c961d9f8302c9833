"""How training went, update by update: what chooses on validation and the loss, and which values were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from prunekit.analysis import tables
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import one_run
from prunekit.runs.reader import RunReader

_ONE_LINE = ["stage", "arm", "seed", "round", "split"]


def table_of(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """The logs of the dense round and of every round of the last pruning or search, or of the one that is asked for.

    Columns:
        those of `prunekit.analysis.tables.logs`, of the loss and the primary metric; kept_step (int, updates: whose
            values were kept).

    Raises:
        LackingError: where runs are several, or no training was evaluated twice.
    """
    run = one_run(runs)
    chosen = stage or max(tables.prunings(run), default="")
    logs = tables.logs([run])
    logs = logs[logs["arm"].isin(["dense", "ticket"]) & logs["stage"].isin(["", str(chosen)])]
    logs = logs[logs["metric"].isin(["loss", str(run.settings()["metric"])])]
    if logs["step"].nunique() < 2:
        raise LackingError(f"{run.path}: no training was evaluated twice; use a smaller --evaluate-every")
    kept = tables.rounds([run])[["stage", "arm", "seed", "round", "kept_step"]]
    return logs.merge(kept, how="left", on=["stage", "arm", "seed", "round"]).reset_index(drop=True)


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A line a seed: the metric above, where it was measured, and the loss below; a ring marks the values kept.

    Args:
        table: of `table_of`.
        ax: a subplot; where there is a metric it gives its lower half away.
    """
    metrics = [metric for metric in dict.fromkeys(table["metric"]) if metric != "loss"]
    panels = {"loss": style.lower_half(ax) if metrics else ax} | dict.fromkeys(metrics, ax)
    last = int(table["round"].max()) if len(table) else 0
    for metric, panel in panels.items():
        _lines(table[table["metric"] == metric], panel, last)
        panel.set_ylabel("loss (nats)" if metric == "loss" else f"validation\n{style.short(metric, 16)}")
        style.whole(panel.xaxis)
    for metric in metrics:
        style.bounded(ax.yaxis, metric)
    panels["loss"].set_xlabel("update of the round")
    ax.set_title(naming.title(table), color=style.QUIET)
    _legend(table, ax, last)
    return ax


def _lines(table: pd.DataFrame, panel: Axes, last: int) -> None:
    for (*_, split), line in table.sort_values("step").groupby(_ONE_LINE):
        color, width, order, dash = _look(int(line["round"].iloc[0]), last)
        seed = int(line["seed"].iloc[0])
        dash = dash if split == "validation" else style.DASHES[2]
        lines = panel.plot(line["step"], line["value"], color=color, linewidth=width, linestyle=dash, zorder=order)
        style.name_seed(lines[0], seed)
        kept = line[line["step"].eq(line["kept_step"])]
        if split == "validation" and order > 2:
            rings = panel.plot(kept["step"], kept["value"], "o", color=color, markerfacecolor="white", zorder=order + 1)
            style.name_seed(rings[0], seed)


def _look(number: int, last: int) -> tuple[str, float, int, Any]:
    """Colour, width, height above the page and dash of the lines of a round."""
    if number == 0:
        return style.BLUE, 1.1, 4, style.DASHES[0]
    return (style.RED, 1.1, 3, style.DASHES[1]) if number == last else (style.QUIET, 0.5, 2, style.DASHES[0])


def _legend(table: pd.DataFrame, ax: Axes, last: int) -> None:
    rounds = ["dense"] + ["rounds between"] * (last > 1) + [f"round {last}"] * (last > 0)
    numbers = [0] + [1] * (last > 1) + [last] * (last > 0)
    looks = [_look(number, last) for number in numbers]
    handles = [Line2D([], [], color=color, linewidth=width, linestyle=dash) for color, width, _, dash in looks]
    handles.append(Line2D([], [], color=style.QUIET, marker="o", markerfacecolor="white", linestyle="none"))
    names = [*rounds, "kept"]
    if table["split"].nunique() > 1:
        handles.append(Line2D([], [], color=style.QUIET, linestyle=style.DASHES[2]))
        names.append("on train")
    style.legend_above(ax, handles, names)


FIGURE = Figure(
    "learning_curves",
    "How training went: the validation metric and the loss by update, a line a seed; a ring marks the values that were "
    "kept.",
    table_of,
    draw,
    height=lambda table, columns: 3.0 if table["metric"].nunique() > 1 else 2.3,
)
