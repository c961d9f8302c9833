"""Several names in one text, as flags take them: parted by commas, and in quotes where they hold commas themselves."""

from __future__ import annotations

import csv
from collections.abc import Iterable

_QUOTE = '"'


def parted(text: str) -> list[str]:
    """The names in a text such as `premise, hypothesis` or `"review, long"`; blanks around them do not count."""
    if _QUOTE not in text:
        return [name.strip() for name in text.split(",")]
    return next(csv.reader([text], skipinitialspace=True), [])


def joined(names: Iterable[object]) -> str:
    """The text that is parted into these names."""
    return ",".join(map(_quoted, map(str, names)))


def _quoted(name: str) -> str:
    if name == name.strip() and "," not in name and _QUOTE not in name:
        return name
    return _QUOTE + name.replace(_QUOTE, _QUOTE * 2) + _QUOTE
