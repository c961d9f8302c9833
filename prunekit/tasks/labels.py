"""The labels of a column of the user's own data: whole numbers, words, truths; what is no label is refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prunekit.support.errors import DataError
from prunekit.tasks.rows import Source

#: Different labels that a task may have.
MOST_LABELS = 256
# so many different numbers are one scale, not the names of classes
_MOST_NUMBERS = 50
# the same where any of them has digits behind its point
_MOST_FRACTIONS = 20
_GIVE = '--label-words, such as "0=bad,1=good"'
_TRUTHS = ("false", "true")
_MISSING = ("", "nan")


def infer_labels(sources: Mapping[str, Source], field: str, column: str = "") -> tuple[str, ...]:
    """The different labels of a field: class names in their order, numbers by size, words by the alphabet.

    A whole number with a point (1.0) is the number; "True" and "FALSE" are truths. Missing labels (empty, NaN) do not
    count, nor a split whose labels are all -1, as where they are hidden.

    Args:
        sources: the splits by name.
        field: the name of the field that holds the label.
        column: what the data calls it, where that is another name.

    Raises:
        DataError: where they are no labels of a classification, with the reason and what to do.
    """
    names = next((source.class_names[field] for source in sources.values() if field in source.class_names), None)
    if names is not None:
        return names
    where = f'the label column "{column or field}"'
    values: list[str | float | bool] = []
    for source in sources.values():
        present = [label for row in source.rows if (label := _plain(row.get(field), where)) is not None]
        values += present if any(_number(label) != -1 for label in present) else []
    if not values:
        raise DataError(f"{where} holds no labels: all are missing or -1")
    labels = _distinct(values, where)
    if len(labels) < 2:
        raise DataError(f"{where} holds {labels[0]!r} in every row; at least two different labels are needed")
    return labels


def _plain(value: Any, where: str) -> str | float | bool | None:
    """A label without blanks at its ends; None for one that is missing."""
    if isinstance(value, str):
        return None if (text := value.strip()).lower() in _MISSING else text
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
        raise DataError(f"{where} holds {str(value)[:40]!r}; a label must be a word, a number, or true or false")
    raise DataError(_several(where))


def _several(where: str) -> str:
    return (
        f"{where} holds lists: several labels a row (multi-label classification) are not supported; write a column of "
        "true and false for each label, and train one task for each"
    )


def _distinct(values: Sequence[str | float | bool], where: str) -> tuple[str, ...]:
    texts = {str(value) for value in values}
    if {text.lower() for text in texts} <= set(_TRUTHS):
        return tuple(truth for truth in _TRUTHS if truth in {text.lower() for text in texts})
    numbers = {text: _number(text) for text in texts}
    if None not in numbers.values():
        return _numbers(sorted({number for number in numbers.values() if number is not None}), len(values), where)
    words = sorted(text for text, number in numbers.items() if number is None)
    if len(words) < len(texts):
        raise DataError(
            f"{where} holds words ({words[0]!r}) and numbers; give every label a word by {_GIVE}, or leave out the "
            "rows of one kind"
        )
    return _words(words, len(values), where)


def _numbers(numbers: Sequence[float], rows: int, where: str) -> tuple[str, ...]:
    whole = all(number.is_integer() for number in numbers)
    most = _MOST_NUMBERS if whole else _MOST_FRACTIONS
    if len(numbers) > min(most, max(2, rows // 2)):
        raise DataError(
            f"{where} holds {len(numbers)} different numbers in {rows} rows: predicting a number (regression) is not "
            "supported; write classes, such as low, middle and high, into a column of their own"
        )
    return tuple(str(int(number)) if number.is_integer() else str(number) for number in numbers)


def _words(words: Sequence[str], rows: int, where: str) -> tuple[str, ...]:
    if any(word.startswith("[") and word.endswith("]") for word in words):  # as a CSV file has them
        raise DataError(_several(where))
    if len(words) > min(MOST_LABELS, max(2, rows // 2)):
        raise DataError(
            f"{where} holds {len(words)} different texts in {rows} rows: they look like free text, and labels are at "
            f"most {MOST_LABELS}, on two rows each; name the column of the labels by --label, or join rare ones, or "
            "have them written, by --target"
        )
    alike: dict[str, str] = {}
    for word in words:
        other = alike.setdefault(" ".join(word.casefold().split()), word)
        if other != word:
            raise DataError(
                f"{where} holds {other!r} and {word!r}, which differ in capitals or blanks alone; write them alike, "
                f"or give each a word by {_GIVE}"
            )
    return tuple(words)


def _number(value: str | float | bool) -> float | None:
    """The finite number that a label is or is written like; a number with zeros before it is a word."""
    text = str(value)
    digits = text.lstrip("+-")
    if isinstance(value, bool) or (digits[:1] == "0" and digits[1:2].isdigit()):
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
