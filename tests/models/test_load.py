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
    def save(kind):
        path = tmp_path / kind
        tiny.model(kind).save_pretrained(path)
        tiny.tokenizer(kind).save_pretrained(path)
        return path

    return save


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
    with torch.no_grad():
        both = [one.logits(prompt_batch([Member(tiny.ticket(wanted))]), one.batch([rows], every_choice=True))
                for one in (bone, wanted)]  # fmt: skip
    # weights in a mapped file lie elsewhere in memory, by which the last bit of a product may depend
    assert torch.allclose(*both, rtol=1e-5)
    for (name, one), (other_name, other) in zip(
        bone.model.state_dict().items(), wanted.model.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert torch.equal(one, other)


def test_options_reach_the_model(folder):
    bone = load(str(folder("bert")), position="first", ranking="mean", max_input_tokens=9, precision="bfloat16")
    assert (bone.position, bone.ranking, bone.max_input_tokens) == ("first", "mean", 9)
    assert next(bone.model.parameters()).dtype == torch.bfloat16


def test_an_encoder_with_a_task_head_is_taken_without_it():
    from transformers import BertForSequenceClassification

    with torch.random.fork_rng():
        whole = BertForSequenceClassification(tiny.model("bert").config)
    assert wrap(whole, tiny.tokenizer("bert")).model is whole.bert


def test_a_model_in_memory_is_frozen():
    bone = tiny.frozen("gpt2")
    assert not any(parameter.requires_grad for parameter in bone.model.parameters())


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_model_that_is_nowhere_is_named():
    with pytest.raises(DataError) as caught:
        load("nobody/no-such-model")
    assert 'model "nobody/no-such-model"' in one_line(caught)


def test_a_folder_that_holds_no_model_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        load(str(tmp_path))
    assert str(tmp_path) in one_line(caught)


@pytest.mark.parametrize("content", [b"{", b'{"model_type": "nothing"}', b"[]", b'{"model_type": "bert"}'])
def test_a_damaged_configuration_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(DataError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(str(tmp_path))
    assert str(tmp_path) in one_line(caught)


def test_damaged_weights_are_one_line(folder):
    path = folder("bert")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError) as caught:
        load(str(path))
    assert str(path) in one_line(caught)


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
    found = bone.forward(
        prompt_batch([Member(tiny.ticket(bone))]), bone.batch([tiny.encoded(bone, tiny.examples(2))], every_choice=True)
    )
    assert found.logits.isfinite().all()


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
