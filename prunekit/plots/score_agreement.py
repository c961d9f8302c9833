"""Whether cheap scores order tokens as measured worth does: rank correlations with leave-one-out and Shapley values."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import tables, unit_scores
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import check_several, name_of, one_stage, score_command
from prunekit.pruning.scores import MEASURED_SCORES, SCORES
from prunekit.runs.reader import RunReader

REFERENCES = tuple(score.name for score in MEASURED_SCORES)
_TITLES = {score.name: score.label for score in SCORES}


def table_of(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """Agreement of every kind of score with what was measured, over the tokens of each measured prompt.

    Columns:
        those of `prunekit.analysis.unit_scores.agreement`; `first` is "leave-one-out" or "shapley".

    Raises:
        LackingError: where a run has no such measurement, too few tokens to compare, or several prunings.
        ConfigError: where `stage` is not there.
    """
    measured = tables.measured(runs)
    references = measured[(measured["level"] == "token") & measured["kind"].isin(REFERENCES)]
    for run in runs:
        if name_of(run) not in set(references["run"]):
            raise LackingError(
                f"{run.path}: no token was left out; measure it: "
                + score_command(run, None, "--kind", "leave-one-out")
                + " (and --kind shapley)"
            )
    scores = [tables.scores([run], one_stage(run, stage) if tables.prunings(run) else None) for run in runs]
    agreement = unit_scores.agreement(unit_scores.beside(pd.concat(scores, ignore_index=True), references))
    agreement = agreement[agreement["level"] == "token"]
    left_out, shapley = REFERENCES
    both = pd.concat([agreement, agreement.rename(columns={"first": "second", "second": "first"})], ignore_index=True)
    wanted = (both["first"] == left_out) | ((both["first"] == shapley) & (both["second"] != left_out))
    defined = both[wanted & both["spearman"].notna()].reset_index(drop=True)
    check_several(len(defined), runs[0], "scores that differ over tokens as what was measured does")
    return defined


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A row per score; filled marks are Spearman's rho with its 95 % interval, hollow ones Kendall's tau."""
    rows = [kind for kind in _TITLES if kind in set(table["second"])]
    prompts = [rows for _, rows in table.groupby(["run", "stage", "arm", "seed", "round"], sort=False)]
    series = [(kind, number) for kind in REFERENCES for number in range(len(prompts)) if kind in set(table["first"])]
    for place, (kind, number) in enumerate(series):
        color, marker = style.SERIES[REFERENCES.index(kind)], style.MARKERS[REFERENCES.index(kind)]
        shift = style.spread(place, len(series))
        for row in prompts[number][prompts[number]["first"] == kind].itertuples():
            y = rows.index(str(row.second)) + shift
            ax.hlines(y, row.spearman_low, row.spearman_high, color=color, linewidth=1.1)
            ax.plot(row.spearman, y, marker, color=color, markeredgecolor="white", markeredgewidth=0.3)
            ax.plot(row.kendall, y, marker, color=color, markerfacecolor="white", markersize=3, markeredgewidth=0.7)
    for kind in dict.fromkeys(kind for kind, _ in series):
        color, marker = style.SERIES[REFERENCES.index(kind)], style.MARKERS[REFERENCES.index(kind)]
        ax.plot([], [], marker, color=color, label=f"with {_TITLES[kind]}")
    ax.plot([], [], "o-", color=style.QUIET, linewidth=1.1, label="Spearman, 95 %")
    ax.plot([], [], "o", color=style.QUIET, markerfacecolor="white", markersize=3, label="Kendall")
    for place in range(1, len(rows)):
        ax.axhline(place - 0.5, color=style.FAINT, linewidth=0.4, zorder=0)
    ax.axvline(0, color=style.QUIET, linewidth=0.6, linestyle=style.DASHES[1], zorder=0)
    style.ticks(ax.yaxis, [_TITLES[kind] for kind in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(-1, 1)
    ax.set_xlabel("rank correlation")
    ax.set_title(naming.in_two_lines(naming.title(table, len(prompts))), color=style.QUIET)
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "score_agreement",
    "Rank correlation of each score with what leaving tokens out costs and with their Shapley values, over the tokens "
    "of a prompt.",
    table_of,
    draw,
    height=lambda table, columns: 1.12 + 0.24 * table["second"].nunique(),
)
