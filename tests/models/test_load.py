import warnings

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.models import load, wrap
from prunekit.models.decoder import Decoder
from prunekit.models.encoder import Encoder
from prunekit.models.encoder_decoder import EncoderDecoder
from prunekit.models.load import family
from prunekit.support.errors import ConfigError, DataError

FAMILIES = {"t5": EncoderDecoder, "bart": EncoderDecoder, "gpt2": Decoder, "llama": Decoder, "opt": Decoder}
FAMILIES |= {"neox": Decoder, "bert": Encoder, "roberta": Encoder}
WORDS = {EncoderDecoder: "encoder-decoder", Decoder: "decoder", Encoder: "encoder"}


@pytest.fixture
def folder(tmp_path):
    return lambda kind: tiny.save_model(kind, tmp_path / kind)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_each_kind_gets_its_family(kind):
    bone = tiny.frozen(kind)
    assert type(bone) is FAMILIES[kind]
    assert family(tiny.model(kind).config) == WORDS[FAMILIES[kind]]


@pytest.mark.parametrize("kind", ["voxtral", "qwen2_audio", "granite_speech"])
def test_a_decoder_that_hears_is_no_encoder_though_it_is_listed_beside_encoder_decoders(kind):
    assert family(AutoConfig.for_model(kind)) == "decoder"


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_what_is_loaded_from_a_folder_is_what_was_saved(folder, kind):
    bone = load(str(folder(kind)))
    wanted = tiny.frozen(kind)
    assert type(bone) is type(wanted)
    assert not any(parameter.requires_grad for parameter in bone.model.parameters())
    assert not bone.model.training
    rows = tiny.encoded(wanted, tiny.examples(3))
    assert tiny.encoded(bone, tiny.examples(3)) == rows
    # weights in a mapped file lie elsewhere in memory, by which the last bit of a product may depend
    assert torch.allclose(*(tiny.logits(one, rows, tiny.ticket(wanted)) for one in (bone, wanted)), rtol=1e-5)
    tensors, others = bone.model.state_dict(), wanted.model.state_dict()
    assert list(tensors) == list(others)
    assert all(torch.equal(one, others[name]) for name, one in tensors.items())


def test_options_reach_the_model(folder):
    bone = load(str(folder("bert")), position="first", ranking="mean", max_input_tokens=9, precision="bfloat16")
    assert (bone.position, bone.ranking, bone.max_input_tokens) == ("first", "mean", 9)
    assert next(bone.model.parameters()).dtype == torch.bfloat16


def test_an_encoder_with_a_task_head_is_taken_without_it():
    from transformers import BertForSequenceClassification

    with torch.random.fork_rng():
        whole = BertForSequenceClassification(tiny.model("bert").config)
    bone = wrap(whole, tiny.tokenizer("bert"))
    assert bone.model is whole.bert
    assert not any(parameter.requires_grad for parameter in bone.model.parameters())  # in memory, too, it is frozen


def refused(name, said):
    """In one line."""
    with pytest.raises(DataError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(str(name))
    assert "\n" not in str(caught.value)
    assert said in str(caught.value)


def test_a_model_that_is_nowhere_and_a_folder_that_holds_none_are_named(tmp_path):
    refused("nobody/no-such-model", 'model "nobody/no-such-model"')
    refused(tmp_path, str(tmp_path))


@pytest.mark.parametrize("content", [b"{", b'{"model_type": "nothing"}', b"[]", b'{"model_type": "bert"}'])
def test_a_damaged_configuration_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    refused(tmp_path, str(tmp_path))


def test_damaged_weights_are_one_line(folder):
    path = folder("bert")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(path, str(path))


def test_weights_that_the_checkpoint_lacks_are_refused(folder):
    path = folder("gpt2")
    weights = load_file(path / "model.safetensors")
    del weights["transformer.h.0.attn.c_attn.weight"]
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks .*it would be random"):
        load(str(path))


def test_a_pooler_that_the_checkpoint_lacks_is_dropped(folder):
    path = folder("bert")
    weights = {k: v for k, v in load_file(path / "model.safetensors").items() if not k.startswith("pooler.")}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    bone = load(str(path))
    assert bone.model.pooler is None
    assert tiny.logits(bone, tiny.encoded(bone, tiny.examples(2)), tiny.ticket(bone)).isfinite().all()


def test_loading_says_nothing(folder, capfd):
    path = str(folder("gpt2"))
    capfd.readouterr()
    load(path)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_real_model_loads(shared):
    path = shared / "models" / "stories260k"
    if not path.is_dir():
        pytest.skip("no stories260k among the shared models")
    bone = load(str(path))
    assert isinstance(bone, Decoder)
    rows = tiny.encoded(bone, tiny.examples(2))
    with torch.no_grad():
        found = bone.forward(prompt_batch([Member(tiny.ticket(bone))]), bone.batch([rows], every_choice=True))
    assert found.losses.isfinite().all()
