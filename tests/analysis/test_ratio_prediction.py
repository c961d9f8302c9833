"""Ratios that are predicted from a few trials: planted curves, and a regression by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from prunekit.analysis import tables
from prunekit.analysis.ratio_prediction import COLUMNS, predict
from prunekit.analysis.tables.kept_shares import _score_share
from prunekit.prompts.mask import Mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Scores
from prunekit.runs import round_files
from prunekit.runs.paths import RunKey, Stage

GOLDEN = Path(__file__).parents[1] / "golden" / "0.1.0" / "run"
SHARES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def grid(validation, steps=10, seed=0):
    """Ten trials of one piece, in the order of their tokens, and what they keep."""
    keys = {"seed": seed, "tokens": range(1, 11), "pieces": 1}
    return pd.DataFrame({**keys, "validation": validation, "steps": steps}), pd.DataFrame({**keys, "score": SHARES})


def only(table):
    (row,) = table.to_dict("records")
    return row


def test_a_curve_that_is_straight_between_the_trained_trials_is_known_without_the_grid():
    row = only(predict(*grid([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.7, 0.8, 0.9]), by=["score"]))
    assert list(row) == list(COLUMNS)
    assert (row["trained"], row["updates"], row["full_updates"], row["saving"]) == (5, 50, 100, 0.5)
    assert (row["tokens"], row["full_tokens"], row["regret"]) == (10, 10, 0)
    # trained were 1, 4, 7 and 10 tokens; between 7 and 10 the line is 0.4, 0.567, 0.733, 0.9
    assert row["error"] == pytest.approx((0.0 * 4 + (0.7 - 0.4 - 0.5 / 3) + (0.8 - 0.4 - 1 / 3)) / 6)


def test_of_equals_the_smallest_is_chosen_and_the_last_trial_goes_where_most_is_promised():
    row = only(predict(*grid([0.1, 0.2, 0.3, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]), by=["score"]))
    assert (row["tokens"], row["full_tokens"], row["regret"], row["error"]) == (4, 4, 0, pytest.approx(0.4 / 6))


def test_a_peak_that_no_trained_trial_shows_is_regretted():
    row = only(predict(*grid([*[0.5] * 5, 0.9, *[0.5] * 4]), by=["score"], most=3))
    assert (row["tokens"], row["full_tokens"]) == (1, 6)
    assert row["regret"] == pytest.approx(0.4)


def test_a_fall_is_evened_out_as_isotonic_regression_has_it():
    """Trained at 1, 4, 7 and 10: 0.2, 0.8, 0.4 and 0.6 become 0.2, 0.6, 0.6 and 0.6, so that 5 promises most."""
    row = only(predict(*grid([0.2, 0, 0, 0.8, 0.9, 0, 0.4, 0, 0, 0.6]), by=["score"]))
    assert (row["tokens"], row["regret"]) == (5, 0)
    predicted = np.array([0.2 + 0.4 / 3, 0.2 + 0.8 / 3, 0.6, 0.6, 0.6, 0.6])
    assert row["error"] == pytest.approx(np.abs(predicted - [0, 0, 0.9, 0, 0, 0]).mean())


def test_seeds_are_apart_and_few_trials_are_all_trained():
    (trials, kept), (others, more) = grid(SHARES), grid(SHARES[::-1], seed=1)
    table = predict(pd.concat([trials, others[:3]]), pd.concat([more, kept]), by=["score"])
    assert table["seed"].tolist() == [0, 1]
    last = table.iloc[1]
    assert (last["trained"], last["saving"], last["regret"], last["tokens"]) == (3, 0, 0, 1)
    assert np.isnan(last["error"])


def test_one_trial_is_no_prediction():
    with pytest.raises(ValueError, match="at least 2"):
        predict(*grid(SHARES), most=1)


def test_what_trials_keep_of_scores_and_directions_by_hand():
    """Of a stored search: the dense prompt's own scores and values, entry by entry."""
    run, stage = tables.opened(GOLDEN), "search-305e"
    table = tables.kept_shares(run, stage)
    assert list(table.columns) == list(tables.KEPT_SHARES)
    trials = tables.trials(run, stage)
    assert len(table) == len(trials) == 4
    for row in table.to_dict("records"):
        key = RunKey(Stage(stage).trial(Keep(row["tokens"], row["pieces"])), row["seed"], 1)
        dense, mask = RunKey(Stage(), row["seed"], 0), round_files.starting_ticket(run, key).mask
        scores = round_files.load_scores(run, dense)["absolute"]
        kept = mask.token.nonzero().flatten().tolist()
        share = sum(float(scores.token[index]) for index in kept) / sum(scores.token.tolist())
        assert row["score"] == pytest.approx(share)  # these keep all pieces
        assert row["density"] == pytest.approx(mask.density)
        values = round_files.kept_values(run, dense).state["values"].double().numpy()
        ranks = []
        for matrix in (values, values[kept]):
            parts = np.linalg.svd(matrix, compute_uv=False)
            parts = parts / parts.sum()
            ranks.append(np.exp(-(parts * np.log(parts)).sum()))
        assert row["rank"] == pytest.approx(ranks[1] / ranks[0])


def test_the_whole_prompt_keeps_all_and_pieces_count_in_kept_tokens():
    scores = Scores(torch.tensor([3.0, 1.0, -5.0]), torch.tensor([[2.0, 1.0], [1.0, 0.0], [9.0, 9.0]]), 1)
    assert _score_share(scores, Mask.full(3, 2)) == 1
    mask = Mask(torch.tensor([True, False, False]), torch.tensor([[True, False], [False] * 2, [False] * 2]))
    assert _score_share(scores, mask) == pytest.approx(3 / 4 * 2 / 3)
