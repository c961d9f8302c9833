"""How every figure looks, and how a table becomes a file: one style, paper widths, equal bytes for equal tables."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import pandas as pd
import seaborn
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, FuncFormatter, MaxNLocator

#: What a figure may be written as; the suffix of its file says which.
SUFFIXES = ("svg", "pdf", "png")
#: Inches across one and two columns of a paper.
WIDTHS = {1: 3.3, 2: 6.9}
#: Dots per inch of a PNG.
DOTS = 300
# inches that a legend takes for a line and the space beside it, and for a letter
_HANDLE, _LETTER = 0.45, 0.052
# letters of the smallest text that fit across, and inches between its lines
_NOTE_LETTERS, _NOTE_LINE = {1: 74, 2: 160}, 0.115

# Of the colours that Okabe and Ito chose for all kinds of sight, those that stay apart in grey, dark to light. Lines
# differ by marker and dash too, and bars by hatch, so that colour never carries a meaning alone.
INK, BLUE, RED, SKY, SAND = "#1a1a1a", "#0072b2", "#d55e00", "#56b4e9", "#e8b33a"
QUIET, FAINT = "#767676", "#d9d9d9"
GREEN = "#009e73"
SERIES = (BLUE, RED, SAND, INK, SKY, GREEN)
#: Steps of a score, low to high, all darker than `GREYS` in grey; few, so that a page can have its own in the dark.
HEAT = ("#7db6de", "#5f9fd0", "#4b8ec2", "#3074ad", "#1f5f99", "#144b82", "#0d396a", "#082951", "#041a38")
#: Fills of what was dropped, round by round; further rounds have the last one.
GREYS = ("#efefef", "#dadada", "#c3c3c3")
#: The paper.
WHITE = "#ffffff"
#: Each colour of the house -> what a page in the dark has in its place.
DARK = {
    WHITE: "#14171b", INK: "#e8eaed", QUIET: "#a4adb8", FAINT: "#343b44",
    BLUE: "#5fb0ee", RED: "#ff8a4c", SKY: "#8fd0ff", SAND: "#e8b33a", GREEN: "#3fc79a",
    "#7db6de": "#26506f", "#5f9fd0": "#2e5f85", "#4b8ec2": "#366e9a", "#3074ad": "#559ad0", "#1f5f99": "#69addf",
    "#144b82": "#83c0ec", "#0d396a": "#a0d2f6", "#082951": "#c0e3fc", "#041a38": "#e4f4ff",
    "#efefef": "#282d35", "#dadada": "#31373f", "#c3c3c3": "#3b424b",
}  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1, 1, 1)), (0, (2.5, 1)), (0, (6, 2)))

_LOOK: dict[str, Any] = {
    # the font that comes with matplotlib, so that every machine sets the same text; a reader of an SVG may lack it
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": matplotlib.cycler(color=SERIES),
    "text.color": INK,
    # a task's or a model's name is a stranger's text: never a formula
    "text.parse_math": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "hatch.linewidth": 0.5,
    "figure.dpi": 100,
    "savefig.dpi": DOTS,
    "savefig.facecolor": "white",
    # text stays text in an SVG: it can be searched and read aloud
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
_NUMBERED = re.compile(rb' id="([a-zA-Z0-9.]+_\d+)"')
# no dates, no versions: the same table gives the same bytes tomorrow
_FACTS: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


@contextmanager
def look(salt: str = "prunekit") -> Iterator[None]:
    """The style, whatever a user's own matplotlib settings are; they come back afterwards."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # a script that DejaVu lacks is drawn as boxes in a PNG; in an SVG the reader's own fonts have it
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        ticks: dict[str, Any] = seaborn.axes_style("ticks")
        matplotlib.rcParams.update(ticks | _LOOK | {"svg.hashsalt": salt})
        yield


def render(
    draw: Callable[[pd.DataFrame, Axes], Axes],
    table: pd.DataFrame,
    suffix: str,
    *,
    columns: int = 1,
    height: float = 2.2,
    salt: str = "prunekit",
    note: str = "",
) -> bytes:
    """The bytes of a figure; the same table gives the same bytes.

    Args:
        suffix: "svg", "pdf" or "png".
        columns: the paper columns it spans, 1 or 2.
        height: inches.
        salt: makes the names inside an SVG, so that two figures on one page share none.
        note: stands under the figure.
    """
    with look(salt):
        content = io.BytesIO()
        figure = picture(draw, table, columns=columns, height=height, note=note)
        figure.savefig(content, format=suffix, metadata=_FACTS[suffix])
    # the names that matplotlib numbers begin anew in each figure, and a page may hold several
    return _NUMBERED.sub(rf' id="{salt}-\1"'.encode(), content.getvalue()) if suffix == "svg" else content.getvalue()


