"""Where prompt vectors stand in a row (models/input_rows.py)."""

import torch

from prunekit.models.input_rows import PromptAndInput, insert_before_answer, insert_prompt

T, F = True, False


def side():
    """Two rows: text of 2 and 1, answers of 1 and 2 tokens; three slots, the first of which is padding."""
    embedded = torch.tensor([[10, 11, 50], [20, 60, 61]]).view(1, 2, 1, 3, 1).float()
    mask = torch.tensor([[T, T, T], [T, T, T]]).view(1, 2, 1, 3)
    values = torch.tensor([0, 1, 2]).view(1, 1, 1, 3, 1).expand(1, 2, 1, 3, 1).float()
    placed = torch.tensor([F, T, T]).expand(1, 2, 1, 3)
    return PromptAndInput(embedded, mask, values, placed, placed), torch.tensor([1, 0]).view(1, 2, 1)


def test_the_prompt_stands_between_text_and_answer_without_a_gap():
    beside, start = side()
    placed, at = insert_before_answer(beside, start, 3)
    assert placed.embeds.squeeze(-1).tolist() == [[10, 11, 1, 2, 50, 0], [20, 1, 2, 60, 61, 0]]
    assert placed.attention.tolist() == [[1, 1, 1, 1, 1, 0]] * 2
    assert placed.positions[:, :5].tolist() == [[0, 1, 2, 3, 4]] * 2
    assert at.tolist() == [[3, 4, 5], [2, 3, 4]]  # the first row's answer has two tokens, its third is padding


def test_a_hidden_slot_keeps_its_place_and_answers_nothing():
    beside, start = side()
    hidden = PromptAndInput(beside.embedded, beside.mask, beside.values, torch.tensor([F, T, F]).expand(1, 2, 1, 3),
                    torch.tensor([T, T, T]).expand(1, 2, 1, 3))  # fmt: skip
    placed, at = insert_before_answer(hidden, start, 2)
    assert placed.embeds[0].squeeze(-1).tolist() == [10, 11, 0, 1, 2, 50]
    assert placed.attention[0].tolist() == [1, 1, 0, 1, 0, 1]
    assert placed.positions[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert at.tolist() == [[3, 5], [2, 4]]


def test_without_slots_the_text_answers():
    beside, start = side()
    none = torch.zeros(1, 2, 1, 0, dtype=torch.bool)
    placed, at = insert_before_answer(
        PromptAndInput(beside.embedded, beside.mask, beside.values[..., :0, :], none, none), start, 2
    )
    assert placed.embeds[0].squeeze(-1).tolist() == [10, 11, 50]
    assert at.tolist() == [[1, 2], [0, 1]]


def test_the_prompt_may_stand_before_any_token():
    beside, _ = side()
    assert insert_prompt(beside, 0).embeds[0].squeeze(-1).tolist() == [0, 1, 2, 10, 11, 50]
    after = insert_prompt(beside, 1)
    assert after.embeds[0].squeeze(-1).tolist() == [10, 0, 1, 2, 11, 50]
    assert after.attention[0].tolist() == [1, 0, 1, 1, 1, 1]
    assert after.positions[0].tolist() == [0, 0, 1, 2, 3, 4]
