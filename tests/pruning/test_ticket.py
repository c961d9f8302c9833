import json
from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket, Values
from prunekit.runs.ticket_file import load_ticket, pack, save_ticket, ticket_bytes, unpack
from prunekit.support.digest import canonical
from prunekit.support.errors import ArtifactError
from prunekit.support.seeding import generator

FIELDS = ("rewind", "round", "dropped_as", "position", "method", "seed")


def ticket(**changes) -> Ticket:
    draw = generator("ticket")
    piece = torch.tensor([[True, False], [False, False], [True, True]])
    made = Ticket(
        Mask(piece.any(dim=1), piece),
        {"values": torch.randn(3, 4, generator=draw)},
        {"weight": torch.randn(2, 4, generator=draw), "bias": torch.randn(2, generator=draw)},
        rewind="trained", round=2, dropped_as="hide", position="after-cls", seed=7,
        origin={"task": "sst2", "digests": {"name": "ä", "sha256": "ab"}, "loss": 0.25, "none": None, "list": [1, 2]},
    )  # fmt: skip
    return replace(made, **changes)


def same(one: Ticket, other: Ticket) -> bool:
    """Equal in every field, tensors bit for bit and with their types."""

    def tensors(state):
        return {name: (value.dtype, value.shape, value.numpy().tobytes()) for name, value in (state or {}).items()}

    facts = all(getattr(one, name) == getattr(other, name) for name in FIELDS)
    facts = facts and type(one.rewind) is type(other.rewind) and (one.head is None) == (other.head is None)
    return (
        facts and one.mask == other.mask and torch.equal(one.mask.token, other.mask.token)
        and tensors(one.state) == tensors(other.state) and tensors(one.head) == tensors(other.head)
        and dict(one.origin) == dict(other.origin)
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"head": None}, {"rewind": 100}, {"rewind": "100"}, {"origin": {}}, {"dropped_as": "zero", "round": 0},
        {"state": {"values": torch.randn(3, 4, dtype=torch.float64, generator=generator("x"))}},
        {"state": {"values": torch.randn(3, 4, generator=generator("x")).bfloat16().float()}},
        {"state": {"values": torch.tensor([[0.0, -0.0, 1e-45, 3e38]] * 3)}},
        {"state": {"values": torch.randn(4, 3, generator=generator("x")).t()}},
    ],
)  # fmt: skip
def test_what_is_loaded_is_what_was_saved(tmp_path, changes):
    saved = ticket(**changes)
    save_ticket(saved, tmp_path / "ticket.safetensors")
    loaded = load_ticket(tmp_path / "ticket.safetensors")
    assert same(loaded, saved)
    assert ticket_bytes(loaded) == ticket_bytes(saved)


def test_the_comparison_of_this_file_can_tell_tickets_apart():
    changes = [{"head": None}, {"seed": 8}, {"rewind": 1}, {"origin": {}}, {"mask": Mask.full(3, 2)}]
    changes += [{"state": {"values": torch.zeros(3, 4)}}, {"dropped_as": "remove"}]
    assert same(ticket(), ticket())
    assert not any(same(ticket(), ticket(**change)) for change in changes)
    assert ticket() == ticket()
    assert ticket() != ticket(seed=8)


def test_the_same_ticket_gives_the_same_bytes_whatever_the_order_of_its_parts():
    turned = {"list": [1, 2], "none": None, "loss": 0.25, "digests": {"sha256": "ab", "name": "ä"}, "task": "sst2"}
    head = ticket().head
    assert ticket_bytes(ticket(origin=turned, head=dict(reversed(head.items())))) == ticket_bytes(ticket())
    assert ticket_bytes(ticket(seed=8)) != ticket_bytes(ticket())


def test_the_file_has_one_metadata_key_of_canonical_json():
    content = ticket_bytes(ticket())
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == ["prunekit"]
    told = json.loads(header["__metadata__"]["prunekit"])
    assert canonical(told) == header["__metadata__"]["prunekit"]
    assert told["facts"]["origin"]["task"] == "sst2"


