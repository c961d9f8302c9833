"""Rows of a CSV or TSV file: every cell stays the text it is, and an empty one is missing."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prunekit.support import reading
from prunekit.support.errors import DataError
from prunekit.tasks.convert import not_utf8
from prunekit.tasks.rows import Source, of_cells

_TAB = "\t"
# in files called .csv; which one is seen in the header
_DELIMITERS = (",", ";", _TAB)


def read_csv(path: Path) -> Source:
    """The rows below the header, whose names lose blanks at their ends; rows of empty cells alone are skipped.

    No type is guessed: "007" stays "007", "2019-01-01" a text. Cells may hold newlines; a file called .csv may have
    semicolons or tabs between its cells, as spreadsheets write it in some languages.

    Raises:
        DataError: naming the file, and the line where one is malformed.
    """
    text = _decoded(path)
    header, *records = _records(path, text, _delimiter(path, text)) or [(0, [])]
    names = [name.strip() for name in header[1]]
    if not any(names):
        raise DataError(f"{path}: holds no header; its first line must name the columns, such as text,label")
    rows, locations = [], []
    for line, cells in records:
        if len(cells) != len(names):
            raise DataError(
                f"{path}:{line}: {len(cells)} cells, and {len(names)} in the header; a cell that holds the mark "
                "between cells must stand in double quotes"
            )
        rows.append(of_cells(names, [cell or None for cell in cells]))
        locations.append(f"{path}:{line}")
    if not rows:
        raise DataError(f"{path}: holds no rows below its header")
    return Source(path.name, rows, locations)


def _decoded(path: Path) -> str:
    try:
        content = reading.content(path, reading.DATA)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reading.reason(error)}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(not_utf8(path, content, error.start)) from error
    if "\0" in text:
        raise DataError(f"{path}: holds zero bytes, so it is no text; save it as CSV in UTF-8")
    return text


def _delimiter(path: Path, text: str) -> str:
    """What stands between cells: a tab in .tsv; else the first of some marks that gives the header two names."""
    if path.suffix.lower() == ".tsv":
        return _TAB
    first = text.lstrip("\r\n").splitlines()[:1]
    return next((mark for mark in _DELIMITERS if len(next(csv.reader(first, delimiter=mark), [])) > 1), ",")


def _records(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The first line of every record that is not empty, and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records, line = [], 1
    try:
        with _cells_of_any_length():
            for cells in reader:
                if any(cells):
                    records.append((line, cells))
                line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{line}: not a row of CSV: {error}; a cell that holds a double quote must stand in double quotes, "
            'its own written twice, such as "a ""b"" c"'
        ) from error
    return records


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
