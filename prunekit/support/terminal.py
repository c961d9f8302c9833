"""How runs look in a terminal: progress bars where there is one, plain lines elsewhere, tables at the end.

rich is imported when something is printed, so that the command line answers at once.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import pandas as pd

# a log gets a line after so many seconds without one; what goes on is said after a second
_MOST_SILENT, _QUICK = 10.0, 1.0
# letters of a bar
_BAR = 14
_PLAIN_WIDTH = 160
# letters after which words may be broken over lines, where a table is wider than the terminal
_BROKEN = 14
# blanks between two columns
_GAP = 2
# a column of such cells is set flush right
_NUMBER = re.compile(r"-?[\d.]+|mean$|diverged$")
# how a number or an interval begins
_DIGIT = re.compile(r"[-+]?\d")


def printable(text: str) -> str:
    """The text with control characters shown as escapes, so that no name or label can steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


class Tick(Protocol):
    """Hears how far a piece of work is."""

    def __call__(self, completed: int, note: str = "") -> None:
        """So many units are completed; note: what else is worth saying now."""


class Screen:
    """Prints lines and progress to standard error; standard output is left for results."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Print one line."""
        self.console.print(printable(line))

    @contextmanager
    def track(self, title: str, total: int, unit: str = "updates") -> Iterator[Tick]:
        """Show progress: a bar on a terminal and in a notebook, a few plain lines elsewhere.

        Args:
            title: what is being done.
            total: how many units of it there are.
            unit: what they are called.

        Yields:
            A function that takes how many units are completed, and what else is worth saying now.
        """
        if self.console.is_jupyter:
            progress: AbstractContextManager[Tick] = _notebook_bar(printable(title), total, unit)
        else:
            progress = self._bar(title, total, unit) if self.console.is_terminal else self._lines(title, total, unit)
        with progress as tick:
            yield tick

    @contextmanager
    def _bar(self, title: str, total: int, unit: str) -> Iterator[Tick]:
        """A bar that gives way to the next line; how long updates take yet says their note."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        text, note = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[note]}", markup=False)
        columns = (text, BarColumn(_BAR), MofNCompleteColumn(), note if unit == "updates" else TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            bar = progress.add_task(printable(title), total=total, note="")
            yield lambda completed, note="": progress.update(bar, completed=completed, note=printable(note))

    @contextmanager
    def _lines(self, title: str, total: int, unit: str) -> Iterator[Tick]:
        """Lines of a log: one after a second, one at most every `_MOST_SILENT` seconds, and the end of updates."""
        lines = _Lines(self.say, title, total, unit)
        timer = threading.Timer(_QUICK, lines.begin)
        timer.daemon = True
        timer.start()
        try:
            yield lines
        finally:
            timer.cancel()
            lines.end()

    @contextmanager
    def working(self, title: str) -> Iterator[None]:
        """Show that something goes on whose length is not known: a moving line on a terminal, a line elsewhere.

        Args:
            title: what is being done; what takes less than a second is not worth a line in a log.
        """
        if self.console.is_terminal and not self.console.is_jupyter:
            with self.console.status(printable(title), spinner="line"):
                yield
            return
        timer = threading.Timer(_QUICK, self.say, [f"{title} ..."])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


class _Lines:
    """What a log says of a piece of work: see `Screen._lines`."""

    def __init__(self, say: Callable[[str], None], title: str, total: int, unit: str) -> None:
        self._say, self._title, self._of, self._is_updates = say, title, f"of {total} {unit}", unit == "updates"
        self._total, self._completed, self._note, self._last, self._said = total, 0, "", time.monotonic(), False

    def __call__(self, completed: int, note: str = "") -> None:
        self._completed, self._note = completed, note
        if time.monotonic() - self._last > _MOST_SILENT:
            self._line()

    def begin(self) -> None:
        """It takes long enough to be worth a line."""
        if not self._said:
            self._line()

    def end(self) -> None:
        """It has ended; of updates is said how."""
        if self._is_updates and self._completed:
            self._line()

    def _line(self) -> None:
        self._last, self._said = time.monotonic(), True
        progress = f"{self._completed} {self._of}{f', {self._note}' if self._note else ''}"
        self._say(f"{self._title}: {progress}" if self._total else f"{self._title} ...")


@contextmanager
def _notebook_bar(title: str, total: int, unit: str) -> Iterator[Tick]:
    """A bar of tqdm: a widget where the notebook has widgets, else a line of text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there are no widgets
        from tqdm.auto import tqdm

        bar = tqdm(total=total, desc=title, unit=f" {unit}")

    def tick(completed: int, note: str = "") -> None:
        bar.set_postfix_str(printable(note), refresh=False)
        bar.update(completed - bar.n)

    with bar:
        yield tick


@contextmanager
def only_first_prints(processes: int) -> Iterator[bool]:
    """Silence all but the first of several torchrun processes.

    Args:
        processes: how many there are.

    Yields:
        Whether this process prints.
    """
    if processes == 1 or os.environ.get("RANK", "0") == "0":
        yield True
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield False


