"""`prunekit export` of prefixes that some heads alone do not see, as its user meets it."""

import json
import re
from dataclasses import replace

import architectures as arch
import pytest
import tiny
import torch
from safetensors.torch import load_file
from test_null_keys import RAGGED, biased
from tiny import call
from transformers import AutoModelForCausalLM, DynamicCache

from prunekit.export import read_adapter
from prunekit.export.attach import attach
from prunekit.runs.ticket_file import save_ticket

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's and transformers' own, others in every version


@pytest.fixture(scope="module")
def ticket(folder):
    """A ragged ticket in a file, and flags to export it with; the model's queries have a part in common."""
    bone = biased("llama")
    bone.model.save_pretrained(folder / "model-biased")
    tiny.tokenizer("llama").save_pretrained(folder / "model-biased")
    tiny.save_task(folder / "toy")
    save_ticket(replace(tiny.ticket(bone, tokens=5, dropped_as="hide"), mask=RAGGED), folder / "ragged.ticket")
    flags = [f"--task={folder / 'toy' / 'toy.toml'}", f"--data={folder / 'toy'}", "--threads=1", "--allow-changed"]
    return folder / "ragged.ticket", [*flags, "--max-input-tokens=20"]


def test_a_ragged_prefix_goes_to_peft_with_what_its_null_keys_hold_for(ticket, folder, tmp_path, capsys):
    path, flags = ticket
    pytest.importorskip("peft")
    assert call("export", path, f"--model={folder / 'model-biased'}", *flags, f"--out={tmp_path / 'out'}") == 0
    lines = capsys.readouterr().out
    assert re.search(
        r"null keys stand for hidden tokens in 4 heads; for texts of up to 40 tokens they draw at most", lines
    )
    assert re.search(r"largest difference of logits under PEFT \S+: \S+ over 12 test rows", lines)
    assert "0 of 12 answers differ" in lines
    assert json.loads((tmp_path / "out" / "prunekit.json").read_text())["about"]["null_keys"]["heads"] == 4


def test_a_cache_is_loaded_by_a_few_lines_of_transformers(ticket, folder, tmp_path, capsys):
    path, flags = ticket
    model, out = folder / "model-biased", tmp_path / "out"
    assert call("export", path, f"--model={model}", *flags, f"--out={out}", "--to=cache") == 0
    assert "largest difference of logits behind the cache: " in capsys.readouterr().out
    tensors = load_file(out / "cache.safetensors")
    cache = DynamicCache()
    for layer in range(len(tensors) // 2):
        cache.update(tensors[f"layers.{layer}.keys"], tensors[f"layers.{layer}.values"], layer)
    ids = arch.texts(4)[3][None]
    mask = torch.ones(1, cache.get_seq_length() + ids.shape[1], dtype=torch.long)
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    bone = biased("llama")
    with torch.no_grad():
        logits = plain(input_ids=ids, attention_mask=mask, past_key_values=cache).logits
        expected = attach(bone.model, replace(tiny.ticket(bone, tokens=5, dropped_as="hide"), mask=RAGGED))(ids).logits
    assert float((logits - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_whole_tokens_are_another_ticket_evaluated_again(ticket, folder, tmp_path, capsys):
    path, flags = ticket
    pytest.importorskip("peft")
    out = tmp_path / "out"
    assert call("export", path, f"--model={folder / 'model-biased'}", *flags, f"--out={out}", "--whole") == 0
    accuracy = re.search(r"whole tokens, another ticket; on the test split accuracy (\S+)", capsys.readouterr().out)[1]
    about = json.loads((out / "prunekit.json").read_text())["about"]
    assert f"{about['metrics']['accuracy']:.4f}" == accuracy
    restored = read_adapter(str(out))
    assert (restored.mask.tokens, restored.mask.cells) == (3, 12)


def test_without_separating_keys_one_line_says_so_and_nothing_is_written(ticket, folder, tmp_path, capsys):
    path, flags = ticket
    tiny.save_model("llama", folder / "model-llama")
    assert call("export", path, f"--model={folder / 'model-llama'}", *flags, f"--out={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"4 of the 4 heads .* \(2 of layer 0, 2 of layer 1\), .*use --whole", error)
    assert not (tmp_path / "out").exists()


def test_whole_is_refused_where_every_token_is_whole(ticket, folder, tmp_path, capsys):
    flags = [f"--model={folder / 'model-biased'}", *ticket[1], f"--out={tmp_path / 'out'}", "--whole"]
    bone = tiny.frozen("llama", position="prefix-kv")
    save_ticket(tiny.ticket(bone, dropped_as="hide"), tmp_path / "dense.ticket")
    assert call("export", tmp_path / "dense.ticket", *flags) == 2
    assert "--whole is for tickets of keys and values that some heads alone do not see" in capsys.readouterr().err
