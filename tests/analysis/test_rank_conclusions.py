"""Every branch of what the rank study may conclude, each reached by a table that was made for it."""

import math
from itertools import product

import pandas as pd
import pytest

from prunekit.analysis import rank_conclusions
from prunekit.analysis.rank_conclusions import MATRICES, rank_study
from prunekit.support.errors import DataError

NOTHING = pd.DataFrame()


def verdict(matrix, null="noise", answer="yes", **more):
    """A row of `ranks.verdicts` of six seeds that leads to an answer."""
    value = {"yes": 4.0, "hardly": 9.0, "inconclusive": 7.0, "no": 9.9}[answer]
    low = answer in ("yes", "hardly")
    facts = {"stage": "", "arm": "dense", "round": 0, "matrix": matrix, "measure": "entropy", "null": null, "seeds": 6}
    facts |= {"called": 6 if low else 0, "value": value, "median": 10.0, "share": value / 10}
    return facts | {"p": 1e-6 if low else 0.3, "low_rank": low} | more


def verdicts(change="yes", values="yes", start="no"):
    return pd.DataFrame(
        [
            verdict("values", answer=values),
            verdict("values centred", answer=values),
            verdict("change", answer=change),
            verdict("values", null="initialisation", answer=start),
        ]
    )


def functional(*ranks, of="change", directions="singular", full=20):
    """Rows of `functional.ranks`, one a seed, at each criterion; only those of the loss decide."""
    base = {"stage": "", "arm": "dense", "round": 0, "of": of, "directions": directions, "full": full}
    return pd.DataFrame(
        [
            base | {"seed": seed, "criterion": name, "tolerance": 0.01, "rank": rank if name == "loss" else full}
            for seed, rank in enumerate(ranks)
            for name in ("loss", "metric")
        ]
    )


def test_each_seed_s_rank_is_a_share_of_its_own_tokens():
    table = pd.concat([functional(4, full=8), functional(5, full=20).assign(seed=1)])
    said = rank_conclusions.functional_rank(table, "change")
    assert said.answer == "inconclusive"


def shuffled(answer="yes", **more):
    """A row of `ranks.groups`."""
    facts = {"matrix": "change", "measure": "entropy", "seeds": 6, "control_seeds": 6, "value": 5.0}
    facts |= {"control_value": 9.0 if answer != "no" else 4.0, "smallest_p": 1 / 924, "low_rank": answer == "yes"}
    facts |= {"p": 0.002 if answer == "yes" else 0.4}
    return pd.DataFrame([facts | {"difference": facts["value"] - facts["control_value"]} | more])


def answer(found, question):
    (one,) = (conclusion for conclusion in found if question in conclusion.question)
    return one


# ---- single questions


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("wanted", ["yes", "hardly", "no", "inconclusive"])
def test_a_matrix_against_noise(matrix, wanted):
    found = rank_conclusions.lower_than_noise(pd.DataFrame([verdict(matrix, answer=wanted)]), matrix)
    assert found.answer == wanted
    assert "mean of 6 seeds" in found.sentence
    assert "of the 10.00 of noise of its shape" in found.sentence
    assert ("beyond chance, but of no size" in found.sentence) == (wanted == "hardly")


def test_a_change_that_is_zero_has_no_rank():
    row = verdict("change", value=0.0, share=math.nan, p=math.nan, low_rank=False)
    assert rank_conclusions.lower_than_noise(pd.DataFrame([row]), "change").answer == "not measured"


def test_the_sentence_holds_the_numbers_of_the_table():
    row = verdict("change", value=7.25, median=14.5, share=0.5, called=5, p=0.0042)
    said = rank_conclusions.lower_than_noise(pd.DataFrame([row]), "change").sentence
    assert said == (
        "The change from its start has entropy rank 7.25 (mean of 6 seeds), 50.0% of the 14.50 of noise of its shape; "
        "lower in 5 of 6 seeds, p = 0.0042 over all."
    )


@pytest.mark.parametrize(
    ("values", "start", "wanted", "said"),
    [
        ("yes", "no", "yes", "The start is of as low a rank, or nearly"),
        ("yes", "hardly", "yes", "The start is of as low a rank, or nearly"),
        ("yes", "yes", "no", "Training took the rank well below that of its start"),
        ("hardly", "yes", "no", "There is nothing to explain"),
        ("yes", "inconclusive", "inconclusive", "The start may explain it"),
        ("no", "no", "no", "There is nothing to explain"),
        ("inconclusive", "yes", "no", "There is nothing to explain"),
    ],
)
def test_whether_the_start_explains_it(values, start, wanted, said):
    found = rank_conclusions.explained_by_start(verdicts(values=values, start=start))
    assert found.answer == wanted
    assert said in found.sentence


def test_the_start_is_judged_without_noise_too():
    found = rank_conclusions.explained_by_start(pd.DataFrame([verdict("values", "initialisation", "no")]))
    assert found.answer == "yes"


