import gc
from functools import partial

import pytest
import tiny
import torch

from prunekit.engine import memory
from prunekit.engine.cohort import Member, prompt_batch


def step(bone, ticket, rows):
    """Loss and gradient of one update."""
    member = Member(ticket)
    loss = bone.losses(prompt_batch([member]), bone.batch([rows], every_choice=False)).sum()
    loss.backward()
    return float(loss.detach()), member.masked.prompt.values.grad


BY_DAY = tiny.by_day(tiny.KINDS, ("t5", "gpt2", "bert"))


@pytest.mark.parametrize("kind", BY_DAY)
def test_activations_are_counted_and_grow_with_the_batch(kind):
    bone = tiny.frozen(kind)
    rows = tiny.encoded(bone, tiny.examples(16))
    one, two, four = (memory.activation_bytes(tiny.ticket(bone), bone, rows, size) for size in (1, 2, 4))
    assert 0 < one < two < four
    assert (four - two) == pytest.approx(2 * (two - one), rel=0.35)  # the longest come first, so later ones are shorter


def test_the_count_is_what_a_hand_written_layer_keeps():
    """One linear map and one product: the product keeps both factors, nothing keeps weights."""
    bone = tiny.frozen("gpt2")
    rows = tiny.encoded(bone, tiny.examples(4))
    needed = memory.activation_bytes(tiny.ticket(bone), bone, rows, 4)
    weights = sum(value.untyped_storage().nbytes() for value in bone.model.state_dict().values())
    places = 4 * (4 + max(len(row.text) for row in rows))  # rows x (prompt + text), 32 wide, 4 bytes, 2 layers
    assert needed > 2 * places * tiny.WIDTH * 4 * 4
    assert needed < weights + 2 * places * tiny.WIDTH * 4 * 60


@pytest.mark.parametrize("kind", BY_DAY)
def test_recomputing_keeps_less_and_changes_no_number(kind):
    plain, frugal = tiny.frozen(kind), tiny.frozen(kind)
    memory.recompute_activations(frugal)
    rows = tiny.encoded(plain, tiny.examples(8))
    ticket = tiny.ticket(plain)
    loss, gradient = step(plain, ticket, rows)
    again, same = step(frugal, ticket, rows)
    assert again == loss
    assert torch.allclose(same, gradient, rtol=1e-5, atol=1e-9)
    needed = [memory.activation_bytes(ticket, bone, rows, 8) for bone in (plain, frugal)]
    assert needed[1] < 0.6 * needed[0]
    assert not any(module.training for module in frugal.model.modules())


@pytest.mark.parametrize(
    ("needed", "free", "device", "wide"),
    [(100, 1000, "cpu", 5), (100, 199, "cpu", 0), (1, 10**9, "cpu", 8), (1, 10**9, "cuda", 64), (0, 10, "cpu", 5)],
)
def test_the_width_is_half_the_free_memory_and_bounded(needed, free, device, wide):
    assert memory.width(needed, torch.device(device), free) == wide


def test_free_memory_is_read_from_the_machine():
    assert 2**27 < memory.free_bytes(torch.device("cpu")) < 2**45


def test_workers_side_by_side_count_on_their_part_of_the_memory():
    whole = memory.free_bytes(torch.device("cpu"))
    memory.share_memory(4)
    try:
        assert memory.free_bytes(torch.device("cpu")) < whole / 2
    finally:
        memory.share_memory(1)


@pytest.mark.parametrize(("free", "mine"), [(900, 250), (100, 100)])
def test_workers_on_one_gpu_take_no_more_than_their_part_and_what_is_left(free, mine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1000))
    memory.share_memory(4)
    try:
        assert memory.free_bytes(torch.device("cuda")) == mine
    finally:
        memory.share_memory(1)


def test_counting_leaves_nothing_behind():
    """No activation of a counted step lives on: not even as a cycle that a later collection would find."""
    bone = tiny.frozen("t5")
    rows, ticket = tiny.encoded(bone, tiny.examples(8)), tiny.ticket(bone)
    memory.activation_bytes(ticket, bone, rows, 8)
    gc.collect()
    gc.disable()
    try:
        before = sum(1 for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor))
        for _ in range(3):
            memory.activation_bytes(ticket, bone, rows, 8)
        assert sum(1 for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)) == before
    finally:
        gc.enable()


@pytest.mark.slow  # the gate looks for what is left behind
def test_many_counts_take_no_more_memory_than_a_few():
    bone = tiny.frozen("gpt2")
    rows, ticket = tiny.encoded(bone, tiny.examples(64)), tiny.ticket(bone)
    needed = memory.activation_bytes(ticket, bone, rows, 64)
    before = memory.peak_memory_mb()
    for _ in range(75):
        memory.activation_bytes(ticket, bone, rows, 64)
    assert 75 * needed / 2**20 > 60  # what a leak would take
    assert memory.peak_memory_mb() - before < 20


def test_layers_are_wrapped_once_however_often_it_is_asked():
    bone = tiny.frozen("gpt2")
    memory.recompute_activations(bone)
    layers = [module for module in bone.model.modules() if isinstance(module.forward, partial)]
    before = [layer.forward for layer in layers]
    memory.recompute_activations(bone)
    assert layers
    assert [layer.forward for layer in layers] == before
