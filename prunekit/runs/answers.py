"""The answers of `predict` as a file: JSONL, CSV, TSV or Parquet, as its name ends."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prunekit.support import terminal
from prunekit.support.errors import ConfigError

_NAMES = ("index", "answer", "choice", "score")
_WRITTEN = ("index", "answer", "score", "tokens", "ended")
_LABEL = "label"
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_FORMS = ("", ".jsonl", ".ndjson", *_DELIMITERS, ".parquet")


def check_form(path: Path) -> None:
    """Refuse a name that ends in another form; one without an ending is JSONL.

    Raises:
        ConfigError: naming the forms there are.
    """
    if path.suffix.lower() not in _FORMS:
        raise ConfigError(f"--out {path}: answers are written as .jsonl, .csv, .tsv or .parquet; name such a file")


def written(answers: Sequence[Mapping[str, Any]], path: Path) -> bytes:
    """The content of a file of answers, of the form that its name ends in."""
    ending = path.suffix.lower()
    if ending in _DELIMITERS:
        return _as_csv(answers, _DELIMITERS[ending])
    if ending == ".parquet":
        return _as_parquet(answers)
    return "".join(f"{terminal.json_line(answer, 'utf-8')}\n" for answer in answers).encode()


def is_answers(content: bytes) -> bool:
    """Whether it is what `predict` writes: every row with an answer, and nothing else in it."""
    if content.startswith(b"PAR1"):
        return _is_ours(_parquet_names(content))
    try:
        text = content.decode()
        if not text.startswith("{"):
            return any(_is_ours(next(csv.reader([text.partition("\n")[0]], delimiter=mark))) for mark in ",\t")
        return all(isinstance(row, dict) and _is_ours(row) for row in map(json.loads, text.splitlines()))
    except (ValueError, RecursionError, csv.Error, StopIteration):
        return False


def _as_csv(answers: Sequence[Mapping[str, Any]], delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(answers), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(answers)
    return text.getvalue().encode()


def _as_parquet(answers: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: [answer[name] for answer in answers] for name in _columns(answers)})
    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content)
    return content.getvalue()


def _columns(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    return [*answers[0]] if answers else [*_NAMES]


def _parquet_names(content: bytes) -> Sequence[str]:
    import pyarrow.parquet

    try:
        names: list[str] = pyarrow.parquet.read_schema(io.BytesIO(content)).names
    except (OSError, ValueError):  # a damaged file is not ours
        return ()
    return names


def _is_ours(names: Any) -> bool:
    return set(names) - {_LABEL} in (set(_NAMES), set(_WRITTEN))
