"""What density saves: trained parameters and seconds of a round; of prefixes what every request keeps and takes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import tables
from prunekit.analysis.request_cost import request_cost
from prunekit.plots import density_curve, naming, style
from prunekit.plots.figure import Figure
from prunekit.runs.paths import UNTRAINED
from prunekit.runs.reader import RunReader

_LABELS = {
    "parameters": "trained\nparameters",
    "seconds": "seconds\nof a round",
    "cache_mb": "cache of a\nrequest (MB)",
    "decode_share": "time to write a\ntoken / dense",
}
_COSTS = ["cache_bytes", "requests", "prefill_ms", "dense_prefill_ms", "decode_ms", "dense_decode_ms"]


def table_of(runs: Sequence[RunReader]) -> pd.DataFrame:
    """The sizes of `prunekit.plots.density_curve`: tickets, dense ones at their head, and each trial of a search.

    Columns:
        those of `prunekit.analysis.curves.density`, where seconds are of trainings (what a search chose was trained as
            a trial); where the runs are of prefixes of keys and values also cache_bytes, requests, prefill_ms,
            dense_prefill_ms, decode_ms, dense_decode_ms, of `prunekit.analysis.request_cost`, cache_mb (the bytes
            / 10^6), and decode_share (decode_ms / dense_decode_ms: rounds were timed at other times, these in turns).

    Raises:
        LackingError: where a run has no pruned ticket, or all are of one size.
    """
    table = density_curve.tickets_of(runs, tables.rounds(runs))
    tickets = table[table["stage"] != UNTRAINED].reset_index(drop=True)
    is_chosen = (tickets["arm"] == "ticket") & tickets["stage"].str.startswith("search") & (tickets["round"] > 0)
    tickets["seconds"] = tickets["seconds"].mask(is_chosen)
    costs = request_cost(runs)
    if costs.empty:
        return tickets
    dense = tickets["round"].eq(0)  # stands at the head of every pruning
    keyed = tickets.assign(of_stage=tickets["stage"].mask(dense, ""))
    costs = costs.rename(columns={"stage": "of_stage"})[["run", "of_stage", "round", *_COSTS]].assign(arm="ticket")
    merged = keyed.merge(costs, how="left", on=["run", "of_stage", "round", "arm"]).drop(columns="of_stage")
    return merged.assign(
        cache_mb=merged["cache_bytes"] / 1e6, decode_share=merged["decode_ms"] / merged["dense_decode_ms"]
    )


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Parameters (of prefixes bytes) above, seconds below, both from 0; crosses are trials of a search.

    Args:
        table: of `table_of`.
        ax: a subplot; where times are known it gives its lower half away.
    """
    measures = _measures(table)
    panels = dict(zip(measures, (ax, style.lower_half(ax)) if len(measures) > 1 else (ax,), strict=True))
    is_trial = table["arm"] != "ticket"
    named = list(naming.parts(table[~is_trial]))
    for measure, panel in panels.items():
        for number, (name, part) in enumerate(named):
            color, marker, dash = style.series(number)
            line = part.dropna(subset=measure).sort_values("density")
            dash = dash if line["density"].nunique() > 1 else "none"
            label = (name or density_curve.label_of(part)) if panel is ax else None
            panel.plot(line["density"], line[measure], color=color, linestyle=dash, marker=marker, label=label)
        panel.plot(
            table.loc[is_trial, "density"], table.loc[is_trial, measure], "x", color=style.QUIET, markersize=3,
            markeredgewidth=0.7, zorder=1,
        )  # fmt: skip
        panel.set_ylim(0, 1.06 * table[measure].max() if table[measure].max() > 0 else None)
        panel.set_ylabel(_LABELS[measure])
    if is_trial.any():
        ax.plot([], [], "x", color=style.QUIET, markersize=3, markeredgewidth=0.7, label="tried by the search")
    last = next(reversed(panels.values()))
    last.set_xlim(left=0)
    last.set_xlabel(f"density ({density_curve.counted(table)})")
    ax.set_title(naming.title(table, table["seeds"].max()), color=style.QUIET)
    style.legend_above(ax)
    return ax


def _measures(table: pd.DataFrame) -> list[str]:
    """What the panels show, from the top: nothing that is known of one size alone."""
    is_cache = "cache_mb" in table and table.loc[table["arm"] == "ticket", "cache_mb"].notna().all()
    names = ("cache_mb", "decode_share") if is_cache else ("parameters", "seconds")
    return [name for name in names if table.loc[table[name].notna(), "density"].nunique() > 1]


FIGURE = Figure(
    "cost",
    "Trained parameters of a prompt, and the seconds that a round of its whole cohort took, against density; of "
    "prefixes of keys and values a request's cache, and the time to write a token beside that behind the dense one.",
    table_of,
    draw,
    height=lambda table, columns: 3.0 if len(_measures(table)) > 1 else 2.4,
)
