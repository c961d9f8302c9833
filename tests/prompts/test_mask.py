import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunekit.prompts.mask import Mask, piece_width
from prunekit.support.errors import ConfigError


def mask(*rows: str) -> Mask:
    """Rows such as "110": the pieces of each token."""
    piece = torch.tensor([[letter == "1" for letter in row] for row in rows])
    return Mask(piece.any(dim=1), piece)


def test_a_full_mask_keeps_everything():
    full = Mask.full(3, 4)
    assert (full.tokens, full.cells, full.density) == (3, 12, 1.0)
    assert full.expand(8).all()
    assert full.expand(8).shape == (3, 8)


def test_counts_and_density_by_hand():
    some = mask("110", "000", "001", "111")
    assert (some.tokens, some.cells, some.density) == (3, 6, 0.5)


def test_a_piece_is_a_contiguous_slice():
    assert mask("10", "01").expand(6).int().tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]


def test_masks_refuse_what_is_no_mask():
    yes = torch.ones(2, dtype=torch.bool)
    with pytest.raises(ValueError, match="boolean"):
        Mask(torch.ones(2), torch.ones(2, 2))
    with pytest.raises(ValueError, match="boolean"):
        Mask(yes, torch.ones(2, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\[3, 2\]"):
        Mask(yes, torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="want token"):
        Mask(yes[None], torch.ones(1, 2, dtype=torch.bool))


def test_no_piece_survives_its_token_and_no_token_its_pieces():
    with pytest.raises(ValueError, match="kept piece"):
        Mask(torch.tensor([True, False]), torch.tensor([[True], [True]]))
    with pytest.raises(ValueError, match="kept piece"):
        Mask(torch.tensor([True, True]), torch.tensor([[True], [False]]))


def test_nested():
    small, large, other = mask("10", "00"), mask("10", "01"), mask("01", "01")
    assert small <= large
    assert large <= large
    assert not large <= small
    assert not small <= other


def test_equality_and_hash_follow_the_content():
    one, same, other = mask("10", "11"), mask("10", "11"), mask("11", "11")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert len({one, same, other}) == 2
    assert one != "10"
    assert mask("11") != mask("1", "1")
    assert len({hash(mask(row)) for row in ("1000", "0100", "0010", "0001")}) == 4


def test_masks_are_frozen():
    with pytest.raises(AttributeError):
        Mask.full(2, 2).token = torch.zeros(2, dtype=torch.bool)


@pytest.mark.parametrize(("width", "pieces", "size"), [(384, 16, 24), (64, 16, 4), (8, 8, 1), (8, 1, 8)])
def test_the_width_of_a_piece(width, pieces, size):
    assert piece_width(width, pieces) == size


@pytest.mark.parametrize(("pieces", "most"), [(5, 64), (0, 64), (-2, 64), (65, 64), (8, 4)])
def test_pieces_that_do_not_divide_the_width_are_refused_with_those_that_do(pieces, most):
    fitting = ", ".join(str(2**power) for power in range(most.bit_length()))
    width = {64: 64, 4: 12}[most]
    with pytest.raises(ConfigError, match=rf"pieces = {pieces} .*width {width}; use one of {fitting}$"):
        piece_width(width, pieces)


@given(st.integers(1, 6).flatmap(lambda k: st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1)))
def test_expansion_repeats_each_piece_and_counts_agree(rows):
    piece = torch.tensor(rows)
    made = Mask(piece.any(dim=1), piece)
    wide = made.expand(3 * piece.shape[1])
    assert int(wide.sum()) == 3 * made.cells == 3 * sum(map(sum, rows))
    assert torch.equal(wide[:, ::3], piece)
    assert torch.equal(wide[:, 2::3], piece)


def test_the_complement_keeps_exactly_what_was_dropped():
    piece = torch.tensor([[True, False, True], [True, True, True], [False, False, False]])
    mask = ~Mask(piece.any(dim=1), piece)
    assert mask.piece.tolist() == [[False, True, False], [False, False, False], [True, True, True]]
    assert mask.token.tolist() == [True, False, True]
    assert (~Mask.full(2, 3)).tokens == 0