def picture(
    draw: Callable[[pd.DataFrame, Axes], Axes], table: pd.DataFrame, *, columns: int, height: float, note: str = ""
) -> Figure:
    """A figure before it becomes a file, to be called inside `look`.

    Args:
        columns: as of `render`, as all others.
        height: inches.
    """
    lines = textwrap.wrap(clean(note), _NOTE_LETTERS[columns])
    figure = Figure(figsize=(WIDTHS[columns], height + _NOTE_LINE * len(lines)), layout="constrained")
    draw(table, figure.add_subplot())
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=6, color=QUIET, x=0.01, ha="left")
    return figure


def series(number: int) -> tuple[str, str, Any]:
    """Colour, marker and dash of a series; after six they begin again."""
    return SERIES[number % 6], MARKERS[number % 6], DASHES[number % 6]


def name_seed(line: Artist, seed: int) -> None:
    """Write into an SVG whose line this is, so that a page can take a seed away."""
    drawn = sum(len(axes.lines) for axes in line.axes.figure.axes)
    line.set_gid(f"seed.{seed}_{drawn}")


def plain(axis: Any, form: str = "{:g}") -> None:
    """Numbers as plain digits on an axis, a logarithmic one too (which would set them as formulas)."""
    axis.set_major_formatter(_digits(form))
    axis.set_minor_formatter(_digits(""))


def whole(axis: Any, most: int = 6) -> None:
    """Ticks of a counting axis: whole numbers, not too many."""
    axis.set_major_locator(MaxNLocator(nbins=most, integer=True, steps=[1, 2, 5, 10]))


def ticks(axis: Any, names: Sequence[str], most: int = 34) -> None:
    """Names of at most so many letters at the places 0, 1, ... of an axis."""
    axis.set_ticks(range(len(names)), labels=[short(name, most) for name in names])
    axis.set_tick_params(length=0)


def counts(axis: Any, numbers: Sequence[int], most: int, *, middle: bool = False) -> None:
    """Numbers at the places 0, 1, ... of an axis, at most so many: every second, fifth, tenth ... of a long row.

    Args:
        middle: the places are cells from 0 to 1, 1 to 2, ..., and the numbers stand in their middles.
    """
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if len(numbers) <= step * most)
    places = range(0, len(numbers), every)
    axis.set_ticks([place + 0.5 * middle for place in places], labels=[str(numbers[place]) for place in places])


def short(name: str, most: int = 34) -> str:
    """A name that fits beside a figure; a longer one loses its middle."""
    text = clean(name)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2 - 1) :]}"


def spread(number: int, count: int) -> float:
    """Where the mark of series `number` of `count` stands beside a row's middle, in rows."""
    return 0.0 if count == 1 else 0.42 * (number / (count - 1) - 0.5)


def clean(text: str) -> str:
    """A stranger's text as one line of printable letters: others would break an SVG."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))


def bounded(axis: Any, metric: str) -> None:
    """An axis of a metric ends at the most that the metric can be, where it comes near it; no tick stands beyond."""
    from prunekit.tasks.metrics import bounds

    least, most = bounds(metric)
    low, high = axis.get_view_interval()
    margin = 0.02 * (high - low)
    low, high = max(low, least - margin), min(high, most + margin)
    axis.axes.set_ylim(low, high) if axis.axis_name == "y" else axis.axes.set_xlim(low, high)


def legend_above(ax: Axes, handles: Sequence[Any] = (), names: Sequence[str] = ()) -> None:
    """The legend over the axes, where it covers no data, in as many columns as fit; none where nothing is named.

    Args:
        handles: what to name; by default everything on the axes that has a label.
        names: of the handles.
    """
    if not handles:
        handles, names = ax.get_legend_handles_labels()
    if handles:
        width = ax.figure.get_figwidth()
        columns = next((count for count in range(len(names), 1, -1) if _across(names, count) <= width), 1)
        ax.figure.legend(handles, names, loc="outside upper left", ncols=columns, columnspacing=1.2)


def lower_half(ax: Axes) -> Axes:
    """Axes under `ax`, in half of what was its place; both share what runs across.

    Raises:
        ValueError: where `ax` is no subplot.
    """
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("two panels take the place of one: draw them on a subplot")
    upper, lower = place.subgridspec(2, 1)
    ax.set_subplotspec(upper)
    ax.tick_params(labelbottom=False)
    return ax.figure.add_subplot(lower, sharex=ax)


def _across(names: Sequence[str], columns: int) -> float:
    """Inches that a legend takes, which fills its columns one after another."""
    rows, longer = divmod(len(names), columns)
    sizes = [rows + (column < longer) for column in range(columns)]
    ends = [sum(sizes[: column + 1]) for column in range(columns)]
    longest = [max(map(len, names[end - size : end])) for end, size in zip(ends, sizes, strict=True)]
    return sum(_HANDLE + _LETTER * letters for letters in longest)


def _digits(form: str) -> Formatter:
    return FuncFormatter(lambda value, _: form.format(value))
