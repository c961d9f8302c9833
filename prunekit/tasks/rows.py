"""Rows from JSONL files or the Hub, each with the name it has in errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunekit.support import reading
from prunekit.support.errors import DataError
from prunekit.tasks import fields
from prunekit.tasks.task import Hub

SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Source:
    """The rows of one split.

    Attributes:
        name: the file or Hub split in short, such as "train.jsonl".
        rows: its rows as published.
        locations: what names each row in errors, such as "data/rte/train.jsonl:7".
    """

    name: str
    rows: list[dict[str, Any]]
    locations: list[str]


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


def read_hub(hub: Hub, revision: str | None) -> dict[str, Source]:
    """The splits of a Hub data set that are there, by name.

    Raises:
        DataError: in one line naming what to download.
    """
    import datasets

    source = (
        f'"{hub.path}"' + (f', "{hub.name}"' if hub.name else "") + (f', revision="{revision}"' if revision else "")
    )
    try:
        splits = datasets.load_dataset(hub.path, hub.name, revision=revision)
    except Exception as error:  # datasets and the Hub client raise some ten kinds: offline, missing, renamed, gated
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"cannot load the Hub data set {source}: {reason.rstrip('.')}; download it once with a network "
            f"(datasets.load_dataset({source})) or name a local folder with --data"
        ) from error
    present = [name for name in SPLIT_NAMES if name in splits]
    if not present:
        raise DataError(f"the Hub data set {source} has none of the splits train, validation and test")
    return {name: _hub_source(hub, name, splits[name]) for name in present}


def _hub_source(hub: Hub, split: str, dataset: Any) -> Source:
    columns = {old: new for old, new in hub.rename.items() if old in dataset.column_names}
    rows = dataset.rename_columns(columns).to_list()
    name = f"{hub.path}{f' {hub.name}' if hub.name else ''} {split}"
    if not rows:
        raise DataError(f"{name}: holds no rows")
    return Source(name, rows, [f"{name} row {number}" for number in range(len(rows))])


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
