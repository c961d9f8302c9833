import pytest
import torch

from prunekit.prompts.init import INITIALISERS
from prunekit.prompts.init.labels import from_labels
from prunekit.prompts.init.source import Source, build
from prunekit.prompts.init.text import from_text
from prunekit.prompts.init.uniform import uniform
from prunekit.prompts.init.values import from_array
from prunekit.prompts.init.vocabulary import from_vocabulary
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator

TABLE = torch.arange(40.0).view(10, 4)


def embed(ids):
    return TABLE[ids]


def rows(values) -> list[int]:
    """Which rows of the table the values are."""
    assert torch.equal(values, TABLE[(values[:, 0] / 4).long()])
    return (values[:, 0] / 4).long().tolist()


def draw(initialiser, tokens, width=4, seed=0):
    values = initialiser(generator("init", seed), (tokens, width))
    assert values.shape == (tokens, width)
    assert values.dtype == torch.float32
    return values


def test_uniform_is_within_its_bounds_and_fills_them():
    values = draw(uniform(), 100, 50)
    assert -0.5 <= values.min() < -0.49
    assert 0.49 < values.max() <= 0.5
    assert abs(float(values.mean())) < 0.02
    assert draw(uniform(2.0, 3.0), 5).min() >= 2.0


@pytest.mark.parametrize("initialiser", [uniform(), from_vocabulary(embed, range(10))])
def test_a_draw_is_fixed_by_its_generator(initialiser):
    assert torch.equal(draw(initialiser, 5), draw(initialiser, 5))
    assert not torch.equal(draw(initialiser, 5), draw(initialiser, 5, seed=1))


def test_vocabulary_rows_are_drawn_without_replacement_from_the_given_ids():
    ids = [1, 3, 5, 7, 9]
    assert sorted(rows(draw(from_vocabulary(embed, ids), 5))) == ids
    assert len(set(rows(draw(from_vocabulary(embed, ids), 3)))) == 3


def test_a_prompt_longer_than_the_vocabulary_uses_each_row_equally_often():
    drawn = rows(draw(from_vocabulary(embed, [2, 4, 6]), 7))
    assert sorted(drawn[:3]) == sorted(drawn[3:6]) == [2, 4, 6]
    assert drawn[6] in (2, 4, 6)


def test_text_is_repeated_or_cut():
    assert rows(draw(from_text(embed, [5, 2, 8]), 7)) == [5, 2, 8, 5, 2, 8, 5]
    assert rows(draw(from_text(embed, [5, 2, 8]), 2)) == [5, 2]


def test_label_rows_are_means_over_their_tokens_and_the_rest_is_another_start():
    values = draw(from_labels(embed, [[1], [2, 4]], from_text(embed, [9])), 4)
    assert torch.equal(values[0], TABLE[1])
    assert torch.equal(values[1], TABLE[3])  # the mean of rows 2 and 4
    assert rows(values[2:]) == [9, 9]


def test_more_labels_than_tokens_fill_the_prompt():
    assert rows(draw(from_labels(embed, [[1], [2], [3]], uniform()), 2)) == [1, 2]


def test_an_array_is_copied_and_must_fit():
    given = torch.randn(3, 4, generator=generator("x"))
    values = draw(from_array(given), 3)
    assert torch.equal(values, given)
    values += 1
    assert not torch.equal(values, given)
    with pytest.raises(ConfigError, match=r"\[3, 4\], wanted \[2, 4\]"):
        draw(from_array(given), 2)


def test_nothing_to_draw_from_is_refused():
    with pytest.raises(ConfigError, match="vocabulary"):
        from_vocabulary(embed, [])
    with pytest.raises(ConfigError, match="init_text"):
        from_text(embed, [])


def test_a_start_is_cut_off_the_graph_and_float32():
    table = torch.nn.Embedding(10, 4).to(torch.bfloat16)
    values = draw(from_text(table, [1, 2]), 2)
    assert not values.requires_grad
    assert torch.equal(values, table.weight[1:3].float())


@pytest.mark.parametrize("name", INITIALISERS)
def test_every_initialiser_of_the_list_is_a_file_that_starts_a_prompt(name):
    words = Source(embed, lambda: range(10), lambda text: [len(text)], text="abc", answers=("no", "yes"))
    assert draw(build(name, words), 4).shape == (4, 4)


def test_an_initialiser_says_what_it_lacks():
    bare = Source(embed, lambda: range(10), lambda text: [len(text)], task="superglue/copa")
    with pytest.raises(ConfigError, match="--init-text"):
        build("text", bare)
    with pytest.raises(ConfigError, match='"superglue/copa" differ per example'):
        build("labels", bare)
