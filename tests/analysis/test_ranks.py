"""Rank measures against nulls: what pure noise is called, what planted directions are called, and seeds together."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from test_spectra import matrix

from prunekit.analysis import ranks
from prunekit.analysis.nulls import NOISE
from prunekit.analysis.spectra import MEASURES
from prunekit.analysis.subjects import KEYS, PromptRecord, plain
from prunekit.prompts.mask import Mask
from prunekit.support.errors import DataError
from prunekit.support.seeding import generator

SHAPE = (24, 64)
# of a planted direction, in units of the largest singular value that noise has: sigma (sqrt P + sqrt H)
SIGNAL_TO_NOISE = 1.5


def noise(seed, shape=SHAPE):
    return torch.randn(shape, generator=generator("noise", seed), dtype=torch.float64)


def planted(rank, seed, signal_to_noise=SIGNAL_TO_NOISE, shape=SHAPE):
    """Unit noise with `rank` equal directions of this length."""
    size = signal_to_noise * (shape[0] ** 0.5 + shape[1] ** 0.5)
    return noise(seed, shape) + matrix([size] * rank, *shape, seed=seed)


def seeded(values, seed=0, **keys):
    return plain(values, keys={"seed": seed} | keys)


# ---- must hold: noise and planted directions


def of_kind(kind, seed):
    """Independent entries, of one size or with tokens (coordinates) of unequal size."""
    draw = generator("size", seed)
    match kind:
        case "uniform":
            return torch.rand(SHAPE, generator=draw, dtype=torch.float64) - 0.5
        case "unequal rows":
            return noise(seed) * torch.rand(SHAPE[0], 1, generator=draw).add(0.2)
        case "unequal columns":
            return noise(seed) * torch.rand(1, SHAPE[1], generator=draw).add(0.2)
    return noise(seed)


#: A kind of noise, and how many seeds of it.
KINDS = ("gaussian", "uniform", "unequal rows", "unequal columns")
NOISES = [("gaussian", 20), *(pytest.param(kind, 200, marks=pytest.mark.slow) for kind in KINDS)]


@pytest.mark.gate
@pytest.mark.parametrize(("kind", "seeds"), NOISES)
def test_pure_noise_is_called_of_low_rank_in_at_most_one_of_20_seeds(kind, seeds):
    """At alpha = 0.01, each seed alone, by the entropy rank against the hardest noise null and against each of them."""
    table = ranks.table([seeded(of_kind(kind, seed), seed) for seed in range(seeds)], matrices=("values",))
    called = ranks.verdicts(table, alpha=0.01).set_index("null")["called"]
    assert called["noise"] <= seeds / 20
    if kind == "gaussian":  # the other nulls are not made for unequal sizes, which is why there are three
        assert (called <= seeds / 20).all()


@pytest.mark.gate
@pytest.mark.parametrize(("kind", "seeds"), NOISES)
def test_pure_noise_has_a_direction_above_the_edge_in_at_most_one_of_20_seeds(kind, seeds):
    """`above` counts over the edge of the limit, which Gaussian noise passes in one case of six; `spikes` does not."""
    found = ranks.edges([seeded(of_kind(kind, seed), seed) for seed in range(seeds)], matrices=("values",))
    assert (found["spikes"] > 0).sum() <= seeds / 20
    assert ((found["p"] <= 0.01) == (found["spikes"] > 0)).all()
    if kind == "gaussian" and seeds > 20:
        assert 0.05 < (found["above"] > 0).mean() < 0.3


def test_gaussian_noise_alone_takes_unequal_tokens_for_directions():
    """Why a direction has to stand out of the shuffles too."""
    some = [seeded(of_kind("unequal rows", seed), seed) for seed in range(10)]
    alone = ranks.edges(some, matrices=("values",), against=("gaussian",))["spikes"]
    assert (alone > 0).all() and alone.mean() > 4
    assert ranks.edges(some, matrices=("values",))["spikes"].sum() <= 1


@pytest.mark.parametrize("rank", [1, 2, 4, 8])
def test_planted_directions_are_counted_at_signal_to_noise_1_5(rank):
    found = ranks.edges([seeded(planted(rank, seed), seed) for seed in range(20)], matrices=("values",))
    assert (found["spikes"] == rank).sum() >= 19  # pure noise adds one now and then
    assert found["noise"].mean() == pytest.approx(1, rel=0.15)


def test_a_planted_direction_is_called_of_low_rank_and_as_deep_as_it_is():
    table = ranks.table([seeded(planted(1, seed, 4.0), seed) for seed in range(6)], matrices=("values",))
    verdict = ranks.verdicts(table).set_index("null")
    assert (verdict.loc["noise", "seeds"], verdict.loc["noise", "called"]) == (6, 6)
    assert verdict.loc["noise", "low_rank"]
    # lower than noise is not yet low: 24 directions are still there
    assert 0.5 < verdict.loc["noise", "share"] < 0.95
    stable = table[(table["measure"] == "stable") & (table["null"] == "gaussian")]
    assert stable["value"].max() < 3


def test_half_of_all_directions_at_most_are_told_from_noise():
    """With 20 of 24 directions planted the rest is too little to tell noise by: the count is small, never wild."""
    found = ranks.edges([seeded(planted(20, seed, 3.0), seed) for seed in range(5)], matrices=("values",))
    assert (found["spikes"] <= 20).all()
    assert (found["above"] <= 20).all()


def test_a_direction_below_the_threshold_of_detection_is_not_seen():
    """sigma (P H)^(1/4) is where a direction begins to show (Baik, Ben Arous and Peche 2005)."""
    weak = 0.5 * (SHAPE[0] * SHAPE[1]) ** 0.25 / (SHAPE[0] ** 0.5 + SHAPE[1] ** 0.5)
    found = ranks.edges([seeded(planted(1, seed, weak), seed) for seed in range(20)], matrices=("values",))
    assert (found["spikes"] > 0).sum() <= 2


def test_a_matrix_of_exact_rank_has_that_many_spikes():
    found = ranks.edges([plain(matrix([5.0, 3.0], *SHAPE))], matrices=("values",))
    assert (found["spikes"].item(), found["p"].item()) == (2, pytest.approx(1 / 200))


# ---- the tables


def test_the_columns_of_both_tables_are_these():
    subject = plain(noise(0))
    table = ranks.table([subject], draws=19)
    assert list(table.columns) == list(ranks.TABLE)
    assert len(table) == 3 * len(MEASURES) * len(NOISE)
    edges = ranks.edges([subject], alpha=0.05, draws=19)
    assert list(edges.columns) == list(ranks.EDGES)
    assert len(edges) == 3
    assert list(ranks.table([]).columns) == list(ranks.TABLE)
    assert list(ranks.edges([]).columns) == list(ranks.EDGES)


def test_p_and_bands_are_those_of_the_draws():
    table = ranks.table([plain(noise(0))], matrices=("values",), draws=199)
    one = table[(table["measure"] == "entropy") & (table["null"] == "gaussian")].iloc[0]
    assert one["low"] < one["value"] < one["high"]
    assert 0.02 < one["p"] < 0.98
    assert one["draws"] == 199
    whole = table[(table["measure"] == "numerical") & (table["null"] == "gaussian")].iloc[0]
    assert (whole["value"], whole["largest"], whole["p"]) == (24, 24, 1)


def test_a_uniform_start_is_explained_by_initialisation_and_not_by_noise():
    """U[0, 0.5) has a stable rank of 1.3 before any training: lower than noise, as low as any other such start."""

    def starts(count):
        return torch.rand(count, *SHAPE, generator=generator("starts")) / 2

    values = torch.rand(SHAPE, generator=generator("start")) / 2
    table = ranks.table([plain(values)], matrices=("values",), against=(*NOISE, "initialisation"), starts=starts)
    verdict = ranks.verdicts(table, of="stable").set_index("null")
    assert verdict.loc["gaussian", "low_rank"]
    assert not verdict.loc["initialisation", "low_rank"]
    # each shuffle keeps the mean of all entries, and with it the large direction
    assert not verdict.loc["noise", "low_rank"]
    centred = ranks.table([plain(values)], matrices=("values centred",))
    assert not ranks.verdicts(centred, of="stable")["low_rank"].any()


def test_a_prompt_that_did_not_move_has_no_rank_and_no_p():
    values = noise(0)
    table = ranks.table([plain(values, origin=values)], matrices=("change",), draws=19)
    assert (table["value"] == 0).all()
    assert table["p"].isna().all()
    verdict = ranks.verdicts(table)
    assert not verdict["low_rank"].any()
    assert verdict["p"].isna().all()
    edges = ranks.edges([plain(values, origin=values)], matrices=("change",))
    assert (edges["spikes"].item(), np.isnan(edges["p"].item())) == (0, True)


def test_a_mask_takes_rank_away_and_the_null_wears_it_too():
    piece = torch.ones(24, 4, dtype=torch.bool)
    piece[:, 1:] = False
    piece[12:] = False
    subject = PromptRecord(plain(noise(0)).keys, noise(0), noise(0), noise(0), Mask(piece.any(dim=1), piece))
    table = ranks.table([subject], matrices=("values",))
    assert (table["largest"] == 12).all()
    assert ranks.verdicts(table).set_index("null").loc["noise", "p"] > 0.01
    edge = ranks.edges([subject], matrices=("values",))
    assert edge[["noise", "edge", "above"]].isna().all(axis=None)
    assert edge["spikes"].item() == 0


def test_one_token_is_no_trouble():
    table = ranks.table([plain(noise(0)[:1])], draws=19)
    assert (table.loc[table["matrix"] == "values", "value"] == 1).all()
    assert (table.loc[table["matrix"] == "values centred", "value"] == 0).all()
    edges = ranks.edges([plain(noise(0)[:1])], draws=99).set_index("matrix")
    assert edges.loc["values centred", "spikes"] == 0


def test_too_few_draws_for_alpha_are_refused():
    with pytest.raises(ValueError, match=r"19 draws give no p below 0\.05"):
        ranks.edges([plain(noise(0))], alpha=0.01, draws=19)


def test_controls_are_a_null_of_few_draws():
    controls = [seeded(noise(seed), seed) for seed in range(1, 5)]
    table = ranks.table([plain(planted(1, 0, 4.0))], matrices=("values",), controls=controls)
    mine = table[(table["null"] == "shuffled labels") & (table["measure"] == "entropy")].iloc[0]
    assert (mine["draws"], mine["p"]) == (4, 0.2)
    assert "shuffled labels" not in set(ranks.verdicts(table)["null"])


# ---- verdicts by hand


def handmade(p, seeds=3, **more):
    """A table of `entropy` with the given p per null, the same for all seeds."""
    rows = [
        dict.fromkeys(KEYS, "") | {"seed": seed, "round": 0, "matrix": "values", "measure": "entropy",
        "value": 5.0 + seed, "largest": 20, "null": null, "low": 8.0, "median": 10.0, "high": 12.0, "p": one,
        "draws": 199} | more
        for seed in range(seeds) for null, one in p.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_verdicts_join_seeds_and_take_the_hardest_null():
    found = ranks.verdicts(handmade({"gaussian": 0.005, "rows shuffled": 0.2, "columns shuffled": 0.01}))
    assert list(found.columns) == list(ranks.VERDICTS)
    found = found.set_index("null")
    assert found.loc["gaussian", "called"] == 3
    assert found.loc["gaussian", "p"] == pytest.approx(stats.combine_pvalues([0.005] * 3).pvalue)
    assert found.loc["noise", "p"] == pytest.approx(stats.combine_pvalues([0.2] * 3).pvalue)
    assert (found["low_rank"] == [True, False, True, False]).all()
    assert found.loc["noise", ["value", "median", "share"]].tolist() == [6, 10, 0.6]


def test_the_mean_over_seeds_is_the_same_beside_every_null_to_the_last_bit():
    """Also where the hardest null's p order the seeds otherwise: a table by value has one row of it."""
    seeds = [
        handmade(dict.fromkeys(ranks.NOISE, 0.1 * (seed + 1)), 1, seed=seed, value=value)
        for seed, value in enumerate([0.3, 0.2, 0.1])
    ]
    found = ranks.verdicts(pd.concat(seeds, ignore_index=True))
    assert set(found["null"]) == {*ranks.NOISE, "noise"}
    assert found["value"].nunique() == 1