def refused(path, content) -> str:
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        load_ticket(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("every", tiny.at_night(False, True))
def test_every_flipped_bit_is_noticed(every, tmp_path):
    content = ticket_bytes(ticket())
    positions = torch.randint(8 * len(content), (300,), generator=generator("flips")).tolist()
    tail = range(8 * (len(content) - 40), 8 * len(content), 7)  # the tensors' own bytes, which safetensors never checks
    for position in range(8 * len(content)) if every else [*positions, *tail, *range(64)]:
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        refused(tmp_path / "ticket.safetensors", bytes(flipped))


def test_a_flipped_bit_that_only_changes_the_spelling_is_noticed_too(tmp_path):
    content = ticket_bytes(ticket())
    assert b"u00e4" in content  # one bit away from u00E4, which is the same letter in JSON
    refused(tmp_path / "ticket.safetensors", content.replace(b"u00e4", b"u00E4"))


def test_every_truncation_and_anything_appended_is_noticed(tmp_path):
    content = ticket_bytes(ticket())
    for length in [*range(0, len(content), 9), len(content) - 1]:
        refused(tmp_path / "ticket.safetensors", content[:length])
    refused(tmp_path / "ticket.safetensors", content + b"\0")


def test_what_is_no_ticket_is_refused_by_name(tmp_path):
    path = tmp_path / "other.safetensors"
    assert "not a ticket" in refused(path, pack({"values": torch.zeros(2)}, {"seed": 0}))
    assert "not a ticket" in refused(path, pack(masks(), {"unknown": 1}))
    wrong = masks() | {"mask.token": torch.tensor([True, True])}
    assert "not a ticket" in refused(path, pack(wrong, {}))
    with pytest.raises(ArtifactError, match="gone"):
        load_ticket(tmp_path / "gone.safetensors")
    with pytest.raises(ArtifactError, match=tmp_path.name):
        load_ticket(tmp_path)


def test_frozen_tokens_come_back_and_a_file_in_which_they_are_pruned_is_refused(tmp_path):
    path, saved = tmp_path / "ticket.safetensors", ticket(mask=Mask.full(3, 2), frozen=2)
    save_ticket(saved, path)
    assert load_ticket(path) == saved
    assert load_ticket(path).frozen == 2
    assert (saved.pieces, saved.learning.cells) == (2, 2)
    assert "frozen tokens are pruned" in refused(path, ticket_bytes(ticket(frozen=1)))
    assert "frozen is no count" in refused(path, ticket_bytes(ticket(mask=Mask.full(3, 2), frozen=3)))


def masks():
    return {"mask.token": torch.tensor([True, False]), "mask.piece": torch.tensor([[True], [False]])}


def test_a_file_of_another_tool_is_refused(tmp_path):
    from safetensors.torch import save

    assert "not a file of this version" in refused(tmp_path / "a.safetensors", save({"a": torch.zeros(1)}))
    strange = save({"a": torch.zeros(1)}, metadata={"prunekit": '{"format":2}'})
    assert "not a file of this version" in refused(tmp_path / "a.safetensors", strange)
    assert refused(tmp_path / "a.safetensors", save({"a": torch.zeros(1)}, metadata={"prunekit": "[" * 100_000}))


def test_tensors_and_facts_come_back(tmp_path):
    path = tmp_path / "some.safetensors"
    tensors = {"a": torch.arange(6).view(2, 3), "empty": torch.zeros(0, 2), "scalar": torch.tensor(1.5)}
    path.write_bytes(pack(tensors, {"x": [1, "ä"]}))
    back, facts = unpack(path)
    assert facts == {"x": [1, "ä"]}
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) and back[name].dtype == tensors[name].dtype for name in tensors)


def test_nan_in_the_facts_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        ticket_bytes(ticket(origin={"loss": float("nan")}))


def test_the_prompt_is_a_free_copy_behind_the_mask():
    made = ticket()
    prompt = made.prompt()
    assert [parameter.requires_grad for parameter in prompt.parameters()] == [True]
    values, present = prompt()
    assert torch.equal(values, made.state["values"] * made.mask.expand(4))
    assert present.tolist() == [True, False, True]
    with torch.no_grad():
        prompt.prompt.values.zero_()
    assert made.state["values"].abs().min() > 0


def test_a_ticket_at_other_values_keeps_what_its_method_never_trains():
    state = {"code": torch.zeros(2), "basis": torch.ones(2, 3, 8), "base": torch.ones(3, 8)}
    before = Ticket(Mask.full(3, 4), state, {"weight": torch.zeros(2, 8)}, method="intrinsic", seed=3)
    after = before.at(Values({"code": torch.ones(2)}, None))
    assert torch.equal(after.state["code"], torch.ones(2))
    assert after.state["basis"] is state["basis"]
    assert (after.head, after.seed, after.mask) == (None, 3, before.mask)
    assert torch.equal(before.state["code"], torch.zeros(2))
