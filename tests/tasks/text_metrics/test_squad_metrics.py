"""SQuAD's two metrics against its official script, and what normalising does to an answer."""

import json
from pathlib import Path

import pytest

from prunekit.tasks.text_metrics import TEXT_METRICS
from prunekit.tasks.text_metrics.words import normalised, overlap

PAIRS = [json.loads(line) for line in Path(__file__).with_name("squad_pairs.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(("name", "official"), [("squad_f1", "f1"), ("squad_exact_match", "exact_match")])
def test_every_row_equals_the_official_script_to_the_last_digit(name, official):
    rows = [TEXT_METRICS[name].row(pair["answer"], pair["references"]) for pair in PAIRS]
    assert len(rows) == 500
    assert rows == [(pair[official],) for pair in PAIRS]
    assert {0.0, 1.0} <= {value for (value,) in rows}


def test_an_answer_without_words_matches_another_without_words_but_has_no_f1():
    """As the official script has it."""
    assert TEXT_METRICS["squad_exact_match"].row("The!", ["a"]) == (1.0,)
    assert TEXT_METRICS["squad_f1"].row("The!", ["a"]) == (0.0,)


def test_normalised_follows_squad():
    assert normalised("  The U.S.  Army, an army ") == "us army army"
    assert normalised("Theodore") == "theodore"
    assert normalised("the-a “Zürich”") == "thea “zürich”", "only ASCII's punctuation goes, and before articles do"


def test_a_word_counts_as_often_as_both_texts_have_it():
    assert overlap("red red red fox", "red red owl") == (2, 4, 3)
