"""Scores beside measurements: ranks, agreement and nearest words."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from prunekit.analysis import unit_scores
from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.measured import MEASURED
from prunekit.analysis.tables.scores import SCORED
from prunekit.analysis.unit_scores import agreement, beside, nearest_words, ranked
from prunekit.support.errors import DataError
from prunekit.support.seeding import generator

KEY = dict.fromkeys(KEYS, "") | {"seed": 0, "round": 0}


def scored(values, kind="absolute", level="token", **more):
    """Scores of tokens in order, NaN where dropped; or at level piece of the cells of tokens of two pieces."""
    rows = [
        KEY | {"kind": kind, "level": level, "token": unit // 2 if level == "piece" else unit,
               "piece": unit % 2 if level == "piece" else -1, "score": score, "kept": not np.isnan(score),
               "next_kept": pd.NA, "dropped_in": -1, "norm": 1.0, "pruned_by": True} | more
        for unit, score in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(SCORED))


def measured(values, kind="leave-one-out", examples=100, **more):
    rows = [
        dict.fromkeys(MEASURED) | KEY | {"kind": kind, "level": "token", "token": unit, "piece": -1, "kept": True,
        "score": score, "low": score - 1, "high": score + 1, "negative": score < 0, "examples": examples} | more
        for unit, score in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(MEASURED)).astype({"negative": "boolean", "confirmed": "boolean"})


# ---- ranks


def test_ranks_are_among_what_is_kept_and_ties_share_the_better_one():
    found = ranked(scored([0.5, float("nan"), 0.9, 0.5]))
    assert list(found.columns) == [*SCORED, "rank", "rank_in_token", "units"]
    assert found["rank"].tolist()[:1] + found["rank"].tolist()[2:] == [2, 1, 2]
    assert np.isnan(found["rank"].iloc[1])
    assert found["rank_in_token"].isna().all()
    assert (found["units"] == 3).all()


def test_pieces_are_ranked_in_their_token_as_they_are_pruned():
    found = ranked(scored([0.5, 0.1, 0.2, 0.9], level="piece"))
    assert found["rank"].tolist() == [2, 4, 3, 1]
    assert found["rank_in_token"].tolist() == [1, 2, 2, 1]


def test_kinds_rounds_and_seeds_are_ranked_apart():
    table = pd.concat([scored([1.0, 2.0]), scored([3.0, 4.0], seed=1), scored([5.0, 6.0], "signed")])
    assert ranked(table)["rank"].tolist() == [2, 1] * 3


# ---- side by side


def test_every_kind_stands_in_its_column():
    table = pd.concat([scored([1.0, 2.0, float("nan")]), scored([4.0, 5.0, float("nan")], "magnitude")])
    found = beside(table, pd.concat([measured([0.3, -0.2]), measured([0.1, 0.2], "shapley", low=None, high=None)]))
    columns = ["level", "token", "piece", "kept", "norm", "dropped_in", *unit_scores.KINDS, "low", "high"]
    assert list(found.columns) == [*KEYS, *columns, "negative", "confirmed", "test_cost"]
    assert found[["absolute", "magnitude", "leave-one-out", "shapley"]].to_numpy()[:2].tolist() == [
        [1, 4, 0.3, 0.1], [2, 5, -0.2, 0.2],
    ]  # fmt: skip
    assert found["signed"].isna().all()
    assert found["negative"].tolist() == [False, True, pd.NA]
    assert found["low"].tolist()[:2] == pytest.approx([-0.7, -1.2])
    assert found["kept"].tolist() == [True, True, False]


def test_of_two_measurements_the_one_on_more_examples_counts():
    few, many = measured([1.0, 1.0], examples=10), measured([2.0, 2.0], examples=50)
    for order in ([few, many], [many, few]):
        assert beside(scored([1.0, 2.0]), pd.concat(order))["leave-one-out"].tolist() == [2, 2]


def test_nothing_measured_is_no_trouble_and_two_scores_of_a_unit_are():
    found = beside(scored([1.0, 2.0]), measured([]))
    assert found["leave-one-out"].isna().all()
    assert agreement(found).empty
    with pytest.raises(DataError, match="two scores of one kind"):
        beside(pd.concat([scored([1.0])] * 2), measured([]))


# ---- agreement


def units(**kinds):
    """A table of `beside` with these kinds."""
    count = len(next(iter(kinds.values())))
    table = beside(scored(list(np.arange(count, dtype=float))), measured([]))
    return table.drop(columns=list(unit_scores.KINDS)).assign(
        **(dict.fromkeys(unit_scores.KINDS, np.nan) | {name.replace("_", "-"): one for name, one in kinds.items()})
    )


def test_agreement_is_spearman_s_and_kendall_s():
    random = np.random.default_rng(0)
    one = random.normal(size=20)
    other = one + random.normal(size=20)
    found = agreement(units(absolute=one, leave_one_out=other, shapley=-one))
    assert list(found.columns) == list(unit_scores.AGREEMENT)
    pairs = found.set_index(["first", "second"])
    assert list(pairs.index) == [("absolute", "leave-one-out"), ("absolute", "shapley"), ("leave-one-out", "shapley")]
    mine = pairs.loc[("absolute", "leave-one-out")]
    assert (mine["spearman"], mine["spearman_p"]) == pytest.approx(tuple(stats.spearmanr(one, other)))
    assert (mine["kendall"], mine["kendall_p"]) == pytest.approx(tuple(stats.kendalltau(one, other)))
    assert mine["spearman_low"] < mine["spearman"] < mine["spearman_high"] <= 1
    assert mine["kendall_low"] < mine["kendall"] < mine["kendall_high"]
    against = pairs.loc[("absolute", "shapley")]
    assert (against["spearman"], against["kendall"]) == (pytest.approx(-1), pytest.approx(-1))


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Of bivariate normal samples with correlation 0.6: Spearman's true value is 6 / pi asin(0.3)."""
    spearman, kendall = 6 / np.pi * np.arcsin(0.3), 2 / np.pi * np.arcsin(0.6)
    plain, samples = units(absolute=[0.0] * 20), []
    for seed in range(300):
        one, other = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 20).T
        samples.append(plain.assign(seed=seed, absolute=one, shapley=other))
    found = agreement(pd.concat(samples))
    assert len(found) == 300
    assert found["spearman_low"].lt(spearman).mul(found["spearman_high"].gt(spearman)).mean() > 0.9
    assert found["kendall_low"].lt(kendall).mul(found["kendall_high"].gt(kendall)).mean() > 0.9


