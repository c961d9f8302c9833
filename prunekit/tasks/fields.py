"""Typed reading of a row's fields; whatever is missing or of another type is a DataError naming the row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from prunekit.support.errors import DataError, nearest

Row = Mapping[str, Any]

# more digits than any number that is meant; Python refuses to read a few thousand of them
_DIGITS = 1_000
_KINDS = ((bool, "true or false"), ((int, float), "a number"), (str, "a text"), (list, "a list"), (Mapping, "a table"))


class Twice:
    """Stands for the value of a field that a row names twice, with different values."""

    def __repr__(self) -> str:
        return "two values"


def parse(text: str) -> Any:
    """What a JSON text holds. What cannot be used is left in place, as `Twice` or inf, since it may not be needed.

    Raises:
        ValueError: or RecursionError where it is nested too deeply.
    """
    return json.loads(
        text,
        object_pairs_hook=without_repeats,
        parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS else math.inf,
    )


def check_alike(rows: Iterable[Row], locations: Iterable[str], names: Iterable[str]) -> None:
    """Refuse a field that holds a text in one row and a number, say, in another; what is missing is left out.

    Raises:
        DataError: naming the first row that is unlike those before it.
    """
    names = tuple(names)
    first: dict[str, tuple[str, str]] = {}
    for row, here in zip(rows, locations, strict=True):
        for name in names:
            kind = _kind(row.get(name))
            if kind is None:
                continue
            first_kind, location = first.setdefault(name, (kind, here))
            if kind != first_kind:
                raise DataError(
                    f'{here}: the field "{name}" must hold values of one type: {kind} here, {first_kind} in {location}'
                )


def _kind(value: Any) -> str | None:
    """What kind of value it is in words; None for one that is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return next((kind for types, kind in _KINDS if isinstance(value, types)), None)


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A row of names and values, `Twice` for a name with two different values."""
    table: dict[str, Any] = {}
    for name, value in pairs:
        table[name] = Twice() if name in table and table[name] != value else value
    return table


def optional_value(row: Row, name: str, where: str) -> Any:
    """The value of a field, None where it is missing, null, or what pandas writes for a missing value: NaN.

    Raises:
        DataError: where the row names the field twice.
    """
    content = row.get(name)
    if isinstance(content, Twice):
        raise DataError(f'{where}: the field "{name}" is there twice, with different values; leave one of them out')
    return None if isinstance(content, float) and math.isnan(content) else content


def value(row: Row, name: str, where: str) -> Any:
    """The value of a field that must be there and not null.

    Raises:
        DataError: naming the row, the field and the nearest one present.
    """
    content = optional_value(row, name, where)
    if content is None and row.get(name) is not None:
        raise DataError(
            f'{where}: the field "{name}" holds NaN, which pandas writes where a value is missing; '
            "leave such rows out (dropna) or give them a value"
        )
    if content is None and name in row:
        raise DataError(f'{where}: the field "{name}" is empty; fill it, or leave such rows out')
    if content is None:
        present = [key for key, other in row.items() if other is not None]
        raise DataError(f'{where}: no field "{name}"; {nearest(name, present)}')
    return content


def text(row: Row, name: str, where: str) -> str:
    """A field that holds text."""
    content = value(row, name, where)
    if isinstance(content, str):
        return _encodable(content, name, where)
    raise DataError(f'{where}: the field "{name}" holds {content!r}, not a text')


def written(row: Row, name: str, where: str) -> str:
    """A field that holds a text, or a number, which is written out."""
    content = value(row, name, where)
    if isinstance(content, bool) or not isinstance(content, int | float):
        return text(row, name, where)
    if not math.isfinite(content):
        raise DataError(
            f'{where}: the field "{name}" holds {content}, an infinite number or one too large to read; '
            "give it as a text"
        )
    return str(content)


def _encodable(text: str, name: str, where: str) -> str:
    """The text itself; refused where it cannot be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f'{where}: the field "{name}" holds half a character (a lone surrogate, {text[error.start]!r}) at '
            f"character {error.start + 1}; write whole characters, or leave it out"
        ) from error
    return text


def whole(row: Row, name: str, where: str) -> int:
    """A field that holds a whole number."""
    content = value(row, name, where)
    if isinstance(content, int) and not isinstance(content, bool):
        return content
    raise DataError(f'{where}: the field "{name}" holds {content!r}, not a whole number')


def texts(row: Row, name: str, where: str) -> list[str]:
    """A field that holds a list of texts."""
    content = value(row, name, where)
    if isinstance(content, list) and all(isinstance(entry, str) for entry in content):
        return [_encodable(entry, name, where) for entry in content]
    raise DataError(f'{where}: the field "{name}" holds {content!r}, not a list of texts')


def table(row: Row, name: str, where: str) -> Row:
    """A field that holds a table."""
    content = value(row, name, where)
    if isinstance(content, Mapping):
        return content
    raise DataError(f'{where}: the field "{name}" holds {content!r}, not a table')


def tables(row: Row, name: str, where: str) -> list[Row]:
    """A field that holds a list of tables."""
    content = value(row, name, where)
    if isinstance(content, list) and all(isinstance(entry, Mapping) for entry in content):
        return content
    raise DataError(f'{where}: the field "{name}" holds {content!r}, not a list of tables')
