"""Which tokens of one prompt help which words of one right answer: tokens x words, colours around 0."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from prunekit.analysis import tables
from prunekit.analysis.subjects import KEYS
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import check_several, one_run, one_seed, score_command
from prunekit.runs.reader import RunReader

# darker for help than for harm, so that the two are told apart in grey, where harm is marked besides
_AROUND_ZERO = LinearSegmentedColormap.from_list("around zero", [style.RED, "#f6c9a8", "white", "#7fb2d9", "#06224d"])
_MOST_WORDS, _MOST_TICKS, _LETTERS = 24, 25, 12
# harm below this part of the largest effect is not marked
_SLIGHT = 0.05


def table_of(runs: Sequence[RunReader], seed: int | None = None) -> pd.DataFrame:
    """Costs by word of the smallest prompt of a seed that was measured, on the example that it changes most.

    Columns:
        those of `prunekit.analysis.tables.words`, of one example and its first words.

    Raises:
        LackingError: where `prunekit score --by-word` has not been called, or there are several runs.
        ConfigError: where `seed` is not there.
    """
    run = one_run(runs)
    words = tables.words([run])
    if words.empty:
        command = score_command(run, None, "--by-word")
        raise LackingError(f"{run.path}: no token was left out by word; measure it: {command}")
    of_seed = one_seed(words, run, seed)
    prompts = [prompt for _, prompt in of_seed.groupby(list(KEYS), dropna=False)]
    prompt = min(prompts, key=lambda table: int(table["token"].nunique()))
    most_changed = prompt["difference"].abs().groupby(prompt["example"]).sum().idxmax()
    of_example = prompt[(prompt["example"] == most_changed) & (prompt["position"] < _MOST_WORDS)]
    check_several(len(of_example), run, "tokens and words")
    return of_example.reset_index(drop=True)


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Rows are tokens of the prompt, columns the words of the answer; a dash marks what is better without a token."""
    costs = table.pivot(index="token", columns="position", values="difference")
    tokens, words = costs.shape
    largest = float(table["difference"].abs().max()) or 1.0
    mesh = ax.imshow(
        costs, cmap=_AROUND_ZERO, vmin=-largest, vmax=largest, extent=(0, words, tokens, 0), interpolation="none",
        aspect="auto",
    )  # fmt: skip
    harm = [
        (x + 0.5, y + 0.5) for y, row in enumerate(costs.values) for x, cost in enumerate(row) if _harms(cost, largest)
    ]
    ax.plot(*zip(*harm, strict=True) if harm else ([], []), "_", color=style.INK, markersize=4, clip_on=False)
    style.counts(ax.yaxis, [int(token) for token in costs.index], _MOST_TICKS, middle=True)
    names = table.drop_duplicates("position").set_index("position")["word"]
    labels = [style.short(names[position], _LETTERS).strip() or "(blank)" for position in costs.columns]
    ax.set_xticks([place + 0.5 for place in range(words)], labels=labels, rotation=90)
    ax.set(
        xlabel=f"right answer to example {table['example'].iloc[0]}",
        ylabel="token left out",
        xlim=(0, words),
        ylim=(tokens, 0),
    )
    ax.set_title(naming.of_ticket(table.iloc[0]), color=style.QUIET)
    ax.tick_params(length=0)
    bar = ax.figure.colorbar(mesh, ax=ax, fraction=0.06, pad=0.02, aspect=30)
    style.plain(bar.ax.yaxis)
    bar.set_label("nats added\n(\u2013: less)")
    return ax


def _harms(cost: float, largest: float) -> bool:
    return cost < -_SLIGHT * largest


FIGURE = Figure(
    "word_map",
    "What leaving each token of a prompt out adds to the loss of each token of one right answer, of the example that "
    "changes most; a dash marks what is likelier without the prompt's token.",
    table_of,
    draw,
    height=lambda table, columns: min(8.5, 1.6 + (0.13 if columns == 1 else 0.16) * table["token"].nunique()),
)
