"""Every branch of what the importance study may conclude, each reached by a table that was made for it."""

import pandas as pd
import pytest

from prunekit.analysis import importance_conclusions
from prunekit.analysis.importance_conclusions import importance_study
from prunekit.support.errors import DataError

NOTHING = pd.DataFrame()


KEYS = {"stage": "", "arm": "dense", "round": 0}


def beside(*costs, seed=0, width=0.1, negative=(), confirmed=(), **more):
    """Rows of `unit_scores.beside` at level "token"; None: a token that was dropped. One row of a piece is noise."""
    rows = [
        KEYS
        | {"level": "token", "seed": seed, "token": token, "piece": -1, "leave-one-out": cost, "low": cost - width}
        | {"negative": token in negative, "confirmed": token in confirmed if token in negative else pd.NA}
        | {"test_cost": cost / 2 if token in negative else float("nan")}
        | more
        for token, cost in ((token, float("nan") if cost is None else cost) for token, cost in enumerate(costs))
    ]
    rows.append(rows[0] | {"level": "piece", "piece": 0, "leave-one-out": 9.0, "low": 8.0, "negative": True})
    return pd.DataFrame(rows).astype({"negative": "boolean", "confirmed": "boolean"})


def agreement(*seeds, first="absolute", second="leave-one-out"):
    """Rows of `token_importance.agreement`: (rho, low, high) of each seed."""
    return pd.DataFrame(
        [
            KEYS
            | {"level": "token", "seed": seed, "first": first, "second": second, "spearman": rho, "kendall": rho / 2}
            | {"spearman_low": low, "spearman_high": high}
            for seed, (rho, low, high) in enumerate(seeds)
        ]
    )


def overlap(jaccard=0.6, p=0.001, **more):
    """A row of `overlap.agreement` for tokens, and one for cells that says otherwise."""
    facts = {"stage": "prune-ab12", "arm": "ticket", "round": 3, "level": "token", "seeds": 6, "jaccard": jaccard}
    facts |= {"expected": 0.3, "low": 0.2, "high": 0.4, "p": p} | more
    return pd.DataFrame([facts, facts | {"level": "cell", "jaccard": 0.0, "p": 1.0}])


@pytest.mark.parametrize(
    ("table", "wanted", "said"),
    [
        (beside(1.5, 0.01, 0.0, -0.2), "yes", "1 of 4 tokens are needed (1 seed; each costs 0.01 nats or more); most "
         "of all token 0 of seed 0, 1.500 nats"),
        (beside(1.5, 0.5, 0.4, None), "no", "3 of 3 tokens are needed (1 seed; each costs 0.01 nats or more)"),
        (beside(0.05, 0.01, 0.0), "inconclusive", "0 of 3 tokens are needed"),
        (beside(0.009, 0.008, width=0.001), "inconclusive", "0 of 2 tokens are needed"),
        (pd.concat([beside(1.0, 0.0), beside(0.5, 2.0, seed=1)]), "no", "1 to 2 of 2 tokens are needed (2 seeds"),
        (pd.concat([beside(0.0, 0.0, 0.0), beside(0.0, 2.0, 0.0, seed=1)]), "yes", "0 to 1 of 3 tokens"),
        (beside(None, None), "not measured", "what leaving each token out costs"),
        (beside(1.0).drop(columns="leave-one-out"), "not measured", "what leaving each token out costs"),
        (NOTHING, "not measured", "what leaving each token out costs"),
    ],
)  # fmt: skip
def test_whether_few_tokens_matter(table, wanted, said):
    found = importance_conclusions.few_matter(table)
    assert found.answer == wanted
    assert said in found.sentence


@pytest.mark.parametrize(
    ("table", "wanted", "said"),
    [
        (beside(0.5, -0.1, -0.2, negative=[1, 2], confirmed=[1]), "yes", "Leaving out 2 of 3 kept tokens, one at a "
         "time, lowers the loss on validation, 1 of them on test too (by 0.050 nats at most)."),
        (beside(-0.2, -0.1, negative=[0, 1]), "inconclusive", "lowers the loss on validation, none of them on test"),
        (beside(-0.2, -0.004, negative=[0, 1], confirmed=[1]), "hardly", "(by 0.002 nats at most): beyond chance, but"),
        (beside(0.5, -0.1), "no", "No single one of 2 kept tokens lowers the loss beyond chance"),
        (beside(0.5, negative=[0]).assign(negative=pd.NA), "not measured", "leaving each token out"),
        (NOTHING, "not measured", "leaving each token out"),
    ],
)  # fmt: skip
def test_whether_tokens_do_harm(table, wanted, said):
    found = importance_conclusions.harmful(table)
    assert found.answer == wanted
    assert said in found.sentence


