import torch

from prunekit.models import Encoded
from prunekit.models.batch import Row, collate


def row(inputs, targets, start=None, gold=0, index=0) -> Row:
    return Row(inputs, targets, start or [0] * len(inputs), gold, index)


def test_inputs_are_padded_on_the_right():
    batch = collate([[row([(5, 6, 7)], [(1,), (2,)], index=4), row([(8,)], [(1,), (2,)], gold=1)]], pad=9)
    assert batch.ids.tolist() == [[[[5, 6, 7]], [[8, 9, 9]]]]
    assert batch.mask.tolist() == [[[[True] * 3], [[True, False, False]]]]
    assert batch.targets.tolist() == [[[[1], [2]], [[1], [2]]]]
    assert batch.gold.tolist() == [[0, 1]]
    assert batch.index.tolist() == [[4, 0]]
    assert batch.choice_mask.all()
    assert batch.size == 2


def test_members_stand_side_by_side():
    batch = collate([[row([(1,)], [(7,)])], [row([(2, 3)], [(7,)])]], pad=0)
    assert batch.ids.shape == (2, 1, 1, 2)
    assert batch.ids.tolist() == [[[[1, 0]]], [[[2, 3]]]]


def test_a_missing_choice_is_a_masked_copy_of_the_first():
    batch = collate([[row([(1,)], [(4, 5)]), row([(2,)], [(6,), (7,), (8, 9)])]], pad=0)
    assert batch.choice_mask.tolist() == [[[True, False, False], [True, True, True]]]
    assert batch.targets[0, 0].tolist() == [[4, 5], [4, 5], [4, 5]]
    assert batch.target_mask[0, 1].tolist() == [[True, False], [True, False], [True, True]]
    assert batch.ids.shape == (1, 2, 1, 1)


def test_one_input_row_is_repeated_beside_examples_with_a_row_per_choice():
    one_token = row([(1, 2)], [(4,), (5,)], start=[1])
    several = row([(3,), (3, 6), (3,)], [(7,), (6, 7), (8,)], start=[0, 0, 0])
    batch = collate([[one_token, several]], pad=0)
    assert batch.ids[0].tolist() == [[[1, 2]] * 3, [[3, 0], [3, 6], [3, 0]]]
    assert batch.start.tolist() == [[[1, 1, 1], [0, 0, 0]]]
    assert batch.mask[0, 1].tolist() == [[True, False], [True, True], [True, False]]


def test_answers_of_a_head_have_no_tokens():
    batch = collate([[row([(1, 2)], [(), ()])]], pad=0)
    assert batch.targets.shape == batch.target_mask.shape == (1, 1, 2, 0)
    assert batch.choice_mask.tolist() == [[[True, True]]]


def test_a_batch_moves_to_a_device_whole():
    moved = collate([[row([(1,)], [(2,)])]], pad=0).to(torch.device("meta"))
    assert all(tensor.device.type == "meta" for tensor in moved.tensors.values())
    assert len(moved.tensors) == 9


def test_the_length_of_an_example_counts_its_longest_answer():
    assert Encoded(0, (1, 2, 3), ((4,), (5, 6)), 0).length == 5
    assert Encoded(0, (1, 2, 3), (), -1).length == 3
