"""Rows, each with the name it has in errors, from JSONL files; `files` reads other forms, `hub` the Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prunekit.support import reading
from prunekit.support.errors import DataError, nearest
from prunekit.tasks import fields

SPLIT_NAMES = ("train", "validation", "test")
# other names that data sets have for a split
_ALIASES = {"dev": "validation", "val": "validation", "valid": "validation"}
# columns that an error lists
_MOST_COLUMNS, _MOST_CHARACTERS = 12, 30


@dataclass(frozen=True)
class Source:
    """The rows of one split.

    Attributes:
        name: the file or Hub split in short, such as "train.jsonl".
        rows: its rows as published.
        locations: what names each row in errors, such as "data/rte/train.jsonl:7".
        class_names: of a column of class numbers as `datasets` has it, the name of each class.
        commit: of the Hub's repository that it is from, if it is from there.
    """

    name: str
    rows: list[dict[str, Any]]
    locations: list[str]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    commit: str | None = None

    @property
    def columns(self) -> list[str]:
        """The names of all fields of its rows, in order of first use."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def renamed(self, columns: Mapping[str, str], needed: Sequence[str]) -> Source:
        """The rows with columns under the names of fields.

        Args:
            columns: column -> field.
            needed: columns that must be there.

        Raises:
            DataError: naming the nearest column.
        """
        if not columns:
            return self
        for column in needed:
            if not any(column in row for row in self.rows):
                raise DataError(f'{self.name}: no column "{column}"; {near_column(column, self.columns)}')
        rows = [row | {new: row[old] for old, new in columns.items() if old in row} for row in self.rows]
        names = {columns.get(column, column): names for column, names in self.class_names.items()}
        return replace(self, rows=rows, class_names=names)

    def with_class_names(self, column: str, labels: Sequence[str]) -> Source:
        """The rows with the names of classes for their numbers, where the labels of a task are those names."""
        names = self.class_names.get(column, ())
        if not names or not set(labels) <= set(names):
            return self
        rows = [row | {column: _class_name(row.get(column), names)} for row in self.rows]
        return replace(self, rows=rows)


def near_column(column: str, columns: Sequence[str]) -> str:
    """A hint such as `did you mean "sst2"?`, or the first of the columns that are there, in few characters."""
    short = [name[:_MOST_CHARACTERS] for name in columns]
    more = f" and {len(short) - _MOST_COLUMNS} more" if len(short) > _MOST_COLUMNS else ""
    return nearest(column, short[:_MOST_COLUMNS]) + more


def split_of(name: str) -> str | None:
    """Which of the three splits a data set's name for one means: "dev", "val" and "valid" are validation."""
    split = _ALIASES.get(name, name)
    return split if split in SPLIT_NAMES else None


def by_split(names: Sequence[str], where: str) -> dict[str, str]:
    """Split -> the name that a data set has for it, in the order of SPLIT_NAMES; other names are left out.

    Raises:
        DataError: where two names mean the same split.
    """
    splits: dict[str, str] = {}
    for name in names:
        split = split_of(name)
        if split in splits:
            raise DataError(f'{where}: "{splits[split]}" and "{name}" both mean {split}; leave one of them out')
        if split is not None:
            splits[split] = name
    return {split: splits[split] for split in SPLIT_NAMES if split in splits}


def of_dataset(dataset: Any, name: str, where: str) -> Source:
    """The rows of a `datasets.Dataset`, with the names of its classes.

    Raises:
        DataError: where it has none.
    """
    import datasets

    rows = dataset.to_list()
    if not rows:
        raise DataError(f"{name}: holds no rows")
    kinds = dataset.features.items()
    classes = {column: tuple(kind.names) for column, kind in kinds if isinstance(kind, datasets.ClassLabel)}
    return Source(name, rows, [f"{where} row {number}" for number in range(len(rows))], classes)


def of_cells(names: Sequence[str], cells: Sequence[Any]) -> dict[str, Any]:
    """A row of its cells; a name that is there twice holds `Twice` where its cells differ."""
    if len(set(names)) == len(names):
        return dict(zip(names, cells, strict=True))
    return fields.without_repeats(list(zip(names, cells, strict=True)))


def read_jsonl(path: Path) -> Source:
    """The rows of a JSONL file; blank lines are skipped.

    Every row keeps its own form, and only what a task reads of it is looked at: `datasets` would guess types (a text
    such as "2019-01-01" becomes a date, 7 beside 7.5 becomes 7.0), and stop at fields that nobody reads.

    Raises:
        DataError: naming the file, and the line where one is malformed.
    """
    try:
        lines = reading.content(path, reading.DATA).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {reading.reason(error)}") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise DataError(f"{path}: holds no rows")
    locations = [f"{path}:{number}" for number, _ in numbered]
    rows = [_parse(line, location) for (_, line), location in zip(numbered, locations, strict=True)]
    if not any(rows):
        raise DataError(f"{path}: its rows have no fields")
    return Source(path.name, rows, locations)


def _class_name(value: Any, names: Sequence[str]) -> Any:
    """The name of a class number; what is none, such as the -1 of a hidden label, stays."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    is_number = isinstance(number, int) and not isinstance(number, bool)
    return names[number] if is_number and 0 <= number < len(names) else value


def _parse(line: bytes, location: str) -> dict[str, Any]:
    try:
        row = fields.parse(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{location}: not a line of JSON: {error}; save the file as UTF-8") from error
    except ValueError as error:
        raise DataError(f"{location}: not a line of JSON: {error}") from error
    except RecursionError as error:
        raise DataError(f"{location}: not a line of JSON that can be read: it is nested too deeply") from error
    if not isinstance(row, dict):
        raise DataError(f"{location}: a row must be a JSON object, not {str(row)[:40]!r}")
    return row