def test_dropped_units_and_unmeasured_ones_are_left_out():
    table = units(absolute=[1.0, 2, 3, 4, 5, 6], shapley=[1.0, 2, 3, 4, 5, np.nan])
    table.loc[0, "kept"] = False
    assert agreement(table)["units"].item() == 4


def test_few_units_have_no_interval_and_a_constant_kind_no_agreement():
    few = agreement(units(absolute=[1.0, 2, 3], shapley=[2.0, 1, 3])).iloc[0]
    assert few["spearman"] == pytest.approx(0.5)
    assert np.isnan(few["spearman_low"])
    flat = agreement(units(absolute=[1.0] * 6, shapley=[2.0, 1, 3, 4, 5, 6])).iloc[0]
    assert np.isnan([flat["spearman"], flat["kendall"], flat["spearman_p"]]).all()


# ---- nearest words

WORDS = [f"w{number}" for number in range(60)]
EMBEDDING = torch.randn(60, 24, generator=generator("words"))


def test_the_columns_are_these_and_nearness_is_the_cosine():
    values = torch.stack([EMBEDDING[7] * 3, -EMBEDDING[7]])
    found = nearest_words(values, EMBEDDING, WORDS, top=3)
    assert list(found.columns) == list(unit_scores.WORDS)
    assert found["token"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found["rank"].tolist() == [1, 2, 3] * 2
    first = found.iloc[0]
    assert (first["word"], first["similarity"]) == ("w7", pytest.approx(1, abs=1e-6))
    assert first["distance"] == pytest.approx(2 * EMBEDDING[7].norm().item(), rel=1e-5)
    assert first["p"] == pytest.approx(1 / 200)
    assert found.iloc[3]["word"] != "w7"
    assert set(found["note"]) == {"hint"}
    assert set(found["start_word"]) == {""}
    began = nearest_words(values, EMBEDDING, WORDS, start=EMBEDDING[[7, 9]] * 2, top=1)
    assert began["start_word"].tolist() == ["w7", "w9"]
    assert (found.groupby("token")["similarity"].apply(list).map(lambda one: one == sorted(one, reverse=True))).all()


def test_random_vectors_have_nearest_words_too_and_no_small_p():
    values = torch.randn(100, 24, generator=generator("random")) * 2
    found = nearest_words(values, EMBEDDING, WORDS, top=1)
    assert 0.01 <= (found["p"] <= 0.05).mean() <= 0.12
    assert found["similarity"].between(found["low"], found["high"]).mean() > 0.85
    assert (found["random_distance"] - found["distance"]).abs().median() < 1.5


def test_words_and_embeddings_pair_up():
    with pytest.raises(ValueError, match="59 words for 60 embeddings"):
        nearest_words(EMBEDDING[:1], EMBEDDING, WORDS[:59])
    zero = nearest_words(torch.zeros(1, 24), EMBEDDING, WORDS, top=100)
    assert len(zero) == 60
    assert zero["p"].iloc[0] == 1
