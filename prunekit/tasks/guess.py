"""Which columns of data probably hold the text and the label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

from prunekit.support.errors import DataError
from prunekit.tasks.columns import Columns
from prunekit.tasks.labels import infer_labels
from prunekit.tasks.rows import Source

_LABELS = ("label", "labels", "class", "target", "category", "sentiment", "stars", "rating", "answer", "intent", "y")
_TEXTS = ("text", "sentence", "review", "content", "message", "comment", "body", "tweet", "document", "question")
_PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("question", "passage"))
_ROWS = 1_000  # that are looked at
_MOST_LABELS = 20  # that a column without a telling name may hold


def guess_columns(sources: Mapping[str, Source], columns: Columns) -> Columns:
    """The columns, with a guess by name and content for those that are not named; empty or None where none will do.

    Args:
        sources: the splits by name.
        columns: what is named already.
    """
    source = next(iter(sources.values()))
    if columns.target:
        return replace(columns, text=columns.text or _text(source, columns.target))
    label = columns.label or _label(sources, source, columns.text)
    return replace(columns, text=columns.text or _text(source, label), label=label)


def _label(sources: Mapping[str, Source], source: Source, text: tuple[str, ...]) -> str | None:
    candidates = [column for column in source.columns if column not in text and column]
    labels = {column: count for column in candidates if (count := _count(sources, column))}
    named = [name for name in _LABELS for column in labels if column.lower() == name]
    if named:
        return next(column for column in labels if column.lower() == named[0])
    few = [column for column, count in labels.items() if count <= _MOST_LABELS]
    return few[-1] if few else None


def _count(sources: Mapping[str, Source], column: str) -> int:
    """How many labels a column holds; 0 where it holds none."""
    try:
        return len(infer_labels(sources, column))
    except DataError:
        return 0


def _text(source: Source, label: str | None) -> tuple[str, ...]:
    lengths = {column: _length(source, column) for column in source.columns if column and column != label}
    texts = {column: length for column, length in lengths.items() if length}
    for pair in _PAIRS:
        if set(pair) <= texts.keys():
            return pair
    named = [column for name in _TEXTS for column in texts if column.lower() == name]
    return tuple(named[:1]) or ((max(texts, key=lambda column: texts[column]),) if texts else ())


def _length(source: Source, column: str) -> float:
    """Mean characters of a column of texts; 0 of any other."""
    values = [row.get(column) for row in source.rows[:_ROWS]]
    texts = [value for value in values if isinstance(value, str)]
    return fmean(map(len, texts)) if 2 * len(texts) > len(values) else 0.0
