"""Bundles of lines: a thin one per prompt, a thick one for the median of all, a band of what chance gives."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from prunekit.plots import naming, style

#: Matrices of a prompt, as a reader calls them; in every figure each has the same colour.
MATRICES = {
    "values": "prompt",
    "change": "change from start",
    "values centred": "prompt, centred",
    "start": "start",
    "change centred": "change, centred",
    "start centred": "start, centred",
}
# what one thin line is: a prompt, or a draw beside it
_LINE = ("run", "stage", "arm", "seed", "round", "draw")
# marks along a line: more would hide it
_MARKS = 10
# inches of a letter, of a line of text, to a line that is touched, and to one that is far enough; places on a line
_LETTER, _LINE_HEIGHT, _TOUCHING, _FAR, _STEPS = 0.058, 0.15, 0.015, 0.3, 60
# of a picture, across and down, that the axes have at least beside labels, title and legend
_SHARE = np.array([0.78, 0.58])
# places in a box of size 1; how much worse it is to cover another name than to cover a line
_INSIDE = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 9), [-0.5, 0.0, 0.5]), axis=-1).reshape(-1, 2)
_WORSE = 10
# inches over the axis that are left to what stands on it
_FLOOR = np.array([0.0, 0.2])
#: [N, 2] or [2], inches from the lower left corner of the axes.
Places = NDArray[np.float64]


def bundles(table: pd.DataFrame, ax: Axes, x: str, y: str, first: str, *, plain: Collection[str] = ()) -> None:
    """A bundle for each part of the table; its columns `low` and `high`, where there are any, are its band.

    Args:
        first: the column that tells parts apart before all others, such as "matrix".
        plain: values of it that get no thin lines.
    """
    order = {name: place for place, name in enumerate(dict.fromkeys([*MATRICES, *table[first]]))}
    table = table.sort_values(first, key=lambda names: names.map(order), kind="stable")
    for number, (name, part) in enumerate(naming.parts(table, [first])):
        kind = str(part[first].iloc[0])
        title = MATRICES.get(kind, kind) + name.removeprefix(kind)
        _bundle(part, ax, (x, y), number, title, thin=kind not in plain)
    if _banded(table):
        ax.fill_between([], [], [], color=style.QUIET, alpha=0.3, linewidth=0, label="95 % of random matrices")


def _bundle(part: pd.DataFrame, ax: Axes, columns: tuple[str, str], number: int, title: str, thin: bool) -> None:
    x, y = columns
    color, marker, dash = style.series(number)
    lines = [line for _, line in part.groupby([name for name in _LINE if name in part], dropna=False)]
    middle = part.pivot_table(index=x, values=[y, *(("low", "high") if _banded(part) else ())], aggfunc="median")
    # of all prompts or of none: who stopped earlier would make it jump
    middle = middle[part.groupby(x).size() == len(lines)]
    if _banded(part):
        ax.fill_between(middle.index, middle["low"], middle["high"], color=color, alpha=0.3, linewidth=0)
    for line in lines if thin and len(lines) > 1 else ():
        (thread,) = ax.plot(line[x], line[y], color=color, linewidth=0.4, alpha=0.55)
        style.name_seed(thread, int(line["seed"].iloc[0]))
    every = -(-len(middle) // _MARKS)
    ax.plot(
        middle.index, middle[y], color=color, linestyle=dash, marker=marker, markevery=every, label=title,
        markeredgecolor="white", markeredgewidth=0.3,
    )  # fmt: skip


def name_directly(ax: Axes) -> None:
    """Write the name of each line beside it instead of into a legend: where it is clear of all other lines.

    Scales of the axes, and limits that do not follow from the lines, have to be set before.
    """
    ax.autoscale_view()  # limits that are still to be found would put everything elsewhere
    named = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    width, height = ax.figure.get_size_inches() * _SHARE
    paths = [_along(line, ax) * (width, height) for line in named]
    boxes: list[Places] = []
    for line, path in zip(named, paths, strict=True):
        size = np.array([_LETTER * len(str(line.get_label())), _LINE_HEIGHT])
        others = [other for other in paths if other is not path]
        candidates = _beside(path, size, (width, height))
        box = candidates[int(np.argmax([_clearance(center, size, path, others, boxes) for center in candidates]))]
        boxes.append(box + size * _INSIDE)
        nearest = path[np.abs(path - box).sum(axis=1).argmin()] / (width, height)
        ax.annotate(
            str(line.get_label()), nearest, box / (width, height), "axes fraction", "axes fraction", ha="center",
            va="center", zorder=5, arrowprops={"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.6},
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
        )  # fmt: skip


def _along(line: Line2D, ax: Axes) -> Places:
    """[N, 2] places of a line, close to each other, in parts of the axes."""
    vertices = ax.transAxes.inverted().transform(ax.transData.transform(np.asarray(line.get_xydata(), dtype=float)))
    finely = np.linspace(0, len(vertices) - 1, _STEPS)
    return np.stack([np.interp(finely, np.arange(len(vertices)), column) for column in vertices.T], axis=1)


def _beside(path: Places, size: Places, page: tuple[float, float]) -> list[Places]:
    """Middles of boxes of a size above, below and at both sides of a line, inside the page."""
    ways = np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])
    shifts = [way * (size / 2 + apart) for way in ways for apart in (0.05, 0.12, 0.2)]
    return [np.clip(place + shift, size / 2 + _FLOOR, np.array(page) - size / 2) for place in path for shift in shifts]


def _clearance(center: Places, size: Places, path: Places, others: Sequence[Places], boxes: Sequence[Places]) -> float:
    """Inches from a box to the nearest other line, less those to its own; much less where it stands over something."""
    apart = [_distance(center, size, other) for other in others]
    from_boxes = [_distance(center, size, other) for other in boxes]
    away = _distance(center, size, path)
    covered = sum(distance < _TOUCHING for distance in (*apart, away))
    covered += _WORSE * sum(distance < _TOUCHING for distance in from_boxes)
    return min([*apart, *from_boxes, _FAR]) - away - covered


def _distance(center: Places, size: Places, places: Places) -> float:
    """Inches from a box to the nearest of some places; 0 over one of them."""
    beyond = np.maximum(np.abs(places - center) - size / 2, 0)
    return float(np.hypot(*beyond.T).min())


def _banded(table: pd.DataFrame) -> bool:
    return "low" in table and bool(table["low"].notna().any())


def height(table: pd.DataFrame, columns: int) -> float:
    """Inches of a figure of lines, whatever its table, one or two paper columns wide."""
    return 2.5 if columns == 1 else 3.0
