"""The splits of a folder: a file for each, in shards or whole, or what `save_to_disk` of `datasets` wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunekit.support import reading
from prunekit.support.errors import DataError
from prunekit.tasks.convert import READ, conversion, is_data_file
from prunekit.tasks.files import read_file
from prunekit.tasks.rows import SPLIT_NAMES, Source, by_split, of_dataset, split_of

_SHARD = re.compile(r"(?P<split>.+)-\d+-of-\d+")
# what `save_to_disk` writes beside the rows: of one data set, and of one with splits
_SAVED = ("state.json", "dataset_dict.json")
_EXPECTED = "train, validation and test with an ending such as .csv, .jsonl or .parquet"


def read_folder(folder: Path) -> dict[str, Source]:
    """The splits of a folder that are there, by name.

    Raises:
        DataError: when the folder or all of them are missing, or one is empty or malformed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such data folder; it must hold {_EXPECTED}")
    if any((folder / name).is_file() for name in _SAVED):
        return read_saved(folder)
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        split = split_of(_split_name(path))
        if split is not None and is_data_file(path.name):
            files.setdefault(split, []).append(path)
    if not files:
        raise DataError(f"{folder}: holds none of {_EXPECTED}{_hint(folder)}")
    return {split: _joined(split, files[split]) for split in SPLIT_NAMES if split in files}


def read_saved(folder: Path) -> dict[str, Source]:
    """The splits of a folder that `save_to_disk` wrote; a data set without splits is train.

    Raises:
        DataError: where it cannot be read.
    """
    import datasets

    odd = next((path for path in folder.rglob("*") if not path.is_dir() and not path.is_file()), None)
    if odd is not None:  # a pipe would make the reader wait for ever
        raise DataError(f"{odd}: not a regular file, so the folder is not read; leave it out")
    try:
        dataset = datasets.load_from_disk(str(folder))
    except Exception as error:  # pyarrow and datasets raise some ten kinds
        raise DataError(f"{folder}: cannot be read by datasets.load_from_disk: {reading.reason(error)}") from error
    return of_any_dataset(dataset, folder.name, str(folder))


def of_any_dataset(dataset: Any, name: str, where: str) -> dict[str, Source]:
    """The splits of a `DatasetDict`, or a `Dataset` as train.

    Raises:
        DataError: where there are no rows, or none of the three splits.
    """
    if not isinstance(dataset, dict):
        return {"train": of_dataset(dataset, name, where)}
    splits = by_split(list(dataset), where)
    if not splits:
        raise DataError(f"{where}: has none of the splits train, validation and test, but {', '.join(dataset)}")
    return {
        split: of_dataset(dataset[original], f"{name} {original}", f"{where} {original}")
        for split, original in splits.items()
    }


def _split_name(path: Path) -> str:
    shard = _SHARD.fullmatch(path.stem)
    return shard["split"] if shard else path.stem


def _joined(split: str, paths: Sequence[Path]) -> Source:
    """The rows of a split's file, or of all its shards."""
    if len(paths) > 1 and not all(_SHARD.fullmatch(path.stem) for path in paths):
        names = ", ".join(path.name for path in paths)
        raise DataError(f"{paths[0].parent}: has several files for {split}: {names}; leave one of them, or name a file")
    sources = [read_file(path) for path in paths]
    name = paths[0].name if len(paths) == 1 else f"{len(paths)} files of {split}"
    rows = [row for source in sources for row in source.rows]
    locations = [location for source in sources for location in source.locations]
    return Source(name, rows, locations, sources[0].class_names)


def _hint(folder: Path) -> str:
    """What lies there instead, where it can be named or converted."""
    files = [path for path in sorted(folder.iterdir()) if is_data_file(path.name)]
    if not files:
        return ""
    first = files[0]
    return (
        f"; name the file itself: {first}" if first.suffix.lower() in READ else f"; {first.name}: {conversion(first)}"
    )
