"""Prefixes as PEFT adapters: what PEFT answers with the file is what the ticket answers."""

import json
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import architectures as arch
import peft
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from prunekit.export import TicketInfo, adapter_files, read_adapter
from prunekit.export.attach import attach
from prunekit.export.prefix_tuning import compacted, exact_text_tokens
from prunekit.export.verify import measure, need_peft, verify
from prunekit.models.prefix import vectors_of
from prunekit.models.rerotation import turn_back
from prunekit.support.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's and transformers' own, others in every version
HAS_CARTRIDGES = hasattr(peft, "CartridgeConfig")  # from PEFT 0.19
cartridges = pytest.mark.skipif(not HAS_CARTRIDGES, reason="this PEFT has no cartridges")
PEFT_KINDS = ["PREFIX_TUNING", pytest.param("CARTRIDGE", marks=cartridges)]
WHOLE = tiny.masked([True, False, True, True, False])


def written(folder, ticket, bone, kind="PREFIX_TUNING"):
    for name, content in adapter_files(ticket, bone, TicketInfo(prefix=kind)).items():
        (folder / name).write_bytes(content)
    return folder


def disagreement(folder, ticket, bone):
    measured = measure(folder, ticket, bone)
    return measured.difference / measured.largest


@pytest.mark.parametrize("peft_kind", PEFT_KINDS)
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
def test_learned_positions_cannot_be_turned(kind, tmp_path):
    bone = tiny.frozen(kind, position="prefix-kv")
    ticket = replace(tiny.ticket(bone, tokens=5, dropped_as="hide"), mask=WHOLE)
    with pytest.raises(ConfigError, match=r"without the 2 dropped tokens .* cannot be turned .* --dropped-as zero"):
        written(tmp_path, ticket, bone)


def test_a_prefix_hidden_from_some_heads_is_refused_in_one_line(tmp_path):
    bone = tiny.frozen("llama", position="prefix-kv")
    ragged = replace(tiny.ticket(bone, tokens=5, dropped_as="hide"), mask=tiny.masked([True] * 5, drop=[(0, 1)]))
    with pytest.raises(
        ConfigError, match=r"cannot become a PEFT adapter: .* hidden from some heads alone.* --keep-pieces 1.0"
    ) as refused:
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


@pytest.mark.parametrize("peft_kind", PEFT_KINDS)
def test_an_adapter_comes_back_as_the_ticket_that_answers_alike(peft_kind, tmp_path):
    bone = tiny.frozen("llama", position="prefix-kv")
    ticket = replace(tiny.ticket(bone, tokens=5, dropped_as="hide"), mask=WHOLE)
    (tmp_path / "ours").mkdir()
    folder = written(tmp_path / "ours", ticket, bone, peft_kind)
    restored = read_adapter(str(folder))
    assert (restored.position, restored.mask.tokens, restored.mask.piece.shape[1]) == ("prefix-kv", 3, 4)
    assert torch.equal(restored.state["values"], compacted(ticket, bone).state["values"])
    assert disagreement(folder, restored, bone) <= 1e-6


@cartridges
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


# ---- where it is the same function, and where not


def test_with_a_sliding_window_the_export_is_exact_as_far_as_it_says_and_no_further(tmp_path):
    bone = arch.frozen("gemma3", position="prefix-kv")  # window 8
    ticket = replace(tiny.ticket(bone, tokens=5, dropped_as="hide", scale=2.0), mask=WHOLE)
    exact = exact_text_tokens(ticket, compacted(ticket, bone), bone)
    folder = written(tmp_path, ticket, bone)
    assert json.loads((folder / "prunekit.json").read_text())["about"]["beside_prompt"] == exact == 3
    within, beyond = (measure(folder, ticket, bone, [tuple(range(5, 5 + length))]) for length in (exact, exact + 1))
    assert within.difference <= 1e-5 * within.largest
    assert beyond.difference > 1e-3 * beyond.largest


