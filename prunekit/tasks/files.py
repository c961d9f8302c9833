"""Rows of one file, whose form is what its name ends in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from prunekit.support import reading
from prunekit.support.errors import DataError
from prunekit.tasks import fields
from prunekit.tasks.convert import conversion, not_utf8
from prunekit.tasks.csv_file import read_csv
from prunekit.tasks.rows import Source, of_dataset, read_jsonl


def read_file(path: Path) -> Source:
    """The rows of a CSV, TSV, Parquet, JSON or JSONL file.

    Raises:
        DataError: naming the file and line or row; of another form, how to convert it.
    """
    match path.suffix.lower():
        case ".csv" | ".tsv":
            return read_csv(path)
        case ".parquet":
            return read_parquet(path)
        case ".json":
            return read_json(path)
        case ".jsonl" | ".ndjson":
            return read_jsonl(path)
    raise DataError(f"{path}: {conversion(path)}")


def read_parquet(path: Path) -> Source:
    """The rows of a Parquet file, with the class names that `datasets` wrote into it; nothing is cached.

    Raises:
        DataError: where it cannot be read.
    """
    import datasets
    import pyarrow.parquet

    content = _content(path)
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        dataset = datasets.Dataset(datasets.table.InMemoryTable(table))
    except Exception as error:  # pyarrow and datasets raise some ten kinds
        raise DataError(f"{path}: cannot be read as Parquet: {reading.reason(error)}") from error
    return of_dataset(dataset, path.name, str(path))


def read_json(path: Path) -> Source:
    """The rows of a JSON file: a list of objects; a file of an object a line is read as JSONL.

    Raises:
        DataError: where it cannot be read.
    """
    content = _content(path).removeprefix(b"\xef\xbb\xbf")
    try:
        value = fields.parse(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(not_utf8(path, content, error.start)) from error
    except (ValueError, RecursionError) as error:
        if content.lstrip().startswith(b"{"):
            return read_jsonl(path)
        raise DataError(f"{path}: cannot be read as JSON: {reading.reason(error)}") from error
    return _of_list(path, value)


def _of_list(path: Path, value: Any) -> Source:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise DataError(
            f'{path}: must hold a list of objects, such as [{{"text": "...", "label": 1}}]; from pandas: '
            f'table.to_json("{path.name}", orient="records")'
        )
    if not any(value):
        raise DataError(f"{path}: holds no rows")
    return Source(path.name, value, [f"{path} row {number}" for number in range(len(value))])


def _content(path: Path) -> bytes:
    try:
        return reading.content(path, reading.DATA)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reading.reason(error)}") from error
