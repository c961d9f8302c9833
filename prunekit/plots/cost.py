"""What density saves: trained parameters and seconds of a round; of prefixes what every request keeps and takes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis.request_cost import request_cost
from prunekit.plots import density_curve, naming, style
from prunekit.plots.figure import Figure
from prunekit.runs.reader import RunReader

_MEASURES = {"parameters": "trained parameters", "seconds": "seconds of a round"}
_OF_REQUESTS = {"cache_mb": "cache of a request (MB)", "decode_share": "time to write a token / dense"}
_COSTS = ["cache_bytes", "requests", "prefill_ms", "dense_prefill_ms", "decode_ms", "dense_decode_ms"]


def table_of(runs: Sequence[RunReader]) -> pd.DataFrame:
    """The table of `prunekit.plots.density_curve`, with its columns and without its base lines.

    Columns:
        those; where the runs are of prefixes of keys and values also cache_bytes, requests, prefill_ms,
            dense_prefill_ms, decode_ms, dense_decode_ms, of `prunekit.analysis.request_cost`, cache_mb (the bytes
            / 10^6), and decode_share (decode_ms / dense_decode_ms: rounds were timed at other times, these in turns).

    Raises:
        LackingError: where a run has no pruned ticket.
    """
    table = density_curve.table_of(runs)
    tickets = table[table["arm"] == "ticket"].reset_index(drop=True)
    costs = request_cost(runs)
    if costs.empty:
        return tickets
    dense = tickets["round"].eq(0)  # stands at the head of every pruning
    keyed = tickets.assign(of_stage=tickets["stage"].mask(dense, ""))
    costs = costs.rename(columns={"stage": "of_stage"})[["run", "of_stage", "round", *_COSTS]]
    merged = keyed.merge(costs, how="left", on=["run", "of_stage", "round"]).drop(columns="of_stage")
    return merged.assign(
        cache_mb=merged["cache_bytes"] / 1e6, decode_share=merged["decode_ms"] / merged["dense_decode_ms"]
    )


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Parameters (of prefixes bytes) left, seconds right, both from 0: equal heights are equal savings."""
    measures = _OF_REQUESTS if "cache_mb" in table and table["cache_mb"].notna().all() else _MEASURES
    both = dict(zip(measures, (ax, ax.twinx()), strict=True))
    named = list(naming.parts(table))
    for look, (measure, axes) in enumerate(both.items()):
        color, _, dash = style.series(look)
        for number, (_, part) in enumerate(named):
            line = part.sort_values("density")
            axes.plot(line["density"], line[measure], color=color, linestyle=dash, marker=style.MARKERS[number])
        axes.set_ylim(0, 1.06 * table[measure].max() if table[measure].max() > 0 else None)
        axes.set_ylabel(measures[measure], color=color)
        axes.tick_params(axis="y", colors=color)
        ax.plot([], [], color=color, linestyle=dash, label=measures[measure])
    for number, (name, _) in enumerate(named):
        if name:
            ax.plot([], [], style.MARKERS[number], color=style.QUIET, label=name)
    next(reversed(both.values())).spines["right"].set_visible(True)
    ax.set_xlim(left=0)
    ax.set_xlabel("density (kept cells)")
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "cost",
    "Trained parameters of a prompt, and the seconds that a round of its whole cohort took, against density; of "
    "prefixes of keys and values a request's cache, and the time to write a token beside that behind the dense one.",
    table_of,
    draw,
)
