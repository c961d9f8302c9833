"""Prefixes as PEFT adapters: what PEFT answers with the file is what the ticket answers."""

from copy import deepcopy
from dataclasses import replace

import peft
import pytest
import tiny
import torch

from prunekit.export import TicketInfo, adapter_files, read_adapter
from prunekit.export.prefix_tuning import compacted
from prunekit.export.verify import measure, verify
from prunekit.models.rerotation import turn_back
from prunekit.support.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's and transformers' own, others in every version
WHOLE = tiny.masked([True, False, True, True, False])


def written(folder, ticket, bone, kind="PREFIX_TUNING"):
    for name, content in adapter_files(ticket, bone, TicketInfo(prefix=kind)).items():
        (folder / name).write_bytes(content)
    return folder


def disagreement(folder, ticket, bone):
    measured = measure(folder, ticket, bone)
    return measured.difference / measured.largest


@pytest.mark.parametrize("peft_kind", ["PREFIX_TUNING", "CARTRIDGE"])
@pytest.mark.parametrize("dropped_as", ["remove", "hide"])
@pytest.mark.parametrize("kind", ["llama", "neox"])
def test_deleted_tokens_leave_keys_turned_so_that_peft_answers_alike(kind, dropped_as, peft_kind, tmp_path):
    bone = tiny.frozen(kind, position="prefix-kv")
    ticket = replace(tiny.ticket(bone, tokens=5, dropped_as=dropped_as), mask=WHOLE)
    agreement = verify(written(tmp_path, ticket, bone, peft_kind), ticket, bone)
    assert agreement.difference <= 1e-5 * agreement.largest
    unturned = replace(ticket, mask=tiny.masked([True] * 3), state={"values": ticket.state["values"][WHOLE.token]})
    assert disagreement(tmp_path, unturned, bone) > 1e-3


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama"])
def test_a_dense_prefix_and_one_of_zeros_go_to_peft_as_they_are(kind, tmp_path):
    bone = tiny.frozen(kind, position="prefix-kv")
    dense = tiny.ticket(bone, tokens=5, dropped_as="hide")
    zeros = replace(dense, mask=tiny.masked([True, False, True, True, False], drop=[(0, 1)]), dropped_as="zero")
    for name, ticket in (("dense", dense), ("zeros", zeros)):
        (tmp_path / name).mkdir()
        assert disagreement(written(tmp_path / name, ticket, bone), ticket, bone) <= 1e-6


@pytest.mark.parametrize("kind", ["gpt2", "opt"])
def test_learned_positions_cannot_be_turned(kind):
    bone = tiny.frozen(kind, position="prefix-kv")
    with pytest.raises(ConfigError, match=r"without the 2 dropped tokens .* cannot be turned .* --dropped-as zero"):
        compacted(replace(tiny.ticket(bone, tokens=5, dropped_as="hide"), mask=WHOLE), bone)


def test_a_prefix_hidden_from_some_heads_is_refused_in_one_line(tmp_path):
    bone = tiny.frozen("llama", position="prefix-kv")
    ragged = replace(tiny.ticket(bone, tokens=5, dropped_as="hide"), mask=tiny.masked([True] * 5, drop=[(0, 1)]))
    with pytest.raises(ConfigError, match=r"cannot become a PEFT adapter: .* ragged .* --keep-pieces 1.0") as refused:
        written(tmp_path, ragged, bone)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["llama", "neox"])
def test_a_turned_key_is_the_key_of_an_earlier_position(kind):
    bone = tiny.frozen(kind, position="prefix-kv")
    turn = turn_back(bone, 3)
    ids = torch.tensor([7, 9, 11, 20])
    late, early = (bone.prompt_vectors(torch.cat([front, ids]))[-4:] for front in (ids[:3], ids[:0]))
    parts = [values.view(4, *bone.shape[:2], 2, bone.shape.size)[:, 0, :, 0] for values in (late, early)]
    turned = turn.vectors(late, bone.shape).view(4, *bone.shape[:2], 2, bone.shape.size)[:, 0, :, 0]
    assert torch.allclose(turned, parts[1], atol=1e-6)  # of the first layer, which no token before changes
    assert not torch.allclose(parts[0], parts[1], atol=1e-2)


@pytest.mark.parametrize("peft_kind", ["PREFIX_TUNING", "CARTRIDGE"])
def test_an_adapter_comes_back_as_the_ticket_that_answers_alike(peft_kind, tmp_path):
    bone = tiny.frozen("llama", position="prefix-kv")
    ticket = replace(tiny.ticket(bone, tokens=5, dropped_as="hide"), mask=WHOLE)
    (tmp_path / "ours").mkdir()
    folder = written(tmp_path / "ours", ticket, bone, peft_kind)
    restored = read_adapter(str(folder))
    assert (restored.position, restored.mask.tokens, restored.mask.piece.shape[1]) == ("prefix-kv", 3, 4)
    assert torch.equal(restored.state["values"], compacted(ticket, bone).state["values"])
    assert disagreement(folder, restored, bone) <= 1e-6


def test_a_cartridge_that_peft_started_from_a_text_is_read_as_it_stands(tmp_path):
    bone = tiny.frozen("llama", position="prefix-kv")
    config = peft.CartridgeConfig(task_type="CAUSAL_LM", num_virtual_tokens=6, num_frozen_tokens=1)
    theirs = peft.get_peft_model(deepcopy(bone.model), config)
    ids = torch.tensor([[3, 9, 11, 20, 7, 8]])
    cache = bone.model(input_ids=ids, use_cache=True).past_key_values
    legacy = [(layer.keys, layer.values) for layer in cache.layers]
    peft.initialize_kv_prefix_from_past_key_values(theirs, past_key_values=legacy, num_virtual_tokens=6)
    theirs.save_pretrained(tmp_path)
    ticket = read_adapter(str(tmp_path))
    assert (ticket.position, ticket.dropped_as, tuple(ticket.mask.piece.shape)) == ("prefix-kv", "hide", (6, 4))
    assert torch.equal(ticket.state["values"], bone.prompt_vectors(ids[0]))
    assert disagreement(tmp_path, ticket, bone) <= 1e-6


def test_a_projected_prefix_is_read_flattened(tmp_path):
    bone = tiny.frozen("gpt2", position="prefix-kv")
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True)
    theirs = peft.get_peft_model(deepcopy(bone.model), config)
    theirs.save_pretrained(tmp_path)
    assert disagreement(tmp_path, read_adapter(str(tmp_path)), bone) <= 1e-6
