"""The words of a verdict, and what each takes."""

import numpy as np
import pytest

from prunekit.analysis import verdicts
from prunekit.support.inference import infer

NOISE = np.array([-0.02, 0.02, -0.01, 0.01, -0.03, 0.03])


def word(*means, noise=NOISE, margin=0.1, **more):
    """Of tasks of such means."""
    inference = infer([[mean + noise] for mean in means])
    return verdicts.judged(inference, inference.p, margin, **more)


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.5,), "holds"),
        ((-0.5,), "other way"),
        ((0.0,), "equivalent within 0.1"),
        ((0.05,), "equivalent within 0.1"),  # sure not to be 0, and sure to be too small to matter
        ((0.1,), "holds"),
        ((0.3, 0.7), "holds"),
        ((-0.3, 0.3), "inconclusive"),  # a mean that is none of its tasks'
        ((-0.03, 0.03), "equivalent within 0.1"),
    ],
)
def test_each_word(means, expected):
    assert word(*means) == expected


def test_the_claim_may_be_of_a_smaller_value():
    assert word(-0.5, direction=-1) == "holds"
    assert word(0.5, direction=-1) == "other way"


def test_what_is_spread_too_far_is_inconclusive():
    assert word(0.2, noise=20 * NOISE) == "inconclusive"


def test_fewer_than_six_units_decide_nothing_but_that_all_are_equal():
    assert word(0.5, noise=NOISE[:5]) == word(0.0, noise=NOISE[:5]) == "inconclusive"
    assert word(0.0, noise=np.zeros(2)) == "all 2 equal"


def test_the_level_is_that_of_the_whole_interval():
    inference = infer([[NOISE]])
    reach = inference.interval()[1]
    assert verdicts.judged(inference, 1.0, reach * 1.001) == verdicts.equivalent(reach * 1.001)
    assert verdicts.judged(inference, 1.0, reach * 0.999) == "inconclusive"
    assert verdicts.judged(inference, 1.0, reach * 0.999, alpha=0.1) == verdicts.equivalent(reach * 0.999)


def test_the_p_that_is_given_decides():
    inference = infer([[0.5 + NOISE]])
    assert verdicts.judged(inference, 0.06, 0.1) == "inconclusive"


def test_few_units_that_are_all_equal_are_no_equivalence():
    assert verdicts.kind(verdicts.all_equal(5)) == verdicts.INCONCLUSIVE
    assert verdicts.kind(verdicts.all_equal(6)) == verdicts.EQUIVALENT