ONE = (float("nan"), float("nan"), float("nan"))


@pytest.mark.parametrize(
    ("seeds", "wanted"),
    [
        ([(0.8, 0.5, 0.9)], "yes"),
        ([(0.8, -0.1, 0.9)], "inconclusive"),
        ([(0.2, -0.3, 0.4)], "no"),
        ([(0.3, 0.1, 0.45)], "hardly"),
        ([(0.8, -0.1, 0.9), (0.7, -0.2, 0.9), (0.75, 0.1, 0.9)], "yes"),  # three seeds say more than each
        ([(0.8, 0.5, 0.9), (0.2, -0.2, 0.6)], "inconclusive"),
        ([(-0.5, -0.8, -0.1), (-0.4, -0.8, 0.1), (-0.6, -0.9, -0.2)], "no"),
        ([(0.3, 0.0, 0.5), (0.32, 0.0, 0.5), (0.28, 0.0, 0.5)], "hardly"),
        ([ONE, (0.8, 0.5, 0.9)], "yes"),
        ([ONE], "not measured"),
    ],
)
@pytest.mark.parametrize("exact", ["leave-one-out", "shapley"])
@pytest.mark.parametrize("turned", [False, True])
def test_whether_gradients_rank_alike(seeds, wanted, exact, turned):
    first, second = (exact, "absolute") if turned else ("absolute", exact)
    found = importance_conclusions.gradient_agrees(agreement(*seeds, first=first, second=second), exact)
    assert found.answer == wanted


def test_the_agreement_holds_its_numbers():
    table = agreement((0.8, 0.5, 0.9), (0.6, -0.2, 0.6))
    said = importance_conclusions.gradient_agrees(table, "leave-one-out").sentence
    assert said == "Spearman 0.70 [-0.57, 1.00], Kendall 0.35 (2 seeds, 95 % interval over seeds)."
    said = importance_conclusions.gradient_agrees(agreement((0.8, 0.5, 0.9)), "leave-one-out").sentence
    assert said == "Spearman 0.80 [0.50, 0.90], Kendall 0.40 (1 seed, 95 % interval over tokens)."


def test_other_pairs_of_scores_say_nothing():
    table = agreement((0.8, 0.5, 0.9), first="absolute", second="magnitude")
    assert importance_conclusions.gradient_agrees(table, "shapley").answer == "not measured"
    assert importance_conclusions.gradient_agrees(NOTHING, "shapley").answer == "not measured"


@pytest.mark.parametrize(
    ("table", "wanted", "said"),
    [
        (overlap(), "yes", "Two of 6 seeds share 0.60 of their tokens (Jaccard); chance gives 0.30 [0.20, 0.40], "),
        (overlap(0.3, 0.5), "inconclusive", "as chance does"),
        (overlap(0.1, 0.99), "no", "less than chance"),
        (overlap(float("nan"), float("nan")), "not measured", "a second seed"),
        (NOTHING, "not measured", "a second seed"),
    ],
)  # fmt: skip
def test_whether_seeds_agree(table, wanted, said):
    found = importance_conclusions.seeds_agree(table)
    assert found.answer == wanted
    assert said in found.sentence


def test_the_study_asks_five_questions_in_order():
    found = importance_study(beside(1.5, 0.0), agreement((0.8, 0.5, 0.9)), overlap())
    assert [one.answer for one in found] == ["yes", "no", "yes", "not measured", "yes"]
    assert {one.answer for one in importance_study(NOTHING, NOTHING, NOTHING)} == {"not measured"}


def test_the_first_round_that_was_measured_is_studied():
    dense, ticket = beside(1.5, 0.0, 0.0), beside(1.0, 1.0, stage="prune-ab12", arm="ticket", round=2)
    assert "1 of 3 tokens" in importance_study(pd.concat([ticket, dense]), NOTHING, NOTHING)[0].sentence
    unmeasured = dense.assign(**{"leave-one-out": float("nan"), "negative": pd.NA})
    assert "2 of 2 tokens" in importance_study(pd.concat([unmeasured, ticket]), NOTHING, NOTHING)[0].sentence
    other = agreement((0.8, 0.5, 0.9)).assign(round=1)
    assert importance_study(dense, other, NOTHING)[2].answer == "not measured"


def test_masks_of_several_rounds_are_refused():
    with pytest.raises(DataError, match="about one round"):
        importance_study(NOTHING, NOTHING, pd.concat([overlap(), overlap(round=1)]))
