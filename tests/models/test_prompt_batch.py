import pytest
import tiny
import torch

from prunekit.models import PromptBatch, stack
from prunekit.prompts.base import MaskedPrompt, Prompt
from prunekit.prompts.direct import DirectPrompt
from prunekit.support.seeding import generator

H = 8


def member(tokens: list[bool], dropped_as="remove", seed=0) -> MaskedPrompt:
    values = torch.randn(len(tokens), H, generator=generator("soft", seed))
    return MaskedPrompt(DirectPrompt(values), tiny.masked(tokens), dropped_as)


def test_a_removed_token_has_no_slot():
    prompt = member([True, False, True])
    made = stack([prompt])
    assert (made.members, made.values.shape, bool(made.placed.all())) == (1, (1, 2, H), True)
    assert torch.equal(made.values[0], prompt.prompt.values[[0, 2]])
    assert made.present.tolist() == made.placed.tolist() == [[True, True]]
    assert made.source.tolist() == [[0, 2]]


@pytest.mark.parametrize(("dropped_as", "present"), [("hide", [True, False, True]), ("zero", [True, True, True])])
def test_a_hidden_or_zero_token_keeps_its_slot_and_position(dropped_as, present):
    made = stack([member([True, False, True], dropped_as)])
    assert made.values.shape == (1, 3, H)
    assert made.present.tolist() == [present]
    assert made.placed.tolist() == [[True] * 3]
    assert made.source.tolist() == [[0, 1, 2]]
    assert made.values[0, 1].tolist() == [0.0] * H
    assert made.placed.all()


def test_shorter_members_are_padded_on_the_far_side_of_the_text():
    long, short = member([True] * 3), member([False, True, False], seed=1)
    made = stack([long, short])
    assert not made.placed.all()
    assert made.source.tolist() == [[0, 1, 2], [-1, -1, 1]]
    assert made.placed.tolist() == made.present.tolist() == [[True] * 3, [False, False, True]]
    assert torch.equal(made.values[1, 2], short.prompt.values[1])
    assert torch.equal(made.values[1, :2], made.values[1, 2:3].expand(2, -1))  # no zeros, and never attended to


def test_a_member_without_tokens_is_all_padding():
    made = stack([member([True, True]), member([False, False], seed=1)])
    assert made.source.tolist() == [[0, 1], [-1, -1]]
    assert stack([member([False, False])]).values.shape == (1, 0, H)


def test_gradients_flow_back_to_each_members_own_kept_values():
    members = [member([True, False, True]), member([True, True, True], seed=1)]
    made = stack(members)
    (made.values * torch.tensor([1.0, 10.0])[:, None, None]).sum().backward()
    assert members[0].prompt.values.grad[:, 0].tolist() == [1.0, 0.0, 1.0]
    assert members[1].prompt.values.grad[:, 0].tolist() == [10.0] * 3


def test_heads_are_stacked_and_their_gradients_flow_back():
    heads = [(torch.full((2, H), float(n), requires_grad=True), torch.full((2,), float(n))) for n in range(2)]
    made = stack([member([True]), member([True], seed=1)], heads)
    assert made.head.weight.shape == (2, 2, H)
    assert made.head.bias.tolist() == [[0.0, 0.0], [1.0, 1.0]]
    made.head.weight[1].sum().backward()
    assert heads[1][0].grad.sum() == 2 * H
    assert stack([member([True])]).head is None


def test_copies_per_example_are_a_leaf_and_cut_the_head_off():
    heads = [(torch.ones(2, H, requires_grad=True), torch.ones(2, requires_grad=True))]
    prompt = member([True, False, True])
    copies = stack([prompt], heads).per_example(5)
    assert copies.values.shape == (1, 5, 2, H)
    assert copies.values.is_leaf
    assert copies.values.requires_grad
    assert all(torch.equal(copies.values[0, b], prompt.prompt.values[[0, 2]]) for b in range(5))
    assert not copies.head.weight.requires_grad
    assert not copies.head.bias.requires_grad
    copies.values[0, 3].sum().backward()
    assert copies.values.grad.sum(dim=(2, 3)).tolist() == [[0.0, 0.0, 0.0, 2.0 * H, 0.0]]
    assert prompt.prompt.values.grad is None


@pytest.mark.parametrize("copies", [False, True])
def test_one_member_is_taken_out_with_its_padding_cut_off(copies):
    heads = [(torch.full((2, H), float(n)), torch.full((2,), float(n))) for n in range(2)]
    both = [member([True] * 3), member([False, True, False], seed=1)]
    made = stack(both, heads)
    one = (made.per_example(4) if copies else made).member(1)
    alone = stack(both[1:], heads[1:])
    if copies:
        alone = alone.per_example(4)
    for name in ("values", "present", "placed", "source"):
        assert torch.equal(getattr(one, name), getattr(alone, name)), name
    assert torch.equal(one.head.weight, alone.head.weight)
    assert one.placed.all()


class Shifted(Prompt):
    """Moves the input by a constant, as DePT's kind does."""

    moves_input = True

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self):
        return torch.zeros(2, H)

    def embed_input(self, embedded, mask):
        return embedded + self.by * mask[..., None]


def test_members_that_move_their_input_each_move_their_own():
    mask = tiny.masked([True, True])
    made = stack([MaskedPrompt(Shifted(1.0), mask, "remove"), MaskedPrompt(Shifted(2.0), mask, "remove")])
    keep = torch.ones(2, 3, 4, dtype=torch.bool)
    keep[:, :, -1] = False
    moved = made.embed_input(torch.zeros(2, 3, 4, H), keep)
    assert moved[0].unique().tolist() == [0.0, 1.0]
    assert moved[1].unique().tolist() == [0.0, 2.0]
    assert moved[:, :, -1].abs().max() == 0
    assert stack([member([True])]).embed_input is None
    assert isinstance(made, PromptBatch)
    alone = made.member(1).embed_input(torch.zeros(1, 3, 4, H), keep[:1])
    assert torch.equal(alone[0], moved[1])
