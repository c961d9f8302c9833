import pytest
import torch
from tiny import draw

from prunekit.prompts.offsets import added, added_by_position
from prunekit.support.errors import ConfigError


def test_padding_comes_back_bit_for_bit_whatever_it_holds():
    embedded = draw(1, 3, 2)
    embedded[0, 2] = torch.tensor([float("nan"), -0.0])
    mask = torch.tensor([[True, True, False]])
    found = added(embedded, torch.ones(1, 3, 2), mask)
    assert torch.equal(found[0, :2], embedded[0, :2] + 1)
    assert found[0, 2, 0].isnan()
    assert torch.signbit(found[0, 2, 1])


def test_positions_are_counted_over_real_tokens():
    table = torch.arange(1.0, 5.0)[:, None]
    mask = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]).bool()
    found = added_by_position(torch.zeros(3, 5, 1), table, mask)[..., 0]
    assert found.tolist() == [[0, 1, 0, 2, 3], [1, 2, 3, 4, 0], [0, 0, 0, 0, 0]]


def test_the_same_row_in_another_batch_gets_the_same_bits():
    table, embedded = draw(9, 3), draw(4, 6, 3)
    mask = torch.arange(6)[None] < torch.tensor([6, 2, 5, 3])[:, None]
    together = added_by_position(embedded, table, mask)
    for row in range(4):
        assert torch.equal(added_by_position(embedded[row : row + 1], table, mask[row : row + 1])[0], together[row])


def test_gradients_reach_the_used_rows_alone():
    table = torch.zeros(4, 2, requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    added_by_position(torch.zeros(2, 3, 2), table, mask).sum().backward()
    assert table.grad[:, 0].tolist() == [2, 1, 0, 0]  # none from padding


def test_a_text_beyond_the_table_is_refused():
    with pytest.raises(ConfigError, match="5 tokens is longer than the 4 positions"):
        added_by_position(torch.zeros(1, 5, 2), torch.zeros(4, 2), torch.ones(1, 5, dtype=torch.bool))
