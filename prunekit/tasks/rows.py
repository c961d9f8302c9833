"""Rows from JSONL files, each with the name it has in errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunekit.support import reading
from prunekit.support.errors import DataError
from prunekit.tasks import fields

SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Source:
    """The rows of one split.

    Attributes:
        name: the file or Hub split in short, such as "train.jsonl".
        rows: its rows as published.
        locations: what names each row in errors, such as "data/rte/train.jsonl:7".
        commit: of the Hub's repository that it is from, if it is from there.
    """

    name: str
    rows: list[dict[str, Any]]
    locations: list[str]
    commit: str | None = None


def read_folder(folder: Path) -> dict[str, Source]:
    """The splits of a folder of {train,validation,test}.jsonl that are there, by name.

    Raises:
        DataError: when the folder or all of them are missing, or one is empty or malformed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such data folder; it must hold train.jsonl and validation.jsonl or test.jsonl")
    files = {name: folder / f"{name}.jsonl" for name in SPLIT_NAMES}
    present = {name: path for name, path in files.items() if path.exists()}
    if not present:
        raise DataError(f"{folder}: holds none of train.jsonl, validation.jsonl and test.jsonl")
    return {name: read_jsonl(path) for name, path in present.items()}


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
