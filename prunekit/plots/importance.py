"""What each token of one prompt is worth by leaving it out: bars with intervals, negative tokens marked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import SymmetricalLogLocator
from matplotlib.transforms import offset_copy

from prunekit.analysis import tables
from prunekit.analysis.subjects import KEYS
from prunekit.plots import naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import check_several, one_run, one_seed, score_command
from prunekit.runs.reader import RunReader

LEFT_OUT, SHAPLEY = "leave-one-out", "shapley"
# how far from a bar's middle the marks of its two measurements stand
_BESIDE = 0.18
# token numbers that fit under one and two columns of a paper, and under one of them in the usual size
_MOST_TICKS, _LARGE = {1: 24, 2: 50}, 14

# so many tokens flatten the rest where they are so many times as large as the next
_FLATTENING, _FLAT = 2, 8


def table_of(runs: Sequence[RunReader], seed: int | None = None) -> pd.DataFrame:
    """What leaving each kept token of one prompt out costs, and its Shapley value where that was measured.

    The prompt is the first that was measured: of the lowest seed, or the one that is asked for, the earliest round.

    Columns:
        those of `prunekit.analysis.tables.measured`, of tokens; of several measurements that on the most examples.

    Raises:
        LackingError: where nothing was measured, or several runs are named.
        ConfigError: where `seed` is not there.
    """
    run = one_run(runs)
    measured = tables.measured([run])
    measured = measured[(measured["level"] == "token") & measured["kept"].astype(bool)]
    costs = measured[measured["kind"] == LEFT_OUT]
    if costs.empty:
        raise LackingError(
            f"{run.path}: no token was left out; measure it: " + score_command(run, seed, "--kind", "leave-one-out")
        )
    first = one_seed(costs, run, seed).sort_values(["round", "stage", "arm"]).head(1)[list(KEYS)]
    of_prompt = measured[measured["kind"].isin([LEFT_OUT, SHAPLEY])].merge(first, on=list(KEYS))
    most = of_prompt.sort_values("examples", ascending=False, kind="stable").drop_duplicates(["kind", "token"])
    check_several(most["token"].nunique(), run, "tokens that were left out")
    return most.sort_values(["kind", "token"], kind="stable").reset_index(drop=True)


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """Bars in falling order; a triangle marks what is negative beyond chance, a filled one that test confirms it."""
    cost = table[table["kind"] == LEFT_OUT].sort_values("score", ascending=False, kind="stable")
    places = {token: place for place, token in enumerate(cost["token"])}
    negative, confirmed = cost["negative"].eq(True), cost["confirmed"].eq(True)
    for rows, color, hatch in ((cost[~negative], style.SKY, None), (cost[negative], style.RED, "/////")):
        where = [places[token] for token in rows["token"]]
        ax.bar(where, rows["score"], width=0.78, color=color, hatch=hatch, edgecolor="white", linewidth=0)
    ax.fill_between([], [], [], color=style.SKY, label="left out, 95 % interval")
    ax.vlines(
        [place - _BESIDE for place in range(len(cost))], cost["low"], cost["high"], color=style.INK, linewidth=0.7
    )
    # bars of harmful tokens are often too short to be seen
    under = offset_copy(ax.transData, ax.figure, y=-5, units="points")
    for rows, inside, label in (
        (cost[negative & ~confirmed], "white", "negative beyond chance"),
        (cost[negative & confirmed], style.RED, "negative, on test too"),
    ):
        if len(rows):
            where = [places[token] for token in rows["token"]]
            lows = rows["low"].clip(upper=0)
            look = {"color": style.RED, "markerfacecolor": inside, "markersize": 4}
            ax.plot(where, lows, "v", transform=under, clip_on=False, **look)
            ax.plot([], [], "v", label=label, **look)
    other = table[(table["kind"] == SHAPLEY) & table["token"].isin(places)]
    if len(other):
        beside = [places[token] + _BESIDE for token in other["token"]]
        ax.errorbar(
            beside, other["score"], yerr=other["error"], fmt="D", color=style.INK, markersize=2.8,
            markerfacecolor="white", markeredgewidth=0.7, elinewidth=0.6, label="Shapley, standard error",
        )  # fmt: skip
    _spread(cost, ax)
    ax.axhline(0, color=style.INK, linewidth=0.6)
    narrow = ax.figure.get_figwidth() < 5
    style.counts(ax.xaxis, list(cost["token"]), _MOST_TICKS[1 if narrow else 2])
    if narrow and len(cost) > _LARGE:
        ax.tick_params(axis="x", labelsize=6)
    ax.set_xlim(-0.7, len(cost) - 0.3)
    ax.set_xlabel("token, by what leaving it out costs")
    ax.set_ylabel("loss added (nats)")
    ax.set_title(naming.of_ticket(table.iloc[0]), color=style.QUIET)
    style.legend_above(ax)
    return ax


def _spread(cost: pd.DataFrame, ax: Axes) -> None:
    """A symmetric logarithm where a token or two flatten all the others."""
    sizes = cost["score"].abs().sort_values(ascending=False, ignore_index=True)
    if len(sizes) <= _FLATTENING or sizes[0] <= _FLAT * sizes[_FLATTENING] or sizes[_FLATTENING] == 0:
        return
    unit = 10.0 ** math.floor(math.log10(float(sizes.median()) or float(sizes[_FLATTENING])))
    ax.set_yscale("symlog", linthresh=unit)
    ax.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=unit))
    style.plain(ax.yaxis)


FIGURE = Figure(
    "importance",
    "The loss that leaving each token of a prompt out adds, with 95 % intervals over examples; triangles mark "
    "tokens that are negative beyond chance (Holm over tokens).",
    table_of,
    draw,
    height=lambda table, columns: 2.5 if columns == 1 else 2.8,
)
