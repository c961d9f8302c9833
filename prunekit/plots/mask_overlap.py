"""Whether seeds keep the same tokens and cells, against what as large masks share by chance."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import overlap, tables
from prunekit.analysis.subjects import PromptRecord
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import one_stage_of_cells
from prunekit.runs.paths import Stage, is_trial
from prunekit.runs.reader import RunReader

_TITLES = {"token": "tokens", "cell": "cells"}


def table_of(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """How much the masks of all seeds share in each round of a pruning, or in each trial of a search.

    Columns:
        those of `prunekit.analysis.overlap.agreement`, of the levels of which not all is kept throughout.

    Raises:
        LackingError: where a run has fewer than two seeds with a pruned ticket, masks of one size, or several prunings.
        ConfigError: where `stage` is not there.
    """
    return pd.concat([_agreement(run, one_stage_of_cells(run, stage)) for run in runs], ignore_index=True)


def _agreement(run: RunReader, stage: Stage) -> pd.DataFrame:
    prompts = tables.trial_subjects(run, stage) if stage.verb == "search" else _pruned(run, stage)
    if len({prompt.keys["seed"] for prompt in prompts}) < 2:
        raise LackingError(
            f"{run.path}: fewer than two seeds have a pruned ticket; repeat the command that made it with --seeds 6"
        )
    agreement = overlap.agreement(prompts)
    sizes = agreement.groupby("level")["share"].nunique() if len(agreement) else pd.Series(dtype=int)
    several = agreement[agreement["level"].isin(sizes[sizes > 1].index)]
    if several.empty:
        more = "search more sizes: --grid" if stage.verb == "search" else "prune in rounds: prunekit prune --rounds 3"
        raise LackingError(f"{run.path}: masks of one size are one point; {more}")
    return several.reset_index(drop=True)


def _pruned(run: RunReader, stage: Stage) -> list[PromptRecord]:
    """The tickets of a pruning; none where none came to its end."""
    ended = (run.result(key)["status"] == "done" for key in run.tickets() if key.stage == stage)
    return tables.subjects(run, stage) if any(ended) else []


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A line for tokens and one for cells, with bands of 95 % of what chance gives; crosses are trials of a search."""
    for number, (name, part) in enumerate(naming.parts(table, ["level"])):
        color, marker, dash = style.series(number)
        line = part.drop_duplicates(["share", "jaccard"]).sort_values("share")
        level, _, which = name.partition(", ")
        title = ", ".join(filter(None, (_TITLES.get(level, level), which)))
        if line["arm"].map(is_trial).any():
            ax.vlines(line["share"], line["low"], line["high"], color=color, alpha=0.25, linewidth=4)
            ax.plot(line["share"], line["jaccard"], "x", color=color, markersize=4, label=f"{title}, tried")
            continue
        ax.fill_between(line["share"], line["low"], line["high"], color=color, alpha=0.2, linewidth=0)
        ax.plot(line["share"], line["jaccard"], color=color, marker=marker, linestyle=dash, label=title)
    ax.fill_between([], [], [], color=style.QUIET, alpha=0.3, linewidth=0, label="95 % of chance")
    ax.set_ylim(0, min(1.02, ax.get_ylim()[1]))
    ax.set_xlim(0, 1.02)
    ax.set_title(naming.title(table, table["seeds"].max()), color=style.QUIET)
    ax.set_xlabel("share of tokens, or of cells, that is kept")
    ax.set_ylabel("shared of two seeds (Jaccard)")
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "mask_overlap",
    "The share of kept tokens and cells that two seeds have in common, by how much is kept, over the band of as "
    "large masks drawn at random.",
    table_of,
    draw,
)
