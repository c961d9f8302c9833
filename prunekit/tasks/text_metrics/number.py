"""The number that an answer comes to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from prunekit.support.errors import DataError
from prunekit.tasks.text_metrics.base import TextMetric

_MARKER = re.compile(r"####|\banswer is\b|\banswer:", re.IGNORECASE | re.ASCII)
# a sign is not one behind a letter, a digit or a bracket (10-3, covid-19), and no number begins there (CO2)
_NUMBER = re.compile(
    r"(?<![\w)])(?P<sign>[-\u2212]?)[$€£¥]?(?P<inner_sign>[-\u2212]?)"
    r"(?P<digits>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)",
    re.ASCII,
)


class Number(TextMetric):
    """Whether the answer comes to the same number as a reference, as GSM8K is judged (Cobbe et al. 2021).

    A text comes to the first number behind its first marker (`####`, "answer is", "answer:", in any case), or, where
    no number follows one, to its last number. Commas between thousands, currency signs and what follows (units, %)
    do not count; 7, 7.0 and 7.00 are equal. Points are decimal points; 3/4 is two numbers.
    """

    name = "number"

    def row(self, answer: str, references: Sequence[str]) -> tuple[float]:
        """1 or 0.

        Raises:
            DataError: where no reference holds a number.
        """
        right = {number for number in map(number_in, references) if number is not None}
        if not right:
            raise DataError(f'the metric "number" needs a number in the reference, not {references[0]!r}')
        return (float(number_in(answer) in right),)


def number_in(text: str) -> Decimal | None:
    """The number that a text comes to; None where it holds none."""
    marker = _MARKER.search(text)
    match = marker and _NUMBER.search(text, marker.end())
    if match:
        return _value(match)
    numbers = list(_NUMBER.finditer(text))
    return _value(numbers[-1]) if numbers else None


def _value(match: re.Match[str]) -> Decimal:
    value = Decimal(match["digits"].replace(",", ""))
    return value.copy_negate() if match["sign"] or match["inner_sign"] else value