def test_noise_is_not_asked_for_where_a_null_is_missing():
    assert set(ranks.verdicts(handmade({"gaussian": 0.005}))["null"]) == {"gaussian"}
    assert ranks.verdicts(handmade({"gaussian": 0.005}), of="stable").empty


# ---- against shuffled labels


def test_groups_are_an_exact_permutation_of_seeds():
    def side(values, run, labels):
        return pd.concat([
            handmade({"gaussian": 0.5, "rows shuffled": 0.5}, 1, seed=seed, value=value, run=run, labels=labels)
            for seed, value in enumerate(values)
        ])  # fmt: skip

    true, shuffled = side([1.0, 2, 3], "a", "true"), side([4.0, 5, 6], "b", "shuffled")
    found = ranks.groups(true, shuffled)
    assert list(found.columns) == list(ranks.GROUPS)
    one = found.iloc[0]
    assert (one["p"], one["smallest_p"], one["difference"]) == (pytest.approx(1 / 20), pytest.approx(1 / 20), -3)
    assert not one["low_rank"]
    assert ranks.groups(shuffled, true)["p"].item() == 1
    six = ranks.groups(side([1.0] * 6, "a", "true"), side([2.0] * 6, "b", "shuffled")).iloc[0]
    assert (six["p"], six["low_rank"]) == (pytest.approx(1 / 924), True)
    many = ranks.groups(side([1.0] * 12, "a", "true"), side([2.0] * 12, "b", "shuffled")).iloc[0]
    assert many["p"] == pytest.approx(1 / 50_001)
    with pytest.raises(DataError, match="two prompts of one seed"):
        ranks.groups(pd.concat([true, true.assign(run="c")]), shuffled)
    assert ranks.groups(true, shuffled.assign(task="other")).empty
