"""Label words: read from a file beside the data, or made of the labels themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from prunekit.support import reading
from prunekit.support.errors import DataError
from prunekit.tasks import fields

_SHORT = 3  # characters of an abbreviation, which keeps its capitals


def words_of(labels: Sequence[str]) -> dict[str, str]:
    """Label -> the word that answers: the label as one would write it, or as it stands where two would be alike.

    Underscores become blanks ("not_entailment" -> "not entailment"), words in capitals alone small letters.
    """
    words = [_plain(label) for label in labels]
    distinct = len({word.casefold() for word in words}) == len(words)
    return dict(zip(labels, words if distinct and all(words) else labels, strict=True))


def read_words(path: Path) -> dict[str, str]:
    """Label -> word, in the order of a JSON file.

    Raises:
        DataError: where it is no such table.
    """
    try:
        words = fields.parse(reading.content(path, reading.JSON).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {reading.reason(error)}") from error
    table = isinstance(words, dict) and all(isinstance(word, str) and word.strip() for word in words.values())
    if not table or len(words) < 2 or len(set(words.values())) < len(words):
        raise DataError(f'{path}: must map at least two labels to different words, such as {{"0": "no", "1": "yes"}}')
    return dict(words)


def _plain(label: str) -> str:
    text = " ".join(re.sub(r"_+", " ", label).split())
    return text.lower() if text.isupper() and len(text) > _SHORT else text
