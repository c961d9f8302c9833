"""Typed reading of a row's fields; whatever is missing or of another type is a DataError naming the row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunekit.errors import DataError, nearest

Row = Mapping[str, Any]


def value(row: Row, name: str, where: str) -> Any:
    """The value of a field that must be there and not null.

    Raises: DataError naming the row, the field and the nearest one present.
    """
    found = row.get(name)
    if found is None:
        present = [key for key, other in row.items() if other is not None]
        raise DataError(f'{where}: no field "{name}"; {nearest(name, present)}')
    return found


def text(row: Row, name: str, where: str) -> str:
    """A field that holds text."""
    found = value(row, name, where)
    if isinstance(found, str):
        return found
    raise DataError(f'{where}: the field "{name}" holds {found!r}, not a text')


def whole(row: Row, name: str, where: str) -> int:
    """A field that holds a whole number."""
    found = value(row, name, where)
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    raise DataError(f'{where}: the field "{name}" holds {found!r}, not a whole number')


def texts(row: Row, name: str, where: str) -> list[str]:
    """A field that holds a list of texts."""
    found = value(row, name, where)
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        return found
    raise DataError(f'{where}: the field "{name}" holds {found!r}, not a list of texts')


def table(row: Row, name: str, where: str) -> Row:
    """A field that holds a table."""
    found = value(row, name, where)
    if isinstance(found, Mapping):
        return found
    raise DataError(f'{where}: the field "{name}" holds {found!r}, not a table')


def tables(row: Row, name: str, where: str) -> list[Row]:
    """A field that holds a list of tables."""
    found = value(row, name, where)
    if isinstance(found, list) and all(isinstance(item, Mapping) for item in found):
        return found
    raise DataError(f'{where}: the field "{name}" holds {found!r}, not a list of tables')