@pytest.mark.parametrize(
    ("row", "wanted", "said"),
    [
        (shuffled("yes"), "yes", "the task makes it low"),
        (shuffled("no"), "no", "training on shuffled labels ends as low"),
        (shuffled("inconclusive"), "inconclusive", "p = 0.4."),
        (shuffled("inconclusive", smallest_p=0.05), "inconclusive", "so few seeds cannot go below 0.05."),
    ],
)
def test_against_shuffled_labels(row, wanted, said):
    found = rank_conclusions.lower_than_shuffled(row)
    assert found.answer == wanted
    assert said in found.sentence


@pytest.mark.parametrize("of", ["values", "change"])
@pytest.mark.parametrize(
    ("ranks", "wanted", "said"),
    [
        ((1, 5), "yes", "1 to 5 of 20 directions keep the loss within 0.01 (2 seeds): at most 25%"),
        ((6, 20), "no", "6 to 20 of 20 directions keep the loss within 0.01 (2 seeds): more than 25%"),
        ((5, 6), "inconclusive", "the seeds lie on both sides of 25%"),
        ((0, 0), "inconclusive", "No direction is needed at all"),
        ((0, 2), "yes", "0 to 2 of 20 directions"),
        ((math.nan, 3), "yes", "3 of 20 directions keep the loss within 0.01 (1 seed)"),
        ((math.nan, math.nan), "not measured", "Not measured: the functional rank"),
    ],
)
def test_functional_rank(of, ranks, wanted, said):
    found = rank_conclusions.functional_rank(functional(*ranks, of=of), of)
    assert found.answer == wanted
    assert said in found.sentence


def test_what_no_direction_does_depends_on_what_is_cut():
    said = {of: rank_conclusions.functional_rank(functional(0, of=of), of).sentence for of in ("values", "change")}
    assert "the prompt changes nothing here" in said["values"]
    assert "training changed nothing that the loss sees" in said["change"]


def test_random_directions_are_named_beside():
    both = pd.concat([functional(2), functional(15, 18, directions="random")])
    found = rank_conclusions.functional_rank(both, "change")
    assert found.answer == "yes"
    assert "random directions need 15 to 18" in found.sentence


# ---- the claim as a whole


@pytest.mark.parametrize(
    ("change", "used", "groups", "wanted", "said"),
    [
        ("yes", (2, 3), shuffled("yes"), "yes", "confirmed, and due to the task"),
        ("yes", (2, 3), shuffled("no"), "yes", "due to training rather than to the task"),
        ("yes", (2, 3), shuffled("inconclusive"), "yes", "confirmed as far as it goes"),
        ("yes", (2, 3), NOTHING, "yes", "confirmed as far as it goes"),
        ("yes", (12, 13), NOTHING, "no", "refuted where it counts"),
        ("no", (12, 13), NOTHING, "no", "refuted on this run"),
        ("no", (5, 6), NOTHING, "no", "not confirmed"),
        ("hardly", (5, 6), NOTHING, "no", "not confirmed"),
        ("inconclusive", (12, 13), NOTHING, "no", "refuted on this run"),
        ("hardly", (12, 13), NOTHING, "no", "refuted on this run"),
        ("no", (2, 3), NOTHING, "hardly", "low in use alone"),
        ("hardly", (2, 3), NOTHING, "hardly", "low in use alone"),
        ("inconclusive", (2, 3), NOTHING, "inconclusive", "missing or undecided"),
        ("inconclusive", (5, 6), NOTHING, "inconclusive", "missing or undecided"),
        ("yes", (5, 6), NOTHING, "inconclusive", "missing or undecided"),
        ("yes", (0, 0), NOTHING, "inconclusive", "missing or undecided"),
        ("yes", (), NOTHING, "inconclusive", "missing or undecided"),
    ],
)
def test_the_claim(change, used, groups, wanted, said):
    found = rank_study(verdicts(change), functional(*used) if used else NOTHING, groups)
    assert found[-1].question == "Is the learned prompt of low rank?"
    assert found[-1].answer == wanted
    assert said in found[-1].sentence


def test_every_combination_has_an_answer():
    ranks = {"yes": (2,), "no": (15,), "inconclusive": (5, 6), "not measured": ()}
    controls = {"yes": shuffled("yes"), "no": shuffled("no"), "not measured": NOTHING}
    for change, used, control in product(("yes", "hardly", "no", "inconclusive"), ranks, controls):
        rows = functional(*ranks[used]) if ranks[used] else NOTHING
        found = rank_study(verdicts(change), rows, controls[control])
        assert answer(found, "Is the change from its start of lower rank").answer == change
        assert answer(found, "functional rank of the change").answer == used
        assert answer(found, "shuffled labels").answer == control
        assert found[-1].answer in ("yes", "hardly", "no", "inconclusive")


def test_nothing_measured_is_said_to_be_so():
    found = rank_study(NOTHING, NOTHING, NOTHING)
    assert {one.answer for one in found[:-1]} == {"not measured"}
    assert found[-1].answer == "inconclusive"


def test_tables_of_several_prompts_are_refused():
    two = pd.concat([verdicts(), verdicts().assign(round=1)])
    with pytest.raises(DataError, match="about one round"):
        rank_study(two, NOTHING, NOTHING)
    with pytest.raises(DataError, match="2 rows for matrix change"):
        rank_study(verdicts(), NOTHING, pd.concat([shuffled(), shuffled()]))
