import math

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunekit.prompts.mask import Mask
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep, Schedule
from prunekit.pruning.scores import Scores
from prunekit.support.errors import DivergedError


def scores(token, piece) -> Scores:
    return Scores(torch.tensor(token), torch.tensor(piece), examples=1)


def equal(tokens, pieces) -> Scores:
    return Scores(torch.zeros(tokens), torch.zeros(tokens, pieces), examples=1)


def test_the_lowest_tokens_go_then_the_lowest_pieces_of_each_survivor():
    given = scores([3.0, 1.0, 2.0], [[1.0, 9.0, 5.0], [9.0, 9.0, 9.0], [7.0, 2.0, 3.0]])
    assert tiny.rows_of(prune_mask(Mask.full(3, 3), given, Keep(2, 2))) == ["011", "000", "101"]


def test_frozen_tokens_stay_whole_whatever_their_scores_and_count_among_the_kept():
    worst_first = scores([-1.0, 1.0, 2.0, 3.0], [[0.0, 0.0], [1.0, 2.0], [2.0, 1.0], [1.0, 2.0]])
    once = prune_mask(Mask.full(4, 2), worst_first, Keep(3, 1), frozen=1)
    assert tiny.rows_of(once) == ["11", "00", "10", "01"]
    assert tiny.rows_of(prune_mask(once, worst_first, Keep(2, 1), frozen=1)) == ["11", "00", "00", "01"]
    with pytest.raises(ValueError, match="asked to keep 2 tokens, of which 2 are frozen"):
        prune_mask(Mask.full(4, 2), worst_first, Keep(2, 1), frozen=2)


def test_pieces_are_ranked_within_their_token_never_across():
    given = scores([1.0, 1.0], [[100.0, 99.0], [0.1, 0.2]])
    assert tiny.rows_of(prune_mask(Mask.full(2, 2), given, Keep(2, 1))) == ["10", "01"]


@pytest.mark.parametrize("keep", range(1, 21))
def test_equal_scores_keep_exactly_what_was_asked_the_lowest_places(keep):
    made = prune_mask(Mask.full(20, 16), equal(20, 16), Keep(keep, 3))
    assert made.token.nonzero().flatten().tolist() == list(range(keep))
    assert tiny.rows_of(made)[0] == "111" + "0" * 13
    assert made.cells == 3 * keep


def test_ties_go_to_the_lower_index():
    given = scores([2.0, 1.0, 2.0, 2.0], [[1.0, 1.0]] * 4)
    assert tiny.rows_of(prune_mask(Mask.full(4, 2), given, Keep(2, 1))) == ["10", "00", "10", "00"]


def test_one_token_and_one_piece_can_be_left():
    one = prune_mask(Mask.full(3, 2), scores([0.0, 0.0, 1.0], [[0.0, 1.0]] * 3), Keep(1, 1))
    assert tiny.rows_of(one) == ["00", "00", "01"]
    assert prune_mask(one, equal(3, 2), Keep(1, 1)) == one


def test_keeping_everything_changes_nothing():
    assert prune_mask(Mask.full(3, 4), equal(3, 4), Keep(3, 4)) == Mask.full(3, 4)


def test_nothing_is_revived_however_high_its_score():
    mask = prune_mask(Mask.full(3, 2), scores([0.0, 1.0, 1.0], [[0.0, 1.0]] * 3), Keep(2, 1))
    assert tiny.rows_of(mask) == ["00", "01", "01"]
    again = scores([1e9, 2.0, 1.0], [[1e9, 1.0]] * 3)
    assert tiny.rows_of(prune_mask(mask, again, Keep(1, 1))) == ["00", "01", "00"]


def test_a_mask_with_more_pieces_on_one_token_is_levelled():
    piece = torch.tensor([[True, True, True], [True, False, True]])
    mask = Mask(piece.any(dim=1), piece)
    assert tiny.rows_of(prune_mask(mask, equal(2, 3), Keep(2, 2))) == ["110", "101"]


