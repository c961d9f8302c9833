"""Rows that are drawn from a split."""

import pytest

from prunekit.tasks.drawn import drawn


def test_rows_of_a_split_that_is_sorted_by_label_have_both():
    rows = ["a"] * 100 + ["b"] * 100
    assert drawn(rows, 8) == sorted(drawn(rows, 8))
    assert set(drawn(rows, 8)) == {"a", "b"}


def test_the_same_rows_are_drawn_each_time_in_their_own_order():
    rows = list(range(50))
    assert drawn(rows, 9) == drawn(rows, 9) == sorted(drawn(rows, 9))
    assert len(set(drawn(rows, 9))) == 9


def test_further_draws_share_no_row():
    rows = list(range(20))
    draws = [drawn(rows, 8, draw) for draw in range(3)]
    assert sorted(row for part in draws for row in part) == rows
    assert list(map(len, draws)) == [8, 8, 4]


@pytest.mark.parametrize("count", [None, 3, 4])
def test_all_rows_are_as_they_were(count):
    rows = [3, 1, 2]
    assert drawn(rows, count) is rows
