"""What a page is made of: tables, figures and sentences, ready to be shown and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from markupsafe import Markup

Format = Callable[[Any], str]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        label: its heading.
        show: a value as text, for values that are there.
    """

    label: str
    show: Format = str


@dataclass(frozen=True)
class Piece:
    """Some words of a text; `only`: the text beside it, which came before ("del") or after ("ins"), lacks them."""

    text: str
    only: Literal["", "del", "ins"] = ""


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: what it says.
        key: what it is sorted by, in the column's units; None where nothing is there, which is sorted last.
        pieces: the text, cut where it differs from one that stands beside it; none where it is beside no other.
    """

    text: str
    key: float | str | None
    pieces: Sequence[Piece] = ()


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first column names the row.

    Attributes:
        numeric: which columns are flush right.
        left_out: rows of the same table that are not shown.
        texts: whether its cells hold texts of several lines.
        filters: whether one can look for rows that hold some words.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    numeric: Sequence[bool]
    left_out: int = 0
    texts: bool = False
    filters: bool = False


@dataclass(frozen=True)
class Hover:
    """What is told of the cells of a drawing to whoever points at one; a table beside the drawing has it too.

    Attributes:
        rows: a text for each row, from the top.
        cells: of each row, from the left, a text for each of its cells.
    """

    rows: Sequence[str]
    cells: Sequence[Sequence[str]]

    @property
    def as_json(self) -> str:
        """For the page's script."""
        return json.dumps([[row, *cells] for row, cells in zip(self.rows, self.cells, strict=True)])


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption and the table that was drawn; `wide`: it takes the whole width."""

    title: str
    caption: str
    drawing: Markup
    table: Table
    wide: bool
    hover: Hover | None = None


@dataclass(frozen=True)
class Missing:
    """What a page could show and this run does not hold: why, and the command that would make it, where one would."""

    what: str
    why: str
    command: str = ""


@dataclass(frozen=True)
class Block:
    """A part of a run's section: what is said, the tables and figures that show it, and long tables behind them.

    Attributes:
        is_open: whether the page shows it unfolded.
    """

    title: str
    anchor: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    further: Sequence[Table] = ()
    missing: Sequence[Missing] = ()
    is_open: bool = True


@dataclass(frozen=True)
class Number:
    """A number that one is to remember: what it is, the number, and how sure it is or what it is a part of."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Opening:
    """The first screen of a run.

    Attributes:
        verdict: what came out, in words that need no dictionary.
        doubt: what the verdict does not say, such as that no control was trained.
        numbers: at most four.
        base_lines: what is reached without a learned prompt, as (name, number).
        picture: the one figure to look at, where the run has any.
    """

    verdict: str
    doubt: str
    numbers: Sequence[Number]
    base_lines: Sequence[tuple[str, str]]
    picture: Figure | None = None


@dataclass(frozen=True)
class Section:
    """All about one run.

    Attributes:
        name: of the run.
        anchor: of the section, unlike any other of the page.
        request: what was asked for, as (name, answer).
        findings: sentences.
        warnings: sentences.
        blocks: tables and figures.
        opening: the first screen; None where there is no one run to open with.
    """

    name: str
    anchor: str
    request: Sequence[tuple[str, str]]
    findings: Sequence[str]
    warnings: Sequence[str]
    blocks: Sequence[Block]
    opening: Opening | None = None


@dataclass(frozen=True)
class Page:
    """The whole page.

    Attributes:
        across: what several runs say together, where there are several.
        lead: what the page is, in a sentence.
        foot: where it comes from, in a sentence.
        overview: several runs side by side.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    across: Sequence[Block]
    foot: str
    overview: Table | None = None


def table_of(frame: pd.DataFrame, columns: Mapping[str, Column], caption: str, most: int | None = None) -> Table:
    """A data frame as a table: the named columns that it has, in this order; `most` rows of it."""
    present = {name: column for name, column in columns.items() if name in frame}
    first = frame if most is None else frame.head(most)
    rows = [
        [_cell(value, column) for value, column in zip(line, present.values(), strict=True)]
        for line in first[list(present)].itertuples(index=False, name=None)
    ]
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) and frame[name].dtype != bool for name in present]
    return Table(caption, list(present.values()), rows, numeric, len(frame) - len(first))


def pairs(values: Mapping[str, Any], caption: str, heads: tuple[str, str] = ("setting", "value")) -> Table:
    """Names and values as a table of two columns."""
    rows = [[Cell(name, name), _cell(value, Column(""))] for name, value in values.items()]
    return Table(caption, [Column(heads[0]), Column(heads[1])], rows, [False, False])


def number(digits: int, sign: str = "") -> Format:
    """Shows so many digits after the point."""
    return lambda value: f"{value:{sign}.{digits}f}"


def significant(value: Any) -> str:
    """Shows a number with three significant digits."""
    return f"{value:.3g}"


def probability(value: Any) -> str:
    """Shows a p."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def in_full(words: str) -> str:
    """Words as a sentence: a capital first and a full stop; nothing of nothing."""
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def yes_no(value: Any) -> str:
    """Shows a truth."""
    return "yes" if value else "no"


def _cell(value: Any, column: Column) -> Cell:
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return Cell("", None)
    text = column.show(value)
    if isinstance(value, bool):
        return Cell(text, float(value))
    try:
        return Cell(text, float(value))
    except (TypeError, ValueError):
        return Cell(text, text)
