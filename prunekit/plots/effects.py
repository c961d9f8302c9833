"""The comparisons of a study as a picture: each difference with its interval, beside the smallest that it can tell."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import verdicts
from prunekit.plots import style

# towards what is claimed: a larger or a smaller value
_SIDES = {1: ">", -1: "<"}
_COLORS = {
    verdicts.HOLDS: style.BLUE,
    verdicts.OTHER_WAY: style.RED,
    verdicts.EQUIVALENT: style.SAND,
    verdicts.INCONCLUSIVE: style.QUIET,
    verdicts.NO_VERDICT: style.INK,
}


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A row per question, in margins: between -1 and 1 lies what is too small, beyond one of them what is claimed.

    Thick: the interval of the mean; thin: from the least to the most of the training subsets' own means.

    Args:
        table: of `analyses.studies.effects`; what a column `label` calls a row is written beside it, and what a column
            `heading` says above the rows that share it.
    """
    lines, places = _lines(table)
    ax.axvspan(-1, 1, color=style.FAINT, linewidth=0)
    ax.axvline(0, color=style.INK, linewidth=0.6)
    labelled: set[str] = set()
    for number, (place, row) in enumerate(zip(places, table.to_dict("records"), strict=True)):
        side = row["direction"]
        towards = None if number else "claimed side"
        ax.plot(side, place, _SIDES[side], color=style.INK, fillstyle="none", markeredgewidth=0.6, label=towards)
        verdict = verdicts.kind(row["verdict"])
        label = None if verdict in labelled else verdict
        labelled.add(verdict)
        names = ("least", "low", "difference", "high", "most")
        least, low, middle, high, most = (row[name] / row["margin"] for name in names)
        color, marker = _COLORS[verdict], style.MARKERS[list(_COLORS).index(verdict)]
        ax.hlines(
            place, least, most, color=style.QUIET, linewidth=0.6, label=None if number else "single training subsets"
        )
        ax.hlines(place, low, high, color=color, linewidth=1.4)
        ax.plot(middle, place, marker, color=color, linestyle="none", label=label)
    style.ticks(ax.yaxis, lines, most=84)
    for place in set(range(len(lines))) - set(places):
        ax.get_yticklabels()[place].set_fontweight("bold")
    ax.set_ylim(len(lines) - 0.5, -0.5)
    ax.set_xlabel("difference, in smallest differences of interest (95 %)", loc="right")
    style.legend_above(ax)
    return ax


def _lines(table: pd.DataFrame) -> tuple[list[str], list[int]]:
    """What is written from top to bottom, and at which places the rows are: a heading has a line of its own."""
    headings = table["heading"].tolist() if "heading" in table else [""] * len(table)
    lines, places, above = [], [], ""
    for label, heading in zip(_labels(table), headings, strict=True):
        if heading != above:
            lines.append(heading)
            above = heading
        places.append(len(lines))
        lines.append(label)
    return lines, places


def _labels(table: pd.DataFrame) -> list[str]:
    if "label" in table:
        return table["label"].tolist()
    return [f"{row.model}: {row.question}: {row.compared}" for row in table.itertuples()]


def render(table: pd.DataFrame, salt: str) -> bytes:
    """The picture as SVG; `salt` sets its inner names apart from those of other pictures on a page."""
    return style.render(draw, table, "svg", columns=2, height=0.8 + 0.2 * len(_lines(table)[0]), salt=salt)
