import pytest
import tiny
import torch

from prunekit.experiment.prepare import prepare
from prunekit.support.errors import ConfigError


def ready(folder, **more):
    return prepare(tiny.experiment("gpt2", folder, **more))


def test_auto_values_are_resolved_and_shown(folder):
    made = ready(folder, train_steps=None, evaluate_every=None, learning_rate=None)
    plan = made.plan
    assert plan.train_steps == 100  # ten epochs of 24 examples would be 60; a hundred is the least
    assert plan.evaluate_every == 10
    assert plan.learning_rate == pytest.approx(0.2 * made.model.embedding_rms, rel=0.01)
    assert made.experiment.training.learning_rate == plan.learning_rate
    assert made.experiment.model.position == "first"
    assert ready(folder, optimizer="adafactor", learning_rate=None).plan.learning_rate == 0.3
    clipped = ready(folder, optimizer="sgd", learning_rate=None, clip_norm=0.5, tokens=4)
    assert clipped.plan.learning_rate == pytest.approx(plan.learning_rate * (4 * tiny.WIDTH) ** 0.5 / 0.5)


@pytest.mark.parametrize("other", [{"method": "residual"}, {"position": "prefix-kv"}])
def test_plain_gradient_descent_has_no_automatic_rate_elsewhere(folder, other):
    with pytest.raises(ConfigError, match="give --learning-rate"):
        ready(folder, optimizer="sgd", learning_rate=None, **other)
    assert ready(folder, optimizer="sgd", learning_rate=0.5, **other).plan.learning_rate == 0.5


def test_epochs_are_so_many_updates_and_the_same_run(folder):
    """Of 24 examples in batches of 5; what does not fill a batch is left out of an epoch."""
    epochs = ready(folder, batch_size=5, train_steps="3 epochs", evaluate_every="1 epoch")
    assert (epochs.plan.train_steps, epochs.plan.evaluate_every) == (12, 4)
    assert epochs.id == ready(folder, batch_size=5, train_steps=12, evaluate_every=4).id


def test_the_id_is_the_content_not_the_path(folder, tmp_path):
    made = ready(folder)
    moved = tmp_path / "elsewhere"
    tiny.save_model("gpt2", moved / "model-gpt2")
    tiny.save_task(moved / "toy")
    assert prepare(tiny.experiment("gpt2", moved)).id == made.id
    assert made.name == f"toy-model-gpt2-direct-{made.id}"


@pytest.mark.parametrize(
    "change", [dict(train_steps=8), dict(prompt_tokens=8), dict(train_examples=8), dict(precision="bfloat16")]
)
def test_whatever_decides_round_0_changes_the_id(folder, change):
    assert ready(folder, **change).id != ready(folder).id


@pytest.mark.parametrize("change", [dict(seeds=3), dict(rounds=1), dict(score="random"), dict(width=2)])
def test_what_does_not_decide_round_0_leaves_the_id(folder, change):
    assert ready(folder, **change).id == ready(folder).id


def test_prunings_differ_in_their_stage(folder):
    assert ready(folder).stage != ready(folder, rewind="init").stage
    assert ready(folder).stage == ready(folder, seeds=2).stage


def test_starts_depend_on_the_seed_alone(folder):
    made = ready(folder)
    one, again, other = (made.dense(seed).state["values"] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    vocabulary = made.model.embed(torch.tensor(made.model.ordinary_ids()))
    assert all(any(torch.equal(row, word) for word in vocabulary) for row in one)


@pytest.mark.parametrize("init", ["uniform", "labels"])
def test_other_starts(folder, init):
    values = ready(folder, init=init).dense(0).state["values"]
    if init == "labels":
        made = ready(folder)
        word = made.model.tokenizer("good", add_special_tokens=False)["input_ids"]
        assert torch.allclose(values[0], made.model.embed(torch.tensor(word))[0])
    assert values.shape == (4, 32)


def test_text_starts_need_their_words(folder):
    with pytest.raises(ConfigError, match="--init-text"):
        ready(folder, init="text")
    assert ready(folder, init="text", init_text="good bad").dense(0).state["values"].shape == (4, 32)


def test_a_score_of_choices_is_refused_where_answers_are_written_before_anything_is_trained(folder):
    with pytest.raises(ConfigError, match="score = margin needs answers to choose among"):
        ready(folder, task="swap", score="margin")
    assert ready(folder, score="margin").experiment.pruning.finder_name == "margin"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_that_no_run_is_made_in_are_refused(folder, dtype):
    bone = tiny.frozen("gpt2")
    bone.model.to(dtype)
    with pytest.raises(ConfigError, match=r"load it with dtype=torch\.float32"):
        prepare(tiny.experiment("gpt2", folder), bone)
