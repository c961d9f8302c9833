"""Adapters of others: whatever a ticket cannot carry is refused by its name, and the rest answers as under PEFT."""

import json
import os
import time
from dataclasses import fields

import architectures as arch
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from prunekit import export
from prunekit.export import TicketInfo, peft_format
from prunekit.export.attach import attach
from prunekit.support.errors import ArtifactError, ConfigError, DataError, PrunekitError

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's and transformers' own, others in every version

PLAIN = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 2}


def put(folder, tensors=None, **settings):
    """An adapter of two tokens, with other settings and further tensors."""
    (folder / peft_format.CONFIG).write_text(json.dumps(PLAIN | settings))
    save_file({"prompt_embeddings": torch.ones(2, 32)} | (tensors or {}), folder / peft_format.TENSORS)
    return str(folder)


def refused(source, *words, kind=ConfigError):
    with pytest.raises(kind) as said:
        export.read_adapter(source, pieces=4)
    assert "\n" not in str(said.value)
    for word in words:
        assert word in str(said.value)


# ---- settings


@pytest.mark.parametrize(
    "settings",
    [
        {"token_dim": 32, "num_transformer_submodules": 1, "num_attention_heads": 4, "num_layers": 2},
        {"token_dim": None, "num_transformer_submodules": None, "modules_to_save": None, "revision": None},
        {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "say", "tokenizer_name_or_path": "some/model"},
        {"inference_mode": False, "peft_version": "0.99.0", "auto_mapping": {"base_model_class": "Own"}},
        {"peft_type": "P_TUNING", "encoder_hidden_size": 8, "encoder_dropout": 0.5, "encoder_num_layers": 3},
        {"modules_to_save": [], "of_a_later_version": None, "another": False, "third": "", "fourth": {}},
        {"task_type": None},
    ],
)
def test_settings_that_change_no_answer_are_taken(settings, tmp_path):
    assert export.read_adapter(put(tmp_path, **settings), pieces=4).mask.tokens == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": "embed_tokens"},
        {"modules_to_save": {"a": 1}},
        {"modules_to_save": ["classifier"]},
        {"modules_to_save": ["score", "pooler"], "task_type": "SEQ_CLS"},
        {"trainable_token_indices": [5, 6]},
        {"layers_to_transform": 0},
        {"layers_to_transform": [1]},
        {"fan_in_fan_out": True},
        {"r": 8},
        {"lora_alpha": 0},
        {"target_modules": ["q_proj"]},
        {"prompt_position": "suffix"},
        {"num_transformer_submodules": 2},
        {"num_transformer_submodules": 3, "task_type": "SEQ_2_SEQ_LM"},
        {"num_transformer_submodules": True},
        {"num_transformer_submodules": 1.0},
        {"num_virtual_tokens": True},
        {"num_virtual_tokens": 2.0},
        {"num_virtual_tokens": "2"},
        {"num_virtual_tokens": None},
        {"num_virtual_tokens": 0},
        {"num_virtual_tokens": -2},
        {"num_virtual_tokens": 1},
        {"num_virtual_tokens": 10**30},
        {"token_dim": 31},
        {"token_dim": True},
        {"token_dim": "32"},
        {"revision": 5},
        {"base_model_name_or_path": ["a"]},
    ],
)
def test_a_setting_that_a_ticket_cannot_carry_is_refused_by_its_name(settings, tmp_path):
    refused(put(tmp_path, **settings), next(iter(settings)))


def test_every_setting_that_peft_has_was_looked_at():
    peft = pytest.importorskip("peft")
    for kind in (peft.PromptTuningConfig, peft.PromptEncoderConfig):
        names = {one.name for one in fields(kind)}
        assert names <= peft_format._WITHOUT_EFFECT | peft_format._CHECKED
        assert {"num_virtual_tokens", "modules_to_save", "token_dim"} <= names


# ---- tensors


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("base_model.lm_head.weight", torch.ones(8, 32)),
        ("base_model.model.embed_tokens.weight", torch.ones(8, 32)),
        ("base_model.model.embed_tokens.token_adapter.trainable_tokens_delta", torch.ones(2, 32)),
        ("base_model.classifier.weight", torch.ones(2, 32)),
        ("prompt_encoder.mlp_head.0.weight", torch.ones(32, 32)),
        ("token_ids", torch.ones(2, dtype=torch.long)),
        ("flag", torch.tensor(True)),
        ("nothing", torch.ones(0, 4)),
        ("x" * 500, torch.ones(1)),
    ],
)
def test_a_tensor_beside_the_prompt_is_refused_by_its_name(name, tensor, tmp_path):
    refused(put(tmp_path, {name: tensor}), name[:50])


def test_a_classification_adapters_further_tensors_are_refused_too(tmp_path):
    head = {
        f"base_model.classifier.{name}": torch.ones(*shape) for name, shape in (("weight", (2, 32)), ("bias", (2,)))
    }
    source = put(tmp_path, head, task_type="SEQ_CLS", modules_to_save=["classifier", "score", "classifier"])
    assert export.read_adapter(source, pieces=4).head["weight"].shape == (2, 32)
    refused(put(tmp_path, head | {"base_model.pooler.weight": torch.ones(1)}, task_type="SEQ_CLS"), "pooler.weight")
    refused(put(tmp_path, {"base_model.score.weight": torch.ones(2, 32)}, task_type="SEQ_CLS"), "score.weight")


@pytest.mark.parametrize(
    "prompt",
    [torch.ones(3, 32), torch.ones(1, 32), torch.ones(4, 32), torch.ones(64), torch.ones(2, 4, 8), torch.ones(2, 0)],
)
def test_rows_beyond_or_short_of_the_prompt_are_refused(prompt, tmp_path):
    refused(put(tmp_path, {"prompt_embeddings": prompt}), "prompt_embeddings", str(list(prompt.shape)))


