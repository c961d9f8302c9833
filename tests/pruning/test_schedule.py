import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunekit.pruning.schedule import Keep, Schedule, target
from prunekit.support.errors import ConfigError


def test_the_default_schedule_by_hand():
    # tokens 20 -> 5: 20 * 4**(-1/3) = 12.60, 20 * 4**(-2/3) = 7.94; pieces 16 -> 8: 12.70, 10.08
    assert Schedule.geometric(3, 0.25, 0.5).keeps(20, 16) == (Keep(13, 13), Keep(8, 10), Keep(5, 8))


def test_a_fraction_and_the_count_it_stands_for_agree():
    assert Schedule.geometric(3, 5, 8).keeps(20, 16) == Schedule.geometric(3, 0.25, 0.5).keeps(20, 16)


def test_one_is_a_count_and_one_point_zero_is_everything():
    assert Schedule.geometric(1, 1, 1).keeps(20, 16) == (Keep(1, 1),)
    assert Schedule.geometric(1, 1.0, 1.0).keeps(20, 16) == (Keep(20, 16),)


def test_one_round_is_one_shot():
    assert Schedule.geometric(1, 0.3, 0.5).keeps(10, 4) == (Keep(3, 2),)


def test_no_rounds_keep_nothing_to_do():
    assert Schedule.geometric(0, 0.5, 0.5).keeps(10, 4) == ()


def test_half_is_rounded_up():
    assert target(0.25, 10, "keep_tokens", "tokens") == 3
    assert target(0.5, 5, "keep_tokens", "tokens") == 3


@pytest.mark.parametrize("keep", [0, -1, 21, 0.0, 0.02, 1.1, 1.02, -0.5, float("nan"), float("inf")])
def test_a_count_of_nothing_or_of_more_than_there_is_is_refused(keep):
    with pytest.raises(ConfigError, match="keep_tokens = "):
        Schedule.geometric(2, keep, 0.5).keeps(20, 16)


def test_the_refusal_names_the_pieces_too():
    with pytest.raises(ConfigError, match="keep_pieces = 17 keeps 17 of 16 pieces"):
        Schedule.geometric(2, 5, 17).keeps(20, 16)


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


def test_an_impossible_count_is_named():
    with pytest.raises(ConfigError, match=r"^keep_tokens = 9 keeps 9 of 4 tokens; "):
        Schedule.geometric(2, 9, 2).keeps(4, 4)
    with pytest.raises(ConfigError, match=r"^keep_pieces = 0 keeps 0 of 4 pieces; "):
        Schedule.geometric(2, 2, 0).keeps(4, 4)
