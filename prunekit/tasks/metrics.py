"""The metrics of the tasks, each a pure function (examples, chosen) -> float in [0, 1] (correlations: [-1, 1]).

`chosen` holds one index into the choices of each example. scikit-learn and SciPy are imported when a metric needs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any

from prunekit.support.errors import DataError
from prunekit.tasks.example import Example
from prunekit.tasks.text_metrics.words import normalised, overlap

Metric = Callable[[Sequence[Example], Sequence[int]], float]


def accuracy(examples: Sequence[Example], chosen: Sequence[int]) -> float:
    """The share of examples whose chosen answer is a right one."""
    return fmean(choice in example.gold for example, choice in zip(examples, chosen, strict=True))


def macro_f1(examples: Sequence[Example], chosen: Sequence[int]) -> float:
    """F1 per class, averaged over the classes that occur in the gold labels or in the answers (SuperGLUE's CB).

    A class that occurs in only one of the two counts as 0; one that occurs in neither is left out, as scikit-learn
    and the SuperGLUE metric of the Hub do. (The benchmark's first baseline divided by all three classes; on CB's
    validation set, where all three occur, the two agree.)
    """
    from sklearn.metrics import f1_score

    return float(f1_score(_targets(examples, chosen), list(chosen), average="macro", zero_division=0))


def f1(examples: Sequence[Example], chosen: Sequence[int]) -> float:
    """F1 of the second choice (yes, true, positive) over all examples; 0 where it is neither right nor chosen.

    Over all answers of all questions this is MultiRC's F1a.
    """
    from sklearn.metrics import f1_score

    targets = [int(target == 1) for target in _targets(examples, chosen)]
    answers = [int(choice == 1) for choice in chosen]
    return float(f1_score(targets, answers, average="binary", pos_label=1, zero_division=0))


def matthews(examples: Sequence[Example], chosen: Sequence[int]) -> float:
    """Matthews' correlation of answers with right answers, in [-1, 1] (CoLA); 0 where either is always the same."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(_targets(examples, chosen), list(chosen)))


def pearson(examples: Sequence[Example], chosen: Sequence[int]) -> float:
    """Pearson's correlation of answers and right answers as numbers (STS-B); 0 where either is always the same."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, "pearson", examples, chosen)


def spearman(examples: Sequence[Example], chosen: Sequence[int]) -> float:
    """Spearman's, which is Pearson's correlation of their ranks."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, "spearman", examples, chosen)


def exact_match(examples: Sequence[Example], chosen: Sequence[int]) -> float:
    """The share of groups (MultiRC: questions) with every answer right; a row without a group is its own."""
    right: dict[str | int, bool] = {}
    for index, (example, choice) in enumerate(zip(examples, chosen, strict=True)):
        key = example.group or index
        right[key] = right.get(key, True) and choice in example.gold
    return fmean(right.values())


def record_f1(examples: Sequence[Example], chosen: Sequence[int]) -> float:
    """ReCoRD's F1: word overlap of the chosen answer with the best of the gold answers, averaged over examples."""
    return fmean(_best(_word_f1, examples, chosen))


def record_exact_match(examples: Sequence[Example], chosen: Sequence[int]) -> float:
    """ReCoRD's exact match: the chosen answer equals a gold answer once both are normalised as in SQuAD."""
    return fmean(_best(_same, examples, chosen))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
    "f1a": f1,  # the name MultiRC's paper gives to F1 over all answers
    "exact_match": exact_match,
    "record_f1": record_f1,
    "record_exact_match": record_exact_match,
}


_BOUNDS = dict.fromkeys(("matthews", "pearson", "spearman"), (-1.0, 1.0))


def bounds(*names: str) -> tuple[float, float]:
    """The least and the most that metrics of these names can be; over several, of any of them."""
    ends = [_BOUNDS.get(name, (0.0, 1.0)) for name in names] or [(-math.inf, math.inf)]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _targets(examples: Sequence[Example], chosen: Sequence[int]) -> list[int]:
    """One right index per example: the chosen one where it is right, else the first."""
    pairs = zip(examples, chosen, strict=True)
    return [choice if choice in example.gold else example.gold[0] for example, choice in pairs]


def _correlation(correlate: Callable[..., Any], name: str, examples: Sequence[Example], chosen: Sequence[int]) -> float:
    try:
        answers, targets = (
            [float(example.choices[choice]) for example, choice in zip(examples, choices, strict=True)]
            for choices in (chosen, _targets(examples, chosen))
        )
    except ValueError as error:
        raise DataError(f'the metric "{name}" needs answers that are numbers: {error}') from error
    if min(answers) == max(answers) or min(targets) == max(targets):
        return 0.0
    return float(correlate(answers, targets).statistic)


def _best(compare: Callable[[str, str], float], examples: Sequence[Example], chosen: Sequence[int]) -> Iterable[float]:
    for example, choice in zip(examples, chosen, strict=True):
        yield max(compare(example.choices[choice], example.choices[gold]) for gold in example.gold)


def _word_f1(answer: str, gold: str) -> float:
    shared, words, gold_words = overlap(answer, gold)
    # SQuAD's F1 but for its last digit, which stays what runs have written
    return 2 * shared / (words + gold_words) if shared else 0.0


def _same(answer: str, gold: str) -> float:
    return float(normalised(answer) == normalised(gold))
