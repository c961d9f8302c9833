"""The parts of the testbed's table that need no model; those that do are in test_pretrain."""

import pytest
from testbed_digest import rebuilds

from benchmarks.testbed.table import bag_of_words, chance, markdown, padded, without_each
from prunekit.tasks.testbed.grammar import examples, filler_words, find_task


def test_chance_is_the_share_of_the_most_frequent_label():
    assert chance([{"label": "a"}, {"label": "b"}, {"label": "b"}]) == pytest.approx(2 / 3)


def test_leaving_out_each_word_in_turn():
    assert without_each("first animal now") == ["animal now", "first now", "first animal"]
    assert without_each("copy") == [""]


def test_padding_draws_filler_alone_and_the_same_for_the_same_seed():
    line = padded("first animal", length=8, seed=3).split()
    assert len(line) == 8
    assert {word for word in line if word not in filler_words()} == {"first", "animal"}
    assert padded("first animal", length=8, seed=3).split() == line


@rebuilds
def test_words_alone_give_away_a_topic_and_not_an_order():
    topic, order = (
        bag_of_words(find_task(name), examples(name, "test", 100)) for name in ("count-mood", "first-animal")
    )
    assert order <= 0.65 < topic


def test_a_table_has_three_digits_and_a_line_per_row():
    lines = markdown([{"task": "a", "I": 2, "x": 1 / 3}, {"task": "b", "I": 1, "x": 1.0}]).splitlines()
    assert lines == ["| task | I | x |", "| --- | --- | --- |", "| a | 2 | 0.333 |", "| b | 1 | 1.000 |"]
