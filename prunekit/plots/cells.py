"""Cells as vectors: a score in a few steps of colour, one path for each, so that a page's style sheet can set them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from prunekit.plots import style

# the first step on which white letters stand out more than black ones
_DARK = 3


@dataclass(frozen=True)
class Scale:
    """What the first and last colours stand for, in units of the score."""

    low: float
    high: float

    @classmethod
    def of(cls, scores: Iterable[float], bounds: tuple[float, float] = (-math.inf, math.inf)) -> Scale:
        """From the smallest to the largest score; a little more where all are equal, within what they can be."""
        values = np.asarray([score for score in scores if np.isfinite(score)], dtype=float)
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        if low == high:
            low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
        return cls(max(low, bounds[0]), min(high, bounds[1]))

    def step(self, score: float) -> int:
        """Which of `style.HEAT` a score has."""
        return min(int(len(style.HEAT) * (score - self.low) / (self.high - self.low)), len(style.HEAT) - 1)


def draw(scores: pd.DataFrame, ax: Axes, scale: Scale) -> None:
    """A rectangle for each score that is there: row r, column c fill the square (c, r) to (c + 1, r + 1)."""
    values = scores.to_numpy(dtype=float)
    steps = np.array([[scale.step(value) if np.isfinite(value) else -1 for value in row] for row in values])
    for number, color in enumerate(style.HEAT):
        fill(ax, steps == number, color)
    ax.patch.set_gid("cells_1")  # a page finds by it where the cells are
    tokens, pieces = values.shape
    ax.set(xlim=(0, pieces), ylim=(tokens, 0))
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def fill(ax: Axes, where: np.ndarray, color: str) -> None:
    """Fill the cells of [R, C] where it is true, with a thin gap between them."""
    squares = [Path(_corners(row, column), closed=True) for row, column in zip(*np.nonzero(where), strict=True)]
    if squares:
        whole = Path.make_compound_path(*squares)
        ax.add_patch(PathPatch(whole, facecolor=color, edgecolor="none", linewidth=0))


def _corners(row: int, column: int, gap: float = 0.04) -> list[tuple[float, float]]:
    left, right, top, bottom = column + gap, column + 1 - gap, row + gap, row + 1 - gap
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def frame(ax: Axes, row: int, column: int) -> None:
    """A frame around a cell."""
    ax.add_patch(
        Rectangle((column, row), 1, 1, fill=False, edgecolor=style.RED, linewidth=1.8, clip_on=False, zorder=3)
    )


def ink_on(step: int) -> str:
    """The colour of letters that stand on a step of `style.HEAT`."""
    return "white" if step >= _DARK else style.INK


def color_bar(ax: Axes, scale: Scale, label: str) -> None:
    """What the colours stand for, beside the axes."""
    colors = ScalarMappable(Normalize(scale.low, scale.high), ListedColormap(style.HEAT))
    bar = ax.figure.colorbar(colors, ax=ax, fraction=0.06, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    style.plain(bar.ax.yaxis)
    bar.set_label(label)