@pytest.mark.parametrize(("kind", "dropped_as"), [("gemma3", "remove"), ("llama", "hide")])
def test_without_a_window_or_slots_that_went_there_is_no_such_limit(kind, dropped_as):
    bone = arch.frozen(kind, position="prefix-kv")
    ticket = replace(tiny.ticket(bone, tokens=5, dropped_as=dropped_as), mask=WHOLE)
    assert exact_text_tokens(ticket, compacted(ticket, bone), bone) is None


def test_a_peft_without_cartridges_is_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.delattr(peft, "CartridgeConfig", raising=False)
    need_peft("PREFIX_TUNING")
    with pytest.raises(
        ConfigError, match=r"knows no cartridges: pip install -U peft \(0.19 or newer\), or use --to peft"
    ):
        need_peft("CARTRIDGE")


def test_layers_of_uneven_shapes_make_no_prompt():
    layers = [SimpleNamespace(keys=torch.ones(1, 2, 3, size), values=torch.ones(1, 2, 3, size)) for size in (4, 8)]
    with pytest.raises(ConfigError, match=r"the layers of Uneven do not all keep .* one shape.* use --position first"):
        vectors_of(SimpleNamespace(layers=layers), "Uneven")


# ---- PEFT alone, in an interpreter without prunekit

_ALONE = """
import sys, torch
sys.modules["prunekit"] = None
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

folder, *kinds = sys.argv[1:]
results = {}
for kind in kinds:
    base = AutoModelForCausalLM.from_pretrained(f"{folder}/{kind}/model", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, f"{folder}/{kind}/adapter").eval()
    for name, ids in load_file(f"{folder}/texts.safetensors").items():
        rows = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
        with torch.no_grad():
            results[f"{kind}.{name}"] = model(**rows).logits[0].contiguous()
            written = model.generate(**rows, max_new_tokens=64, do_sample=False, eos_token_id=None, pad_token_id=0)
        results[f"{kind}.{name}.written"] = written[0].contiguous()
save_file(results, f"{folder}/results.safetensors")
"""


def pruned_of(kind):
    """A decoder and a ticket that lost tokens: by being removed, or zeros where keys cannot be turned."""
    bone = arch.frozen(kind, position="prefix-kv")
    way = "zero" if kind in ("gpt2", "opt", "bloom") else "remove"
    return bone, replace(tiny.ticket(bone, tokens=5, dropped_as=way), mask=WHOLE)


@pytest.mark.parametrize(
    "kinds", [("llama", "gemma3", "gpt2"), pytest.param(arch.DECODERS, marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_peft_without_prunekit_answers_and_writes_64_tokens_as_the_ticket(kinds, forks, tmp_path):
    texts = {name: ids for name, ids in zip("ab", (arch.texts()[2], arch.texts()[1]), strict=True)}
    save_file(texts, tmp_path / "texts.safetensors")
    for kind in kinds:
        bone, ticket = pruned_of(kind)
        bone.model.save_pretrained(tmp_path / kind / "model")
        (tmp_path / kind / "adapter").mkdir()
        written(tmp_path / kind / "adapter", ticket, bone)
    words = ["-c", _ALONE, tmp_path, *kinds]
    alone = forks.run(words, tmp_path / "alone", program="python", cwd=str(tmp_path))
    assert alone.code == 0, alone.said
    results = load_file(tmp_path / "results.safetensors")
    for kind in kinds:
        bone, ticket = pruned_of(kind)
        attached = attach(bone.model, ticket)
        for name, ids in texts.items():
            with torch.no_grad():
                logits = attached(ids[None]).logits[0]
            theirs = results[f"{kind}.{name}"]
            assert float((logits - theirs).abs().max()) <= 1e-5 * float(logits.abs().max()), kind
            ours = attached.generate(ids[None], max_new_tokens=64, do_sample=False, eos_token_id=None, pad_token_id=0)
            assert torch.equal(ours[0], results[f"{kind}.{name}.written"]), kind
