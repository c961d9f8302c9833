"""Models spread over memories come to what they come to whole; what cannot be done is refused in one line."""

import pytest
import tiny
import torch

from prunekit.engine import memory
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.train import train
from prunekit.experiment.prepare import prepare
from prunekit.models import load, weights
from prunekit.support.errors import ConfigError

# what of each tiny model lies on disk; the rest in main memory
ON_DISK = {
    "gpt2": {"transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.drop": "cpu", "transformer.h": "disk",
             "transformer.ln_f": "cpu", "lm_head": "cpu"},
    "bert": {"embeddings": "cpu", "encoder": "disk", "pooler": "cpu"},
    "t5": {"shared": "cpu", "encoder.embed_tokens": "cpu", "encoder.block": "disk", "encoder.final_layer_norm": "cpu",
           "encoder.dropout": "cpu", "decoder": "cpu", "lm_head": "cpu"},
}  # fmt: skip


@pytest.fixture(scope="module", params=sorted(ON_DISK))
def both(request, tmp_path_factory):
    """The same model whole, and with its layers on disk."""
    folder = tiny.save_model(request.param, tmp_path_factory.mktemp("large") / "model")
    plain = load(str(folder))
    with pytest.MonkeyPatch.context() as patch:
        told = weights.loading_arguments

        def spread(*arguments):
            return told(*arguments) | {"device_map": ON_DISK[request.param]}

        patch.setattr(weights, "loading_arguments", spread)
        return plain, load(str(folder), device="auto")


def judged(bone):
    cohort = [tiny.ticket(bone, seed=seed) for seed in range(2)]
    members = [Member(ticket) for ticket in cohort]
    losses = bone.losses(prompt_batch(members), bone.batch([tiny.encoded(bone, tiny.examples(4))], every_choice=False))
    losses.sum().backward()
    return losses.detach(), [one.grad for member in members for one in member.parameters()]


def test_losses_and_gradients_of_a_spread_model_are_those_of_the_whole(both):
    plain, spread = both
    assert spread.spread
    assert not plain.spread
    (losses, gradients), (others, theirs) = judged(plain), judged(spread)
    assert torch.allclose(losses, others, rtol=1e-6, atol=0)
    for one, other in zip(gradients, theirs, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6 * float(one.abs().max()))


def test_a_spread_model_is_the_same_model(both):
    plain, spread = both
    assert spread.digest() == plain.digest()
    assert spread.embedding_rms == plain.embedding_rms


def test_a_spread_model_trains_with_its_layers_computed_again(both):
    _, spread = both
    memory.recompute_activations(spread)
    tickets = [[tiny.ticket(bone, seed=seed) for seed in range(2)] for bone in both]
    plan = tiny.plan(train_steps=3, evaluate_every=3)
    ended = [train(some, bone, tiny.training_data(bone), plan) for some, bone in zip(tickets, both, strict=True)]
    for one, other in zip(*ended, strict=True):
        mine, theirs = one.last.values.state["values"], other.last.values.state["values"]
        assert torch.allclose(mine, theirs, atol=1e-5)
    assert any(tensor.is_meta for tensor in spread.model.state_dict().values())  # they went back to where they lie


def test_a_run_takes_a_device_map(tmp_path):
    made, _ = tiny.finished("gpt2", tmp_path, tmp_path / "a", device_map="auto")
    plain, _ = tiny.finished("gpt2", tmp_path, tmp_path / "b")
    assert made.settings()["machine"]["device_map"] == "auto"
    assert made.path.name == plain.path.name
    with pytest.raises(ConfigError, match="begun with device_map = auto; use the same"):
        tiny.finished("gpt2", tmp_path, tmp_path / "a")


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_quantised_weights_are_refused_where_there_is_no_cuda(bits, tmp_path):
    with pytest.raises(ConfigError, match=f"--quantize {bits}: needs a CUDA device, not cpu; use --precision bfloat16"):
        prepare(tiny.experiment("gpt2", tmp_path, quantize=bits))


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="accelerate is not installed; pip install accelerate bitsandbytes"):
        weights.loading_arguments("float32", "auto", 32)
    with pytest.raises(ConfigError, match="bitsandbytes is not installed; pip install accelerate bitsandbytes"):
        weights.loading_arguments("8bit", "cuda", 32)


def test_quantised_weights_are_asked_for_by_their_bits(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: object())
    four, eight = (weights.loading_arguments(bits, "cuda:1", 32) for bits in ("4bit", "8bit"))
    assert four["quantization_config"].load_in_4bit
    assert eight["quantization_config"].load_in_8bit
    assert four["device_map"] == eight["device_map"] == {"": "cuda:1"}
