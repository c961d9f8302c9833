"""ROUGE against figures worked out by hand."""

import sys

import numpy as np
import pytest

from prunekit.support.errors import ConfigError
from prunekit.tasks.text_metrics import TEXT_METRICS
from prunekit.tasks.text_metrics.rouge import Rouge

ANSWER, REFERENCE = "Foxes running by the river", "the fox ran along, running by a river"


@pytest.mark.parametrize(
    ("name", "shared", "units", "reference_units"),
    [
        ("rouge1", 5, 5, 8),  # fox, run, by, the, river
        ("rouge2", 1, 4, 7),  # run by
        ("rougeL", 4, 5, 8),  # fox, run, by, river
    ],
)
def test_f_measures_of_stemmed_words(name, shared, units, reference_units):
    expected = 2 * shared / (units + reference_units)
    assert TEXT_METRICS[name].row(ANSWER, [REFERENCE]) == pytest.approx((expected,))
    assert TEXT_METRICS[name].row(ANSWER, ["owls", REFERENCE, "an owl"]) == pytest.approx((expected,)), "the best"
    assert TEXT_METRICS[name].row("", [REFERENCE]) == (0.0,)


def test_the_metric_is_the_mean_over_rows():
    rows = np.array([TEXT_METRICS["rouge1"].row(answer, ["fox"]) for answer in ("fox", "owl", "a fox")])
    assert TEXT_METRICS["rouge1"].total(rows) == pytest.approx((1 + 0 + 2 / 3) / 3)


def test_a_signature_names_stemmer_and_version():
    assert TEXT_METRICS["rougeL"].signature().startswith("rouge-score|stemmer:porter|version:0.")


def test_a_missing_rouge_score_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(ConfigError, match=r'^the metric "rouge2" needs rouge-score: pip install rouge-score$'):
        Rouge("rouge2").row("a", ["a"])
