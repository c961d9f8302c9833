"""Measures of rank against their closed forms, and spectra beside noise."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunekit.analysis import spectra
from prunekit.analysis.spectra import MEASURES, measure, singular_values, spectrum
from prunekit.analysis.subjects import plain
from prunekit.prompts.init.uniform import uniform
from prunekit.prompts.mask import Mask
from prunekit.support.seeding import generator


def matrix(singular, rows, columns, seed=0):
    """A matrix of these singular values, its directions random."""
    draw = generator("constructed", seed)
    left = torch.linalg.qr(torch.randn(rows, rows, generator=draw, dtype=torch.float64)).Q[:, : len(singular)]
    right = torch.linalg.qr(torch.randn(columns, columns, generator=draw, dtype=torch.float64)).Q[: len(singular)]
    return (left * torch.tensor(singular, dtype=torch.float64)) @ right


def measured(values):
    return {name: float(one) for name, one in measure(singular_values(values), max(values.shape)).items()}


shapes = st.tuples(st.integers(2, 12), st.integers(2, 12))
scales = st.floats(1e-6, 1e6)


# ---- closed forms


@settings(deadline=None)
@given(shapes, st.data(), scales)
def test_r_equal_singular_values_are_rank_r_by_every_measure(shape, data, scale):
    r = data.draw(st.integers(1, min(shape)))
    found = measured(matrix([scale] * r, *shape))
    exact = {"numerical": r, "stable": r, "entropy": r, "participation": r}
    exact |= {f"energy_{percent}": math.ceil(percent * r / 100) for percent in (90, 95, 99)}
    assert found == pytest.approx(exact, rel=1e-9)


@settings(deadline=None)
@given(shapes, st.data(), st.floats(0.05, 0.95), scales)
def test_a_geometric_spectrum_has_its_closed_forms(shape, data, q, scale):
    """s_i = q^i, i = 0 to n - 1: geometric sums, and the entropy of a truncated geometric law."""
    n = data.draw(st.integers(1, min(shape)))
    found = measured(matrix([scale * q**i for i in range(n)], *shape))

    def total(base):
        return (1 - base**n) / (1 - base)

    mean = sum(i * q**i for i in range(n)) / total(q)
    exact = {
        "numerical": sum(q**i > max(shape) * torch.finfo(torch.float32).eps for i in range(n)),
        "stable": total(q**2),
        "entropy": total(q) * q**-mean,
        "participation": total(q**2) ** 2 / total(q**4),
    }
    for percent in (90, 95, 99):
        exact[f"energy_{percent}"] = next(
            k for k in range(1, n + 1) if (1 - q ** (2 * k)) >= percent / 100 * (1 - q ** (2 * n)) * (1 - 1e-9)
        )
    assert found == pytest.approx(exact, rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.floats(1e-3, 1e3), st.integers(0, 3))
def test_any_spectrum_agrees_with_the_definitions_and_is_free_of_scale_and_turning(singular, scale, seed):
    s = np.sort(np.array(singular))[::-1]
    e, q = s**2 / (s**2).sum(), s / s.sum()
    exact = {
        "stable": (s**2).sum() / s.max() ** 2,
        "entropy": math.exp(-(q * np.log(q)).sum()),
        "participation": 1 / (e**2).sum(),
    }
    values = matrix(list(s), 9, 14, seed)
    one = measured(values)
    assert {name: one[name] for name in exact} == pytest.approx(exact, rel=1e-6)
    assert measured(scale * values) == pytest.approx(one, rel=1e-6)
    assert measured(values.T) == pytest.approx(one, rel=1e-6)


def test_two_values_by_hand():
    found = measure(torch.tensor([3.0, 1.0]), 4)
    hand = {"numerical": 2, "stable": 10 / 9, "participation": 100 / 82, "energy_90": 1, "energy_95": 2, "energy_99": 2}
    hand["entropy"] = 4 / 3**0.75  # exp of (3/4 log 4/3 + 1/4 log 4)
    assert {name: float(found[name]) for name in MEASURES} == pytest.approx(hand)


def test_energy_that_is_met_exactly_counts():
    """Ten equal values: nine hold exactly 90 %."""
    found = measure(torch.full((10,), 0.1, dtype=torch.float64), 10)
    assert (found["energy_90"], found["energy_95"], found["energy_99"]) == (9, 10, 10)


def test_zero_has_rank_zero_by_every_measure_and_batches_are_measured_row_by_row():
    batch = torch.tensor([[0.0, 0.0, 0.0], [2.0, 2.0, 0.0], [1e-200, 0.0, 0.0]], dtype=torch.float64)
    found = measure(batch, 5)
    assert list(found) == list(MEASURES)
    assert all(one.tolist()[0] == 0 for one in found.values())
    assert found["stable"].tolist() == [0, 2, 1]
    assert found["numerical"].tolist() == [0, 2, 1]


# ---- what random starts have (METHODS, traps T9)


def initial(draw, start, columns=768, tokens=100):
    return measured(draw(generator("start", start), (tokens, columns)))


def test_starts_have_low_ranks_before_any_training():
    symmetric, positive = initial(uniform(-0.5, 0.5), 0), initial(uniform(0.0, 0.5), 0)
    assert [symmetric[name] for name in ("stable", "entropy", "energy_90")] == pytest.approx([53.5, 98.2, 82], rel=0.03)
    assert [positive[name] for name in ("stable", "entropy", "energy_90")] == pytest.approx([1.33, 74.6, 46], rel=0.03)
    assert symmetric["numerical"] == positive["numerical"] == 100


# ---- the table


def test_the_columns_are_these_and_energy_adds_up():
    values = torch.randn(12, 40, generator=generator("noise"))
    table = spectrum([plain(values)], matrices=("values", "values centred"), draws=99)
    assert list(table.columns) == list(spectra.SPECTRUM)
    assert len(table) == 24
    mine = table[table["matrix"] == "values"]
    assert mine["index"].tolist() == list(range(1, 13))
    assert mine["energy"].sum() == pytest.approx(1)
    assert mine["cumulative"].iloc[-1] == pytest.approx(1)
    assert mine["singular_value"].tolist() == pytest.approx(torch.linalg.svdvals(values.double()).tolist())
    assert (mine["low"] <= mine["median"]).all() and (mine["median"] <= mine["high"]).all()
    assert list(spectrum([]).columns) == list(spectra.SPECTRUM)


def test_noise_lies_in_the_band_of_noise_and_a_spike_above_it():
    noise = torch.randn(20, 64, generator=generator("noise", 1), dtype=torch.float64)
    table = spectrum([plain(noise)], matrices=("values",), draws=199)
    inside = (table["low"] <= table["singular_value"]) & (table["singular_value"] <= table["high"])
    assert inside.mean() >= 0.8
    spiked = spectrum([plain(noise + matrix([40.0], 20, 64))], matrices=("values",), draws=199)
    assert spiked["singular_value"].iloc[0] > spiked["high"].iloc[0]


def test_every_null_can_stand_beside_it():
    values = torch.rand(8, 24, generator=generator("start"))

    def starts(count):
        return torch.rand(count, 8, 24, generator=generator("starts"))

    against = ("gaussian", "rows shuffled", "columns shuffled", "initialisation")
    table = spectrum([plain(values)], against=against, draws=19, starts=starts)
    assert set(table["null"]) == set(against)
    first = table[(table["matrix"] == "values") & (table["index"] == 1)].set_index("null")
    assert first.loc["initialisation", "low"] <= first.loc["initialisation", "singular_value"]
    # the positive mean is a large first value, which Gaussian noise of the same size does not have
    assert first.loc["gaussian", "high"] < first.loc["gaussian", "singular_value"]


def test_a_prompt_that_did_not_move_has_a_change_without_a_spectrum():
    values = torch.randn(6, 8, generator=generator("still"))
    table = spectrum([plain(values, origin=values)], matrices=("change",), draws=19)
    assert (table["singular_value"] == 0).all()
    assert table["energy"].isna().all()
    assert (table["high"] == 0).all()


# ---- the edge of noise


@pytest.mark.parametrize(("shape", "name"), [((100, 768), "values"), ((40, 40), "values"), ((60, 30), "values"),
                                             ((100, 300), "values centred"), ((60, 30), "values centred")])  # fmt: skip
def test_the_edge_and_the_deviation_of_noise_are_found(shape, name):
    sigma = 0.3
    values = sigma * torch.randn(shape, generator=generator("edge", *shape), dtype=torch.float64)
    subject = plain(values)
    s = singular_values(subject.matrix(name)).numpy()
    noise, edge = spectra.edge(s, subject.keep, name)
    assert noise == pytest.approx(sigma, rel=0.05)
    assert edge == pytest.approx(sigma * (shape[0] ** 0.5 + shape[1] ** 0.5), rel=0.06)
    assert s[0] == pytest.approx(edge, rel=0.1)  # of small matrices it is a little below the limit


def test_large_directions_do_not_move_the_edge():
    noise = torch.randn(60, 200, generator=generator("edge"), dtype=torch.float64)
    keep = plain(noise).keep
    before = spectra.edge(singular_values(noise).numpy(), keep, "values")[1]
    after = spectra.edge(singular_values(noise + matrix([200.0, 150, 100], 60, 200)).numpy(), keep, "values")[1]
    assert after == pytest.approx(before, rel=0.02)


def test_noise_with_holes_and_a_single_token_have_no_edge():
    keep = Mask(torch.tensor([True, True]), torch.tensor([[True, False], [True, True]])).expand(4)
    assert all(map(math.isnan, spectra.edge(np.ones(2), keep, "values")))
    assert all(map(math.isnan, spectra.edge(np.zeros(1), torch.ones(1, 4, dtype=torch.bool), "values centred")))
