"""A training that goes on from a file is the training that was never ended, to the last bit."""

from dataclasses import fields, is_dataclass, replace

import pytest
import tiny
import torch

from prunekit.engine.train import Midway, train
from prunekit.runs.training_file import packed, unpacked


def same(left, right):
    """Whether two records agree in every number, bit for bit."""
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left.view(torch.uint8), right.view(torch.uint8))
    if is_dataclass(left):
        return type(left) is type(right) and all(
            same(getattr(left, field.name), getattr(right, field.name)) for field in fields(left)
        )
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


CASES = {
    "adamw": ("gpt2", {}, None),
    "adafactor": ("t5", {"optimizer": "adafactor"}, None),
    "sgd": ("gpt2", {"optimizer": "sgd"}, None),
    "a head": ("bert", {}, None),
    "dropout of the model": ("t5", {"model_dropout": True}, None),
    "a prefix": ("llama-kv", {}, None),
    "successive halving": ("gpt2", {}, lambda step, standings: [1] if step == 4 else []),
    "one that waits in vain": ("gpt2", {"patience": 1, "learning_rate": 0.5}, None),
}


@pytest.mark.parametrize("case", tiny.by_day(tuple(CASES), ("adamw", "adafactor", "a head", "successive halving")))
def test_a_training_that_goes_on_from_any_state_ends_as_one_that_was_never_ended(case):
    kind, changes, cull = CASES[case]
    bone = tiny.frozen(kind)
    tickets = [tiny.ticket(bone, seed=0), replace(tiny.ticket(bone, seed=1), frozen=1)]
    data = tiny.training_data(bone, 9)
    plan = tiny.plan(train_steps=9, evaluate_every=2, **changes)
    more = dict(snapshots=(0, 2, 5, 9)) | ({"cull": cull} if cull else {})
    whole = train(tickets, bone, data, plan, **more)
    states = []
    train(tickets, bone, data, plan, midway=Midway(keep=lambda state: states.append(packed(state(), "x", 1.5))), **more)
    assert len(states) >= 2
    for content in states:
        state, seconds = unpacked(content, "x")
        assert seconds == 1.5
        again = train(tickets, bone, data, plan, midway=Midway(state), **more)
        assert all(map(same, again, whole))


def test_one_that_diverged_stays_where_it_ended():
    bone = tiny.frozen("gpt2")
    wild = replace(tiny.ticket(bone, seed=1), state={"values": torch.full((4, bone.width), float("nan"))})
    tickets, data = [tiny.ticket(bone), wild], tiny.training_data(bone, 8)
    plan = tiny.plan(train_steps=4, evaluate_every=2)
    states = []
    whole = train(tickets, bone, data, plan, midway=Midway(keep=lambda state: states.append(state())))
    assert whole[1].diverged
    state, _ = unpacked(packed(states[0], "x", 0.0), "x")
    again = train(tickets, bone, data, plan, midway=Midway(state))
    assert again[1].diverged == whole[1].diverged
    assert same(again[0], whole[0])


def state_of():
    bone = tiny.frozen("gpt2")
    states = []
    train([tiny.ticket(bone)], bone, tiny.training_data(bone, 8), tiny.plan(train_steps=2, evaluate_every=2),
          midway=Midway(keep=lambda state: states.append(state())))  # fmt: skip
    return states[0]


def test_a_state_of_something_else_is_none():
    assert unpacked(packed(state_of(), "this cohort", 0.0), "another") is None


def test_a_state_of_which_any_byte_changed_is_refused():
    content = packed(state_of(), "x", 0.0)
    for place in range(0, len(content), max(1, len(content) // 97)):
        broken = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(ValueError, match="own sha256"):
            unpacked(broken, "x")
    for size in (0, 7, 100, len(content) - 1):
        with pytest.raises(ValueError, match="own sha256"):
            unpacked(content[:size], "x")
