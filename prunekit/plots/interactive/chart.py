"""An interactive chart: what it tells beyond its figure's table, and how Altair draws it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prunekit.plots import style
from prunekit.runs.reader import RunReader
from prunekit.support import terminal
from prunekit.support.errors import ConfigError


@dataclass(frozen=True)
class Chart:
    """An interactive form of a figure.

    Attributes:
        draw: the figure's table -> an `altair` chart.
        hint: what a reader can do with it, in a sentence.
        detailed: (runs, table) -> the table with what is told of each mark beyond it.
    """

    draw: Callable[[pd.DataFrame], Any]
    hint: str
    detailed: Callable[[Sequence[RunReader], pd.DataFrame], pd.DataFrame] = lambda runs, table: table


def altair() -> Any:
    """The module `altair`.

    Raises:
        ConfigError: where it is not installed.
    """
    try:
        import altair
    except ImportError as error:
        raise ConfigError("an interactive figure needs Altair: pip install altair vl-convert-python") from error
    return altair


def data(table: pd.DataFrame) -> Any:
    """A table inside a chart, of any length; its fields need their types, such as "step:Q"."""
    return altair().InlineData(values=terminal.records(table))


def tooltip(**titles: str) -> list[Any]:
    """What is told of a mark.

    Args:
        titles: field -> its title, with ": " and the form of a number behind it where it has one, as "test: .3f".
    """
    alt, rows = altair(), []
    for field, words in titles.items():
        title, _, form = words.partition(": ")
        number = {"type": "quantitative", "format": form} if form else {"type": "nominal"}
        rows.append(alt.Tooltip(field, title=title, **number))
    return rows


def titled(chart: Any, words: str) -> Any:
    """A chart with a heading of its own look: its colours are those of the house, in the light and in the dark."""
    return chart.properties(title=words).configure(**look())


def look(*, dark: bool = False) -> dict[str, Any]:
    """Colours, letters and sizes, as Vega-Lite has them in `config`.

    Named styles of marks: "ink", "quiet" and "faint".
    """

    def color(light: str) -> str:
        return style.DARK[light] if dark else light

    ink, quiet, faint = map(color, (style.INK, style.QUIET, style.FAINT))
    words = {"labelColor": ink, "titleColor": ink, "titleFontWeight": "normal"}
    return {
        "background": color(style.WHITE),
        "font": "system-ui, sans-serif",
        "axis": {**words, "domainColor": ink, "tickColor": ink, "gridColor": faint, "labelLimit": 260},
        "legend": {**words, "orient": "top", "labelLimit": 260, "columns": 4, "symbolType": "circle"},
        "title": {"color": quiet, "anchor": "start", "fontWeight": "normal"},
        "view": {"stroke": None, "continuousWidth": 640, "discreteWidth": 640, "continuousHeight": 260},
        "range": {
            "category": [color(series) for series in style.SERIES],
            "heatmap": [color(step) for step in style.HEAT],
            "ordinal": [color(grey) for grey in style.GREYS],
        },
        "style": {name: {"color": tone, "stroke": tone} for name, tone in
                  (("ink", ink), ("quiet", quiet))} | {"faint": {"color": faint}},
    }  # fmt: skip
