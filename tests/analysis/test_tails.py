"""Exponents of spectra beside their null: pure noise is never told to have a heavy tail."""

import numpy as np
import pytest
import torch
from test_spectra import matrix

from prunekit.analysis import tails
from prunekit.analysis.subjects import plain
from prunekit.support.seeding import generator


def noise(seed, shape=(80, 300)):
    return plain(torch.randn(shape, generator=generator("tails", seed), dtype=torch.float64))


def power_law(exponent, seed, count=80):
    """A matrix whose squared singular values are a sample of a power law."""
    random = np.random.default_rng(seed)
    squares = (1 - random.random(count)) ** (-1 / (exponent - 1))
    return plain(matrix(sorted(squares**0.5, reverse=True), count, 300, seed))


def test_the_columns_are_these():
    found = tails.exponents([noise(0)], draws=19)
    assert list(found.columns) == list(tails.COLUMNS)
    assert len(found) == 3
    assert list(tails.exponents([]).columns) == list(tails.COLUMNS)


def test_the_fit_finds_the_exponent_of_samples():
    random = np.random.default_rng(0)
    samples = 2.0 * (1 - random.random((5, 2000))) ** (-1 / 1.5)  # density x^-2.5
    found = tails.fit(samples)
    assert found.exponent == pytest.approx(np.full(5, 2.5), rel=0.1)
    assert (found.ks < 0.05).all()
    assert (found.points >= 10).all()


def test_the_tail_of_a_sample_with_a_body_begins_where_the_law_does():
    random = np.random.default_rng(1)
    tail = 3.0 * (1 - random.random((4, 500))) ** (-1 / 2)
    body = random.uniform(0, 3, (4, 500))
    found = tails.fit(np.concatenate([body, tail], axis=1))
    assert found.exponent == pytest.approx(np.full(4, 3.0), rel=0.25)
    assert (found.smallest > 2).all()


def test_pure_noise_has_an_exponent_and_is_told_to_be_noise():
    """RELIABILITY: common tools give 2.7 to 4.8 for noise and warn of nothing."""
    found = tails.exponents([noise(seed) for seed in range(20)], matrices=("values",), draws=99)
    assert found["exponent"].between(1.5, 30).all()
    assert (found["finding"] == "heavier than noise").sum() <= 1
    assert (found["p"] > 0.05).sum() >= 17


def test_a_power_law_is_found_and_fits():
    found = tails.exponents([power_law(2.0, seed) for seed in range(10)], matrices=("values",), draws=99)
    assert (found["finding"] == "heavier than noise").sum() >= 8
    assert found["exponent"].median() == pytest.approx(2.0, abs=0.4)
    assert (found["p"] <= 0.05).all()


def test_a_tail_that_is_no_power_law_is_refuted():
    """Equal steps, far from any power of the rank."""
    steps = plain(matrix(list(np.sqrt(np.linspace(200, 100, 200))), 200, 200))
    found = tails.exponents([steps], matrices=("values",), draws=99).iloc[0]
    assert found["finding"] != "heavier than noise"


def test_few_values_tell_nothing():
    found = tails.exponents([noise(0, (20, 300))], draws=19)
    assert (found["finding"] == "too few values").all()
    assert found[["exponent", "p", "p_fit"]].isna().all(axis=None)
    still = tails.exponents([plain(torch.zeros(80, 100))], matrices=("values",), draws=19)
    assert still["finding"].item() == "too few values"