def test_numbers_that_are_no_floats_are_refused(tmp_path):
    refused(put(tmp_path, {"prompt_embeddings": torch.ones(2, 32, dtype=torch.long)}), "prompt_embeddings", "I64")
    refused(put(tmp_path, {"prompt_embeddings": torch.ones(2, 32).bool()}), "prompt_embeddings", "BOOL")
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        source = put(tmp_path, {"prompt_embeddings": torch.ones(2, 32, dtype=dtype)})
        assert export.read_adapter(source, pieces=4).state["values"].dtype == torch.float32
    too_large = torch.full((2, 32), 1e300, dtype=torch.float64)
    refused(put(tmp_path, {"prompt_embeddings": too_large}), "infinite", kind=ArtifactError)


# ---- what encoder-decoders and other modules look like when PEFT saved them


@pytest.mark.parametrize("kind", arch.ENCODER_DECODERS)
def test_the_decoders_rows_which_peft_never_reads_are_left_out(kind, tmp_path):
    peft = pytest.importorskip("peft")
    bone = arch.frozen(kind)
    made = peft.get_peft_model(bone.model, peft.PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3))
    made.eval().save_pretrained(tmp_path)
    assert load_file(tmp_path / peft_format.TENSORS)["prompt_embeddings"].shape == (6, tiny.WIDTH)
    ticket = export.read_adapter(str(tmp_path), pieces=4)
    assert ticket.mask.tokens == 3
    ids, begun = arch.texts()[5][None], torch.tensor([[0, 4]])
    with torch.no_grad():
        theirs = made(input_ids=ids, decoder_input_ids=begun).logits
        assert torch.equal(attach(bone.model, ticket)(ids, decoder_input_ids=begun).logits, theirs)
    config = json.loads((tmp_path / peft_format.CONFIG).read_bytes())
    (tmp_path / peft_format.CONFIG).write_text(json.dumps(config | {"num_transformer_submodules": 1}))
    refused(str(tmp_path), "num_virtual_tokens = 3", "[6, 32]")


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_a_module_that_peft_trained_beside_the_prompt_is_refused(module, tmp_path):
    peft = pytest.importorskip("peft")
    model = arch.frozen("llama").model
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, modules_to_save=[module])
    peft.get_peft_model(model, config).save_pretrained(tmp_path)
    refused(str(tmp_path), module)
    config = json.loads((tmp_path / peft_format.CONFIG).read_bytes())
    (tmp_path / peft_format.CONFIG).write_text(json.dumps(config | {"modules_to_save": None}))
    refused(str(tmp_path), f"{module}.weight")  # its tensor is there still


# ---- files that claim more than they hold, or are none


def header(folder, **tensors):
    """A file whose header claims tensors: name -> (dtype, shape, bytes)."""
    facts = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
        for name, (dtype, shape, size) in tensors.items()
    }
    text = json.dumps(facts).encode()
    (folder / peft_format.TENSORS).write_bytes(len(text).to_bytes(8, "little") + text)


def test_a_small_file_that_claims_a_huge_prompt_is_refused_at_once(tmp_path):
    for count, shape, size in [
        (10**8, [10**8, 0], 0),
        (2, [2, 0], 0),
        (10**8, [10**8, 32], 10**8 * 128),
        (2**62, [2**62, 2**62], 0),
        (2, [2, 32], 256),
    ]:
        (tmp_path / peft_format.CONFIG).write_text(json.dumps(PLAIN | {"num_virtual_tokens": count}))
        header(tmp_path, prompt_embeddings=("F32", shape, size))
        start = time.monotonic()
        refused(str(tmp_path), kind=PrunekitError)
        assert time.monotonic() - start < 1


def test_a_sparse_file_of_a_whole_huge_prompt_is_refused_before_it_is_read(tmp_path):
    rows = 2**23
    (tmp_path / peft_format.CONFIG).write_text(json.dumps(PLAIN | {"num_virtual_tokens": rows}))
    header(tmp_path, prompt_embeddings=("F32", [rows, 1024], rows * 4096))
    path = tmp_path / peft_format.TENSORS
    try:
        os.truncate(path, path.stat().st_size + rows * 4096)
    except OSError:
        pytest.skip("this file system has no sparse files")
    start = time.monotonic()
    refused(str(tmp_path), kind=PrunekitError)  # where so much cannot be mapped, that is what is said
    assert time.monotonic() - start < 1


def test_a_header_that_is_longer_than_any_adapters_is_not_read(tmp_path):
    put(tmp_path)
    path = tmp_path / peft_format.TENSORS
    path.write_bytes((2**26).to_bytes(8, "little") + b" " * 64)
    os.truncate(path, 2**26 + 8)
    refused(str(tmp_path), "more tensors than any adapter", kind=DataError)


@pytest.mark.parametrize("name", [peft_format.CONFIG, peft_format.TENSORS, "prunekit.json"])
def test_a_pipe_or_a_folder_in_place_of_a_file_is_not_waited_for(name, tmp_path):
    bone = arch.frozen("gpt2")
    for number, make in enumerate((os.mkfifo, os.mkdir)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file, content in export.adapter_files(arch.ticket(bone), bone, TicketInfo()).items():
            (folder / file).write_bytes(content)
        (folder / name).unlink()
        make(folder / name)
        refused(str(folder), kind=PrunekitError)


def test_settings_of_many_megabytes_are_not_read(tmp_path):
    put(tmp_path)
    os.truncate(tmp_path / peft_format.CONFIG, 2**30)
    refused(str(tmp_path), peft_format.CONFIG, kind=DataError)
