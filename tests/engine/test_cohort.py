from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket, Values


@pytest.fixture
def bone():
    return tiny.frozen("bert")


def test_values_go_flat_and_back():
    values = Values({"values": torch.ones(2, 3)}, {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)})
    flat = values.flat()
    assert sorted(flat) == ["head.bias", "head.weight", "state.values"]
    back = Values.from_flat(flat)
    assert back.flat().keys() == flat.keys()
    assert all(back.flat()[name] is flat[name] for name in flat)
    assert Values.from_flat(Values({"values": torch.ones(1)}, None).flat()).head is None


def test_names_of_a_state_may_hold_points():
    values = Values({"inner.weight": torch.ones(1)}, None)
    assert list(Values.from_flat(values.flat()).state) == ["inner.weight"]


def test_a_member_is_a_copy_of_its_ticket(bone):
    ticket = tiny.ticket(bone)
    member = Member(ticket)
    with torch.no_grad():
        for parameter in member.parameters():
            parameter.add_(1.0)
    assert torch.equal(member.values().state["values"], ticket.state["values"] + 1)
    assert torch.equal(member.values().head["weight"], ticket.head["weight"] + 1)


def test_the_values_handed_out_do_not_move_on(bone):
    member = Member(tiny.ticket(bone))
    before = member.values()
    kept = before.state["values"].clone()
    with torch.no_grad():
        member.masked.prompt.values.add_(1.0)
    assert torch.equal(before.state["values"], kept)
    assert not before.state["values"].requires_grad


def test_a_ticket_without_a_head_has_prompt_parameters_alone(bone):
    member = Member(replace(tiny.ticket(bone), head=None))
    assert [name for name, _ in member.named_parameters()] == ["masked.prompt.values"]
    assert member.values().head is None


def test_prompt_parameters_come_before_the_heads(bone):
    names = [name for name, _ in Member(tiny.ticket(bone)).named_parameters()]
    assert names[0] == "masked.prompt.values"
    assert sorted(names[1:]) == ["head.bias", "head.weight"]


def test_members_share_nothing_and_each_gets_its_own_gradient(bone):
    ticket = tiny.ticket(bone)
    members = [Member(ticket), Member(ticket)]
    made = prompt_batch(members)
    assert made.members == 2
    (made.values[1].sum() + made.head.weight[1].sum() + made.head.bias[1].sum()).backward()
    assert all(parameter.grad.abs().max() == 0 for parameter in members[0].parameters())
    assert all((parameter.grad == 1).all() for parameter in members[1].parameters())


def test_what_a_method_never_trains_is_not_copied():
    state = {"code": torch.zeros(2), "basis": torch.ones(2, 3, 8), "base": torch.ones(3, 8)}
    member = Member(Ticket(Mask.full(3, 4), state, None, method="intrinsic"))
    assert list(member.values().state) == ["code"]