def show(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None, least: Sequence[str] = ()
) -> None:
    """Print a table to standard output; a row of one empty string is a line between groups.

    Numbers are never cut: where the terminal is too narrow, words are broken over lines, and then columns left out.

    Args:
        least: columns that are left out first, in this order; then the others, from the right.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH
    fitting = _fitting(columns, rows, least, width)
    heads, body = [printable(columns[index]) for index in fitting], [_shown(row, fitting) for row in rows]
    flush_right = [_is_of_numbers([row[index] for row in rows if len(row) > index]) for index in fitting]
    widths = _line_widths([heads, *body], width)
    if title is not None:
        write(title)
    _print_table(heads, [] if widths else body, flush_right, widths, width)
    for cells in body if widths else []:  # rich takes a millisecond for a row
        places = zip(cells, widths, flush_right, strict=True)
        write((" " * _GAP).join(cell.rjust(most) if right else cell.ljust(most) for cell, most, right in places))
    if left_out := [name for index, name in enumerate(columns) if index not in fitting]:
        write(f"left out, since the terminal is {width} wide: {', '.join(left_out)}")


def _print_table(
    heads: Sequence[str], body: Sequence[list[str]], flush_right: Sequence[bool], least: Sequence[int], width: int
) -> None:
    """A table by rich; least: letters across of each column at least, none where they follow from the rows."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    widths: Sequence[int | None] = least or [None] * len(heads)
    for head, right, across in zip(heads, flush_right, widths, strict=True):
        justify: Literal["left", "right"] = "right" if right else "left"
        table.add_column(head, justify=justify, no_wrap=right, overflow="fold", min_width=across)
    for cells in body:
        if cells == [""]:
            table.add_section()
        else:
            table.add_row(*cells)
    Console(width=width, highlight=False, markup=False, emoji=False).print(table)


def _is_of_numbers(cells: Sequence[str]) -> bool:
    return any(cells) and all(_NUMBER.match(cell) for cell in cells if cell)


def _shown(row: Sequence[str], fitting: Sequence[int]) -> list[str]:
    """The cells of a row that are shown; a line between groups as it is."""
    return [""] if list(row) == [""] else [printable(row[index] if index < len(row) else "") for index in fitting]


def _line_widths(cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Letters across of each column where each row is one line of plain letters, no line between groups; else none."""
    plain = all(cell.isascii() and "\n" not in cell for row in cells for cell in row)
    if not plain or any(row == [""] or len(row) != len(cells[0]) for row in cells):
        return []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return widths if sum(widths) + _GAP * (len(widths) - 1) <= width else []


def _fitting(columns: Sequence[str], rows: Sequence[Sequence[str]], least: Sequence[str], width: int) -> Sequence[int]:
    """The columns that fit side by side, words broken at `_BROKEN` letters; the first at least."""
    needs = [_needed([name, *(row[index] for row in rows if len(row) > index)]) for index, name in enumerate(columns)]
    first = [columns.index(name) for name in least if name in columns]
    order = [*first, *(index for index in reversed(range(len(columns))) if index not in first)]
    fitting = list(range(len(columns)))
    while len(fitting) > 1 and sum(needs[index] + _GAP for index in fitting) - _GAP > width:
        fitting.remove(next(index for index in order if index in fitting and index != 0))
    return fitting


def _needed(cells: Sequence[str]) -> int:
    """Letters across that a column needs: all of a title, a number or an interval, `_BROKEN` of words."""
    head, *body = map(printable, cells)
    return max([len(head)] + [len(cell) if _DIGIT.match(cell) else min(_BROKEN, len(cell)) for cell in body])


def write(text: str) -> None:
    """Print a line to standard output."""
    sys.stdout.write(printable(text) + "\n")


def json_line(value: Any, encoding: str | None = "ascii") -> str:
    """JSON in one line that every program can read and every terminal show.

    What JSON has no word for, NaN and the infinities, is null. Where `encoding` (None: utf-8) lacks a character, or one
    could steer the terminal, all but ASCII is escaped.
    """
    value = _finite(value)
    line = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    try:
        line.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        readable = False
    else:
        readable = line.isprintable()
    # DEL is the one control character that JSON leaves as it is in ASCII
    return line if readable else json.dumps(value, allow_nan=False, default=_plain).replace("\x7f", "\\u007f")


def write_json(value: Any) -> None:
    """Print a value as a line of JSON to standard output."""
    sys.stdout.write(json_line(value, sys.stdout.encoding) + "\n")


def _finite(value: Any) -> Any:
    """The value with None for NaN and the infinities."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    """A value that JSON does not know: a numpy number as a number, anything else as text."""
    return _finite(value.item()) if hasattr(value, "item") else str(value)


def number(value: Any) -> str:
    """A number with three decimals; empty where there is none."""
    import pandas as pd

    return "" if pd.isna(value) else f"{value:.3f}"


def records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """The rows of a table as dictionaries for JSON; missing values are None."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
