import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunekit.pruning.schedule import Keep, Schedule, target
from prunekit.support.errors import ConfigError

# tokens 20 -> 5: 20 * 4**(-1/3) = 12.60, 20 * 4**(-2/3) = 7.94; pieces 16 -> 8: 12.70, 10.08
DEFAULT = [(13, 13), (8, 10), (5, 8)]


@pytest.mark.parametrize(("rounds", "tokens", "pieces", "keeps"), [
    (3, 0.25, 0.5, DEFAULT),
    (3, 5, 8, DEFAULT),  # a fraction and the count that it stands for agree
    (1, 1, 1, [(1, 1)]),  # one is a count
    (1, 1.0, 1.0, [(20, 16)]),  # and 1.0 is everything
    (1, 0.3, 0.5, [(6, 8)]),  # one round is one shot
    (0, 0.5, 0.5, []),
])  # fmt: skip
def test_schedules_by_hand(rounds, tokens, pieces, keeps):
    assert Schedule.geometric(rounds, tokens, pieces).keeps(20, 16) == tuple(Keep(*pair) for pair in keeps)


def test_half_is_rounded_up():
    assert target(0.25, 10, "keep_tokens", "tokens") == 3
    assert target(0.5, 5, "keep_tokens", "tokens") == 3


@pytest.mark.parametrize("keep", [0, -1, 21, 0.0, 0.02, 1.1, 1.02, -0.5, float("nan"), float("inf")])
def test_a_count_of_nothing_or_of_more_than_there_is_is_refused(keep):
    with pytest.raises(ConfigError, match="keep_tokens = "):
        Schedule.geometric(2, keep, 0.5).keeps(20, 16)


@given(st.integers(1, 8), st.integers(1, 200), st.integers(1, 64), st.data())
def test_counts_never_rise_and_end_on_the_target(rounds, tokens, pieces, data):
    last_tokens, last_pieces = data.draw(st.integers(1, tokens)), data.draw(st.integers(1, pieces))
    keeps = Schedule.geometric(rounds, last_tokens, last_pieces).keeps(tokens, pieces)
    assert len(keeps) == rounds
    assert keeps[-1] == Keep(last_tokens, last_pieces)
    for before, after in zip((Keep(tokens, pieces), *keeps), keeps, strict=False):
        assert before.tokens >= after.tokens >= last_tokens
        assert before.pieces >= after.pieces >= last_pieces


@given(st.integers(1, 300), st.floats(1e-6, 1.0))
def test_a_fraction_is_rounded_to_the_nearest_count_or_refused(whole, fraction):
    try:
        count = target(fraction, whole, "keep_tokens", "tokens")
    except ConfigError:
        assert fraction * whole < 0.5
    else:
        assert abs(count - fraction * whole) <= 0.5


@pytest.mark.parametrize(("tokens", "pieces", "said"), [
    (9, 2, "keep_tokens = 9 keeps 9 of 4 tokens; "),
    (2, 0, "keep_pieces = 0 keeps 0 of 4 pieces; "),
    (2, 17, "keep_pieces = 17 keeps 17 of 4 pieces; "),
    (0.0, 1, "keep_tokens = 0.0 keeps 0 of 4 tokens; give a count from 1 to 4, or a"),
])  # fmt: skip
def test_an_impossible_count_is_named_with_what_to_give(tokens, pieces, said):
    with pytest.raises(ConfigError) as caught:
        Schedule.geometric(2, tokens, pieces).keeps(4, 4)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(("keep", "name", "words", "brief", "counts"), [
    (Keep(5, 8), "tokens=5-pieces=8", "5 tokens x 8 pieces", "5 x 8", {"tokens": 5, "pieces": 8}),
    (Keep(20, 16, 3), "rank=3", "rank 3", "rank 3", {"tokens": 20, "pieces": 16, "rank": 3}),
])  # fmt: skip
def test_what_is_kept_is_spelt_once(keep, name, words, brief, counts):
    assert (keep.name, keep.words, keep.brief, keep.counts) == (name, words, brief, counts)
    assert Keep.of(counts) == keep


def test_sizes_rise_as_the_numbers_that_are_left():
    """Of plain vectors a cell is H / K numbers; k directions leave k (P + H - k)."""
    pairs = sorted(
        (Keep(tokens, pieces) for tokens in range(1, 7) for pieces in range(1, 5)), key=lambda keep: keep.size
    )
    cells = [keep.tokens * keep.pieces for keep in pairs]
    assert cells == sorted(cells)
    assert pairs[:4] == [Keep(1, 1), Keep(1, 2), Keep(2, 1), Keep(1, 3)]  # of equals the fewer tokens
    ranks = sorted((Keep(6, 4, rank) for rank in (3, 1, 6, 2, 5, 4)), key=lambda keep: keep.size)
    free = [keep.rank * (6 + 6 - keep.rank) for keep in ranks]  # P = H = 6, where the last directions add least
    assert free == [11, 20, 27, 32, 35, 36]
