"""What a search tried: how good each pair of ratios, or rank, was on validation, and which each seed chose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import tables
from prunekit.analysis.tables.run_columns import run_columns
from prunekit.plots import cells, naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import one_run
from prunekit.runs import summary
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ConfigError
from prunekit.tasks.metrics import bounds

# rows and columns up to which the numbers fit into their cells, in letters of six points
_MOST_NUMBERS = 11


def table_of(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """The trials of a search, means over seeds.

    Columns:
        run, task, model, method, labels, metric (str: the primary one); stage; chosen_by (str: what on validation);
            tokens, pieces (counts), of a search over ranks rank in their place; validation (mean, of `chosen_by`);
            seeds (int); chosen (int: seeds that chose it).

    Raises:
        LackingError: where runs are several, or fewer than two sizes were tried.
        ConfigError: where `stage` is no search of the run.
    """
    run = one_run(runs)
    searches = [str(search) for search in tables.prunings(run) if search.verb == "search"]
    if stage is not None and stage not in searches and not str(stage).startswith("prune"):
        raise ConfigError(f"--stage {stage}: {run.path} has the searches {', '.join(searches) or 'none'}")
    searched = stage if stage in searches else max(searches, default="")
    tried = tables.trials(run, searched)
    tried = tried[tried["status"] == "done"]
    sizes = ["rank"] if "rank" in tried else ["tokens", "pieces"]
    if len(tried[sizes].drop_duplicates()) < 2:
        raise LackingError(f"{run.path}: no ratios were searched; use `prunekit search` with the same settings")
    means = tried.groupby(sizes).agg(validation=("validation", "mean"), seeds=("seed", "nunique")).reset_index()
    results = run.results()
    chosen = results[(results["stage"] == searched) & results["arm"].eq("") & results["status"].eq("done")]
    if "rank" in tried:
        chosen = tables.chosen(run, searched)
    counts = chosen.groupby(sizes).size().rename("chosen").reset_index()
    means = means.merge(counts, how="left", on=sizes).fillna({"chosen": 0}).astype({"chosen": int})
    by = summary.chosen_by(results, str(run.settings()["metric"]))
    return means.assign(**run_columns(run), stage=searched, chosen_by=by)


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Rows are tokens kept, columns pieces kept a token, dense at the lower left; a frame marks what was chosen.

    Of ranks there is one row, of directions kept.
    """
    across, down = ("rank", "row") if "rank" in table else ("pieces", "tokens")
    table = table.assign(row=0)
    means = table.pivot(index=down, columns=across, values="validation").sort_index(ascending=False)
    means = means.sort_index(axis=1, ascending=False)
    by = str(table["chosen_by"].iloc[0])
    scale = cells.Scale.of(table["validation"], (0, math.inf) if by == "loss" else bounds(by))
    cells.draw(means, ax, scale)
    if max(means.shape) <= _MOST_NUMBERS:
        _numbers(means, ax, scale)
    rows, columns = ([int(count) for count in axis.to_numpy()] for axis in (means.index, means.columns))
    for row, column in table.loc[table["chosen"] > 0, [down, across]].to_numpy().tolist():
        cells.frame(ax, rows.index(row), columns.index(column))
    style.counts(ax.yaxis, rows, 25, middle=True)
    style.counts(ax.xaxis, columns, 16, middle=True)
    ax.set(xlabel="pieces kept of each token", ylabel="tokens kept")
    if "rank" in table:
        ax.set(xlabel="directions kept", ylabel="", yticks=[])
    ax.set_title(naming.title(table, table["seeds"].max()), color=style.QUIET)
    cells.color_bar(ax, scale, f"validation {style.short(by, 16)}")
    ax.plot([], [], "s", markersize=7, markerfacecolor="none", color=style.RED, label="chosen")
    style.legend_above(ax)
    return ax


def _numbers(means: pd.DataFrame, ax: Axes, scale: cells.Scale) -> None:
    for row, values in enumerate(means.to_numpy(dtype=float)):
        for column, value in enumerate(values):
            if np.isfinite(value):  # a pair that was not tried has none
                color = cells.ink_on(scale.step(value))
                style_of = {"ha": "center", "va": "center", "fontsize": 6, "color": color}
                ax.text(column + 0.5, row + 0.5, f"{value:.2f}", **style_of)


FIGURE = Figure(
    "search_map",
    "What a search tried: the mean of validation for each number of tokens and pieces kept, or of directions; a frame "
    "marks what was chosen.",
    table_of,
    draw,
    height=lambda table, columns: min(6.0, 1.4 + 0.2 * (1 if "rank" in table else table["tokens"].nunique())),
)
