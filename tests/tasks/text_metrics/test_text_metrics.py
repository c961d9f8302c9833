"""The list of text metrics."""

import numpy as np
import pytest

from prunekit.tasks.text_metrics import TEXT_METRICS

NAMES = ["squad_f1", "squad_exact_match", "exact_string", "number", "bleu", "chrf", "rouge1", "rouge2", "rougeL"]


def test_each_is_listed_by_its_name_in_order():
    assert list(TEXT_METRICS) == NAMES
    assert [metric.name for metric in TEXT_METRICS.values()] == NAMES
    assert [name for name, metric in TEXT_METRICS.items() if not metric.mean] == ["bleu", "chrf"]


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_answer_is_the_most_and_a_wrong_one_the_least_whatever_the_order_of_rows(name):
    metric = TEXT_METRICS[name]
    texts = ["the 12 red foxes saw it", "so there were 30 of them"]
    perfect = np.array([metric.row(text, ["0", text]) for text in texts])
    wrong = np.array([metric.row("??", [text]) for text in texts])
    assert metric.bounds == (0.0, 1.0)
    assert metric.total(perfect) == 1.0
    assert metric.total(wrong) == 0.0
    mixed = np.concatenate([perfect, wrong])
    assert metric.total(mixed) == metric.total(mixed[::-1])
    assert 0.0 < metric.total(mixed) < 1.0
