"""BLEU and chrF from the rows' counts, against sacrebleu's own scores of the texts."""

import random
import sys

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from prunekit.support.errors import ConfigError
from prunekit.tasks.text_metrics import TEXT_METRICS
from prunekit.tasks.text_metrics.bleu import Bleu

LIBRARY = {"bleu": BLEU, "chrf": CHRF}
WORDS = "the cheap river café near Æsir, serves 5-star food . it's (not) family friendly! cat".split()  # noqa: SIM905


def corpus(seed, rows=24, most_references=4):
    """Answers that are near one of their one to four references, some without a letter."""
    draw = random.Random(seed)
    references = [
        [" ".join(draw.choices(WORDS, k=draw.randint(1, 14))) for _ in range(draw.randint(1, most_references))]
        for _ in range(rows)
    ]
    answers = [" ".join(word for word in draw.choice(texts).split() if draw.random() < 0.8) for texts in references]
    return answers, references


def by_library(name, answers, references):
    """sacrebleu's figure, out of 1; a row with fewer references than another has None in their place."""
    most = max(map(len, references))
    streams = [[texts[n] if n < len(texts) else None for texts in references] for n in range(most)]
    return min(LIBRARY[name]().corpus_score(answers, streams).score / 100, 1.0)


def counts(name, answers, references):
    return np.array([TEXT_METRICS[name].row(*pair) for pair in zip(answers, references, strict=True)])


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("most_references", [1, 4])
def test_the_corpus_score_of_summed_counts_is_the_librarys_to_the_last_digit(name, most_references):
    for seed in range(10):
        texts = corpus(seed, most_references=most_references)
        assert TEXT_METRICS[name].total(counts(name, *texts)) == by_library(name, *texts)
    texts = [["a red fox sees it"] * 2, [["a red fox sees it"], ["another", "a red fox sees it"]]]
    assert TEXT_METRICS[name].total(counts(name, *texts)) == 1.0


@pytest.mark.parametrize("name", LIBRARY)
def test_leaving_a_row_out_and_a_bootstrap_of_two_systems_need_the_counts_alone(name):
    answers, references = corpus(0)
    others = [answer.split(" ", 1)[-1] for answer in answers]
    rows, other_rows = counts(name, answers, references), counts(name, others, references)
    total, everything = TEXT_METRICS[name].total, np.arange(len(rows))

    def computed_anew(texts, chosen):
        return by_library(name, [texts[n] for n in chosen], [references[n] for n in chosen])

    for row in everything:
        remaining = np.delete(everything, row)
        assert total(rows[remaining]) == computed_anew(answers, remaining)
    for chosen in np.random.default_rng(0).integers(len(rows), size=(20, len(rows))):
        difference = total(rows[chosen]) - total(other_rows[chosen])
        assert difference == computed_anew(answers, chosen) - computed_anew(others, chosen)
        assert difference != 0.0


def test_a_signature_names_version_and_settings():
    assert TEXT_METRICS["bleu"].signature().startswith("nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert TEXT_METRICS["chrf"].signature().startswith("nrefs:var|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")


def test_a_missing_sacrebleu_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ConfigError, match=r'^the metric "bleu" needs sacrebleu: pip install sacrebleu$'):
        Bleu().row("a", ["a"])
