import pytest
import torch

from prunekit.analysis.subjects import KEYS, MATRICES, PromptRecord, Snapshots, centred, largest_rank, plain
from prunekit.prompts.mask import Mask

VALUES = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [3, 4, 5, 0]])
ORIGIN = torch.ones(3, 4)
# token 1 is dropped, and the first piece of token 2
MASK = Mask(torch.tensor([True, False, True]), torch.tensor([[True, True], [False, False], [False, True]]))


def subject(mask=MASK):
    return PromptRecord(dict.fromkeys(KEYS, 0), VALUES, ORIGIN * 7, ORIGIN, mask)


def test_matrices_hold_kept_tokens_and_zeros_for_dropped_pieces():
    found = subject()
    assert found.matrix("values").tolist() == [[1, 2, 3, 4], [0, 0, 5, 0]]
    assert found.matrix("change").tolist() == [[0, 1, 2, 3], [0, 0, 4, -1]]
    assert found.matrix("start").tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]  # of the origin, not of the round's start
    assert found.matrix("values").dtype == torch.float64


def test_centring_takes_the_mean_of_what_is_kept():
    assert subject().matrix("values centred").tolist() == [[0, 0, -1, 2], [0, 0, 1, -2]]
    full = subject(Mask.full(3, 2)).matrix("change centred")
    assert full.mean(dim=0).abs().max() < 1e-12
    batch = torch.stack([VALUES, 2 * VALUES])
    assert torch.allclose(centred(batch, torch.ones(3, 4))[1], 2 * centred(VALUES, torch.ones(3, 4)))


def test_dropped_rows_take_no_singular_value_away():
    whole = torch.zeros(3, 4, dtype=torch.float64)
    whole[[0, 2]] = subject().matrix("values")
    assert torch.allclose(torch.linalg.svdvals(whole)[:2], torch.linalg.svdvals(subject().matrix("values")))


def test_the_largest_rank_counts_what_centring_takes():
    assert largest_rank(torch.ones(3, 8), "values") == 3
    assert largest_rank(torch.ones(3, 8), "values centred") == 2
    assert largest_rank(torch.ones(8, 3), "values centred") == 3
    assert largest_rank(torch.ones(8, 8), "change centred") == 7


def test_an_unknown_matrix_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="values, change, start"):
        subject().matrix("value")
    assert all(subject().matrix(name).shape == (2, 4) for name in MATRICES)


def test_a_snapshot_is_a_subject_whose_origin_is_the_first_one():
    made = Snapshots(dict.fromkeys(KEYS, 0), {10: VALUES, 0: ORIGIN})
    assert made.at(10).matrix("change").tolist() == (VALUES - 1).tolist()
    assert made.at(0).matrix("change").abs().max() == 0


def test_plain_values_have_keys_and_start_at_zero():
    made = plain(VALUES, keys={"seed": 3})
    assert tuple(made.keys) == KEYS
    assert (made.keys["seed"], made.keys["run"]) == (3, "")
    assert torch.equal(made.matrix("change"), VALUES.double())