@pytest.mark.parametrize("keep", [Keep(0, 1), Keep(1, 0), Keep(-1, 1), Keep(4, 1), Keep(1, 3)])
def test_keeping_nothing_or_more_than_is_left_is_refused(keep):
    with pytest.raises(ValueError, match="keep"):
        prune_mask(Mask.full(3, 2), equal(3, 2), keep)


def test_more_than_is_left_after_a_round_is_refused():
    mask = prune_mask(Mask.full(4, 4), equal(4, 4), Keep(2, 2))
    with pytest.raises(ValueError, match="asked to keep 3, only 2 are left"):
        prune_mask(mask, equal(4, 4), Keep(3, 2))
    with pytest.raises(ValueError, match="asked to keep 3, only 2 are left"):
        prune_mask(mask, equal(4, 4), Keep(2, 3))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\[3, 2\].*\[2, 3\]"):
        prune_mask(Mask.full(2, 3), equal(3, 2), Keep(1, 1))
    for token, piece in (([1.0], [[1.0], [2.0]]), ([[1.0]] * 4, [[1.0, 1.0]] * 4), ([1.0] * 4, [1.0] * 4)):
        with pytest.raises(ValueError, match=r"want token \[P\]"):
            scores(token, piece)


def test_nan_of_a_kept_cell_is_refused_and_of_a_dropped_one_ignored():
    nan = math.nan
    for broken in (scores([nan, 1.0], [[1.0], [1.0]]), scores([1.0, 1.0], [[1.0], [nan]])):
        with pytest.raises(DivergedError, match="NaN"):
            prune_mask(Mask.full(2, 1), broken, Keep(1, 1))
    dropped = Mask(torch.tensor([False, True]), torch.tensor([[False, False], [True, False]]))
    assert prune_mask(dropped, scores([nan, 1.0], [[nan, nan], [1.0, nan]]), Keep(1, 1)) == dropped


def test_minus_infinity_is_a_score_like_any_other():
    low = -math.inf
    made = prune_mask(Mask.full(3, 2), scores([low, 0.0, low], [[low, low], [low, 0.0], [0.0, low]]), Keep(2, 1))
    assert tiny.rows_of(made) == ["10", "01", "00"]
    assert prune_mask(Mask.full(2, 2), scores([low, low], [[low, low]] * 2), Keep(1, 1)).cells == 1


def test_the_inputs_are_left_alone():
    mask, given = Mask.full(3, 2), scores([1.0, 2.0, 3.0], [[1.0, 2.0]] * 3)
    prune_mask(mask, given, Keep(1, 1))
    assert mask == Mask.full(3, 2)
    assert given.token.tolist() == [1.0, 2.0, 3.0]


def test_iterating_to_the_end_never_empties_the_mask():
    mask = Mask.full(20, 16)
    for left in range(19, 0, -1):
        mask = prune_mask(mask, equal(20, 16), Keep(left, max(1, left - 3)))
        assert mask.tokens == left
    for _ in range(3):
        mask = prune_mask(mask, equal(20, 16), Keep(1, 1))
    assert (mask.tokens, mask.cells) == (1, 1)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 4), st.data())
def test_every_round_keeps_exact_counts_and_masks_are_nested(tokens, pieces, rounds, data):
    last = Keep(data.draw(st.integers(1, tokens)), data.draw(st.integers(1, pieces)))
    mask = Mask.full(tokens, pieces)
    numbers = st.sampled_from([0.0, 1.0, -1.0, 0.5, -math.inf, math.inf])  # few values, so that ties are common
    for keep in Schedule.geometric(rounds, last.tokens, last.pieces).keeps(tokens, pieces):
        token = torch.tensor(data.draw(st.lists(numbers, min_size=tokens, max_size=tokens)))
        row = st.lists(numbers, min_size=pieces, max_size=pieces)
        given = Scores(token, torch.tensor(data.draw(st.lists(row, min_size=tokens, max_size=tokens))), 1)
        after = prune_mask(mask, given, keep)
        assert after <= mask
        assert after.tokens == keep.tokens
        assert set(after.piece.sum(dim=1).tolist()) <= {0, keep.pieces}
        dropped = mask.token & ~after.token
        if dropped.any():  # no dropped token was better than a kept one
            assert given.token[dropped].max() <= given.token[after.token].min()
        mask = after
