import numpy as np
import pytest
import torch

from prunekit.analysis import nulls
from prunekit.analysis.subjects import KEYS, PromptRecord, plain
from prunekit.prompts.mask import Mask
from prunekit.support.seeding import generator


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator("test nulls", seed), dtype=torch.float64)


def drawn(null, subject, name="values", draws=20, seed=0, starts=None):
    return nulls.singular_values(null, subject, name, draws=draws, seed=seed, starts=starts)


def holed(values, seed=0):
    """A subject without its last token and with one piece of four dropped in every other token."""
    tokens = len(values)
    piece = torch.ones(tokens, 4, dtype=torch.bool)
    for row in range(tokens - 1):
        piece[row, (row + seed) % 4] = row % 2 == 0
    piece[-1] = False
    return PromptRecord(dict.fromkeys(KEYS, 0), values, values, torch.zeros_like(values), Mask(piece.any(dim=1), piece))


@pytest.mark.parametrize("null", nulls.NOISE)
@pytest.mark.parametrize("make", [plain, holed])
def test_a_null_has_the_shape_is_seeded_and_falls(null, make):
    subject = make(randn(9, 16))
    one = drawn(null, subject)
    assert one.shape == (20, min(subject.matrix("values").shape))
    assert bool((one.diff(dim=1) <= 0).all())
    assert torch.equal(one, drawn(null, subject))
    assert not torch.allclose(one, drawn(null, subject, seed=1))


@pytest.mark.parametrize("null", ["rows shuffled", "columns shuffled"])
@pytest.mark.parametrize("make", [plain, holed])
def test_a_shuffle_keeps_the_entries(null, make):
    subject = make(randn(9, 16))
    energy = subject.matrix("values").square().sum()
    assert torch.allclose(drawn(null, subject).square().sum(dim=1), energy.expand(20))


def test_a_shuffle_keeps_what_its_name_says():
    token = randn(1, 32)
    equal_rows = plain(token.repeat(6, 1))  # permuting columns of equal entries changes nothing
    assert torch.allclose(drawn("columns shuffled", equal_rows)[:, 0], token.norm() * 6**0.5)
    assert drawn("rows shuffled", equal_rows)[:, 0].max() < 0.9 * token.norm() * 6**0.5
    equal_columns = plain(randn(6, 1).repeat(1, 32))
    assert drawn("rows shuffled", equal_columns)[:, 1].max() < 1e-6
    assert drawn("columns shuffled", equal_columns)[:, 1].min() > 0.1


def test_shuffles_move_every_row_by_itself_and_fill_no_hole():
    subject = holed(torch.arange(1.0, 1 + 5 * 8).view(5, 8))
    for null, axis in (("rows shuffled", 1), ("columns shuffled", 0)):
        matrix = subject.matrix("values")
        (block,) = nulls._shuffled(null, matrix.numpy(), subject.keep.numpy(), 3, 0)
        assert not torch.equal(block[0], block[1])
        for one in block:
            assert bool((one[~subject.keep] == 0).all())
            assert torch.equal(one.sort(dim=axis).values, matrix.sort(dim=axis).values)


def test_gaussian_noise_wears_the_mask():
    full, masked = drawn("gaussian", plain(randn(8, 16)), draws=200), drawn("gaussian", holed(randn(9, 16)), draws=200)
    kept = int(holed(randn(9, 16)).keep.sum())
    assert full.square().sum(dim=1).mean() == pytest.approx(8 * 16, rel=0.05)
    assert masked.square().sum(dim=1).mean() == pytest.approx(kept, rel=0.05)


def test_shuffles_are_made_once_for_a_matrix():
    one, other = plain(randn(7, 9)), plain(randn(7, 9, seed=1))
    assert drawn("rows shuffled", one) is drawn("rows shuffled", plain(randn(7, 9)))
    assert drawn("rows shuffled", one) is not drawn("rows shuffled", other)
    assert drawn("rows shuffled", one) is not drawn("rows shuffled", one, "values centred")


def test_gaussian_noise_is_drawn_once_for_a_shape():
    assert drawn("gaussian", plain(randn(7, 9))) is drawn("gaussian", plain(randn(7, 9, seed=1)))


@pytest.mark.parametrize("null", [*nulls.NOISE, nulls.INITIALISATION])
def test_a_centred_null_has_lost_a_direction(null):
    subject = plain(randn(6, 20) + 3)
    found = drawn(null, subject, "values centred", starts=lambda count: randn(count, 6, 20))
    assert found[:, 5].max() < 1e-6
    assert found[:, 4].min() > 0.1


def test_starts_stand_for_values_and_their_differences_for_change():
    given = torch.stack([torch.full((3, 4), float(number)) for number in range(1, 9)])
    asked = []

    def starts(count):
        asked.append(count)
        return given[:count]

    subject = plain(randn(3, 4))
    size = 12**0.5
    values = drawn("initialisation", subject, draws=4, starts=starts)
    assert values[:, 0].tolist() == pytest.approx([size * number for number in (1, 2, 3, 4)])
    change = drawn("initialisation", subject, "change", draws=4, starts=starts)
    assert change[:, 0].tolist() == pytest.approx([4 * size] * 4)  # start i less start 4 + i
    assert asked == [4, 8]


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ValueError, match="needs `starts`"):
        drawn("initialisation", plain(randn(3, 4)))
    with pytest.raises(ValueError, match="gaussian, rows shuffled, columns shuffled, initialisation"):
        drawn("noise", plain(randn(3, 4)))


@pytest.mark.parametrize("shape", [(7, 30), (30, 7), (5, 5)])
def test_the_quick_way_agrees_with_a_decomposition(shape):
    matrices = randn(4, *shape)
    assert torch.allclose(nulls._by_gram(matrices), torch.linalg.svdvals(matrices), rtol=1e-10)


def test_p_counts_the_observed_value_and_ties():
    null = np.array([1.0, 2, 3, 4])
    assert [nulls.as_low(value, null) for value in (0.5, 2, 9)] == [0.2, 0.6, 1.0]
    assert [nulls.as_high(value, null) for value in (0.5, 2, 9)] == [1.0, 0.8, 0.2]
    low, median, high = nulls.band(np.arange(101.0))
    assert (low, median, high) == (2.5, 50, 97.5)
