"""The number that a text comes to, against a reader that goes letter by letter (`make_pairs.py`)."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from prunekit.support.errors import DataError
from prunekit.tasks.text_metrics import TEXT_METRICS
from prunekit.tasks.text_metrics.number import number_in

PAIRS = [json.loads(line) for line in Path(__file__).with_name("number_pairs.jsonl").read_text("utf-8").splitlines()]


def test_every_text_comes_to_the_number_that_another_reader_finds():
    values = [number_in(pair["text"]) for pair in PAIRS]
    assert len(values) == 500
    assert [None if value is None else Fraction(value) for value in values] == [
        None if pair["number"] is None else Fraction(pair["number"]) for pair in PAIRS
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Half of 48 is 24, so 48 + 24 = 72 clips.\n#### 72", "72"),
        ("The answer is $1,234.50. Next question: 9 and 8?", "1234.50"),
        ("5 dozen make 60, not 59", "59"),
        ("it fell by -7", "-7"),
        ("from 10-3", "3"),
        ("#### none of 3 or 4", "3"),
        ("CO2", None),
        ("", None),
    ],
)
def test_a_number_is_that_behind_a_marker_or_the_last(text, number):
    assert number_in(text) == (None if number is None else Decimal(number))


def test_answers_are_compared_as_numbers():
    metric = TEXT_METRICS["number"]
    assert metric.row("It costs $1,200.00", ["so 3 x 400\n#### 1200"]) == (1.0,)
    assert metric.row("-7", ["7"]) == metric.row("no idea", ["7"]) == (0.0,)
    assert metric.row("7", ["8", "7.0"]) == (1.0,)


def test_a_reference_without_a_number_is_refused():
    with pytest.raises(DataError, match=r'^the metric "number" needs a number in the reference, not \'seven\'$'):
        TEXT_METRICS["number"].row("7", ["seven"])
