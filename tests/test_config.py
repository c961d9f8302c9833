import hashlib

import pytest
from pydantic import ValidationError

from prunekit.config import Experiment, PruningSettings, TrainingSettings, identity


def experiment(**more) -> Experiment:
    return Experiment.model_validate({"model": {"name": "m"}, "task": {"name": "t"}, **more})


def test_the_defaults_are_the_published_ones():
    made = experiment()
    assert (made.prompt.tokens, made.prompt.pieces, made.prompt.init) == (20, 16, "vocabulary")
    training = made.training
    assert (training.batch_size, training.optimizer, training.weight_decay) == (16, "adamw", 1e-5)
    assert (training.warmup_fraction, training.clip_norm, training.head_learning_rate) == (0.06, 1.0, 3e-3)
    pruning = made.pruning
    assert (pruning.keep_tokens, pruning.keep_pieces, pruning.score) == (0.25, 0.5, "absolute")
    assert (pruning.rewind, pruning.absent, pruning.rounds) == ("trained", "remove", 3)
    assert not made.model.backbone_dropout
    assert made.seeds == (0,)


@pytest.mark.parametrize(
    ("given", "seeds"),
    [(3, (0, 1, 2)), ("3", (0, 1, 2)), ([4, 2], (4, 2)), ("3,5", (3, 5)), ("3, 5", (3, 5)), ([7], (7,))],
)
def test_seeds_are_a_count_or_named(given, seeds):
    assert experiment(seeds=given).seeds == seeds


@pytest.mark.parametrize("given", [0, -1, "0", [], [1, 1], [-1], "a", "1,", True])
def test_seeds_that_make_no_sense_are_refused(given):
    with pytest.raises(ValidationError):
        experiment(seeds=given)


@pytest.mark.parametrize(
    ("given", "kept"), [("5", 5), (5, 5), ("0.25", 0.25), (0.25, 0.25), ("1.0", 1.0), (1.0, 1.0), (1, 1), ("-3", -3)]
)
def test_digits_alone_are_a_count_and_a_point_makes_a_fraction(given, kept):
    made = PruningSettings(keep_tokens=given).keep_tokens
    assert made == kept
    assert type(made) is type(kept)


@pytest.mark.parametrize("given", ["nan", float("nan"), float("inf"), "inf", "many"])
def test_a_keep_that_is_no_number_is_refused(given):
    with pytest.raises(ValidationError):
        PruningSettings(keep_tokens=given)


@pytest.mark.parametrize(("given", "rewind"), [("trained", "trained"), ("fresh", "fresh"), ("10", 10), (0, 0)])
def test_rewind_is_a_word_or_a_step(given, rewind):
    assert PruningSettings(rewind=given).rewind == rewind


@pytest.mark.parametrize(
    "wrong",
    [
        {"rewind": "late"}, {"rewind": -1}, {"rounds": -1}, {"score": "gradient"}, {"absent": "drop"}, {"keep": 1},
    ],
)  # fmt: skip
def test_pruning_refuses_what_it_does_not_know(wrong):
    with pytest.raises(ValidationError):
        PruningSettings.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"train_steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": -1.0}, {"patience": 0},
        {"warmup_fraction": 1.1}, {"clip_norm": 0.0}, {"learning_rate": "fast"}, {"weight_decay": -1e-5},
    ],
)  # fmt: skip
def test_training_refuses_what_cannot_work(wrong):
    with pytest.raises(ValidationError):
        TrainingSettings.model_validate(wrong)


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        experiment().training.batch_size = 3


def test_identity_is_the_sha256_of_canonical_json():
    text = b'{"a":[1,2.5,null],"b":"x"}'
    assert identity({"b": "x", "a": [1, 2.5, None]}) == hashlib.sha256(text).hexdigest()[:8]
    assert len(identity({}, length=4)) == 4
    assert identity({"a": 1}) != identity({"a": 2})


def test_identity_refuses_what_json_has_no_word_for():
    with pytest.raises(ValueError, match="JSON"):
        identity({"a": float("nan")})
