"""Tasks of the literature, read from rows in the form in which their data is published."""

import pytest

from prunekit.tasks import load_task

CHOICES = [
    (
        "winogrande",
        {"sentence": "Ann thanked Eve since _ had helped.", "option1": "Ann", "option2": "Eve", "answer": "2"},
        "winogrande sentence: Ann thanked Eve since _ had helped. option1: Ann option2: Eve the gap is:",
        "Eve",
    ),
    ("yelp_polarity", {"text": "Good soup.", "label": 1}, "yelp_polarity review: Good soup. sentiment:", "positive"),
    (
        "scitail",
        {"premise": "Ice melts.", "hypothesis": "Ice is hot.", "label": "neutral"},
        "scitail premise: Ice melts. hypothesis: Ice is hot. answer:",
        "no",
    ),
    (
        "paws",
        {"id": 1, "sentence1": "A beats B.", "sentence2": "B beats A.", "label": 0},
        "paws sentence1: A beats B. sentence2: B beats A. same:",
        "no",
    ),
]


@pytest.mark.parametrize(("name", "row", "text", "answer"), CHOICES, ids=[name for name, *_ in CHOICES])
def test_a_row_becomes_a_text_and_its_right_answer(name, row, text, answer):
    task = load_task(name)
    (example,) = task.examples(row, 0)
    assert example.text == text
    assert [example.choices[gold] for gold in example.gold] == [answer]
    assert task.instruction


def test_winogrande_shows_both_options():
    (example,) = load_task("winogrande").examples(CHOICES[0][1], 0)
    assert example.choices == ("Ann", "Eve")
    assert example.text.count("Ann") == example.text.count("Eve") == 2
