import hashlib
import re

import numpy as np
import pytest
from pydantic import ValidationError

from prunekit.experiment.settings import Experiment, PruningSettings, TrainingSettings
from prunekit.support import toml
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError


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
    assert (pruning.rewind, pruning.dropped_as, pruning.rounds) == ("trained", "remove", 3)
    assert not made.model.model_dropout
    assert made.seeds == (0,)


@pytest.mark.parametrize(
    ("given", "seeds"),
    [(3, (0, 1, 2)), ("3", (0, 1, 2)), ([4, 2], (4, 2)), ("3,5", (3, 5)), ("3, 5", (3, 5)), ("7,", (7,)), ([7], (7,))],
)
def test_seeds_are_a_count_or_named(given, seeds):
    assert experiment(seeds=given).seeds == seeds


@pytest.mark.parametrize(
    ("given", "kept"), [("5", 5), (5, 5), ("0.25", 0.25), (0.25, 0.25), ("1.0", 1.0), (1.0, 1.0), (1, 1), ("-3", -3)]
)
def test_digits_alone_are_a_count_and_a_point_makes_a_fraction(given, kept):
    made = PruningSettings(keep_tokens=given).keep_tokens
    assert made == kept
    assert type(made) is type(kept)


@pytest.mark.parametrize(("given", "rewind"), [("trained", "trained"), ("reinit", "reinit"), ("10", 10), (0, 0)])
def test_rewind_is_a_word_or_a_step(given, rewind):
    assert PruningSettings(rewind=given).rewind == rewind


WRONG = [
    *(("seeds", given) for given in (0, -1, "0", [], [1, 1], [-1], "a", ",", "1,,", True)),
    *(("pruning", {"keep_tokens": given}) for given in ("nan", float("nan"), float("inf"), "inf", "many")),
    *(("pruning", wrong) for wrong in (
        {"rewind": "late"}, {"rewind": -1}, {"rounds": -1}, {"score": "gradient"}, {"dropped_as": "drop"}, {"keep": 1},
    )),
    *(("training", wrong) for wrong in (
        {"train_steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": -1.0}, {"patience": 0},
        {"warmup_fraction": 1.1}, {"clip_norm": 0.0}, {"learning_rate": "fast"}, {"weight_decay": -1e-5},
    )),
]  # fmt: skip


@pytest.mark.parametrize(("section", "wrong"), WRONG)
def test_what_makes_no_sense_is_refused(section, wrong):
    with pytest.raises(ValidationError, match=section):
        experiment(**{section: wrong})


@pytest.mark.parametrize(("text", "value"), [("100 epochs", "100 epochs"), (" 1 epochs", "1 epoch"), ("7", 7)])
def test_updates_may_be_said_in_epochs(text, value):
    assert TrainingSettings(train_steps=text, evaluate_every=text).evaluate_every == value


@pytest.mark.parametrize("wrong", ["0 epochs", "1.5 epochs", "epochs", "5 epoch each", "5epochs", "1000000000 epochs"])
def test_other_words_are_no_epochs(wrong):
    with pytest.raises(ValidationError, match='say epochs as "100 epochs"'):
        TrainingSettings(train_steps=wrong)


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


# ---- whole numbers and their bounds

BOUNDS = [
    ("pruning", "rounds", 0, 1_000),
    ("pruning", "rewind", 0, 10_000_000),
    ("pruning", "score_examples", 1, 1_000_000_000),
    ("training", "train_steps", 1, 10_000_000),
    ("training", "evaluate_every", 1, 10_000_000),
    ("training", "patience", 1, 10_000_000),
    ("training", "batch_size", 1, 65_536),
    ("prompt", "tokens", 1, 10_000),
    ("prompt", "frozen_tokens", 0, 10_000),
    ("prompt", "pieces", 1, 65_536),
    ("prompt", "rank", 1, 65_536),
    ("prompt", "bottleneck", 1, 65_536),
    ("prompt", "dimension", 1, 65_536),
    ("baselines", "shots", 0, 64),
    ("machine", "threads", 1, 1_024),
    ("machine", "width", 1, 1_024),
    ("machine", "processes", 1, 4_096),
    ("model", "max_input_tokens", 1, 10_000_000),
    ("model", "text_cache_mb", 0, 1_048_576),
    ("task", "train_examples", 1, 1_000_000_000),
    ("task", "validation_examples", 1, 1_000_000_000),
    ("task", "test_examples", 1, 1_000_000_000),
    ("task", "data_seed", -(2**63 - 1), 2**63 - 1),
]  # fmt: skip


def refused(section, name, value):
    """The one line in which a value is refused."""
    with pytest.raises(ConfigError) as error:
        toml.parse({section: {name: value}}, Experiment, "file")
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 300
    return line


@pytest.mark.parametrize(("section", "name", "least", "most"), BOUNDS)
def test_every_whole_number_has_a_least_and_a_most_and_the_line_names_them(section, name, least, most):
    for given in (least, most, str(most), f" {most} "):
        made = toml.parse({section: {name: given}}, Experiment, "file")
        assert getattr(getattr(made, section), name) == int(given)
    for given in (most + 1, str(most + 1), 10**30, "9" * 5000, 16**5000):
        assert f"{most:,} is the most: " in refused(section, name, given)
    assert f"{least:,} is the least" in refused(section, name, least - 1)
    for given in (f"{most}.0", float(least), "1e3", 1e3, "0x10", "", "١٢", "1__0", "_1", [3], {"a": 1}, "nan"):
        assert f"give a whole number from {least:,} to {most:,}" in refused(section, name, given)


def test_every_setting_that_is_a_whole_number_is_in_that_list():
    sections = {name: field.annotation for name, field in Experiment.model_fields.items() if name != "seeds"}
    whole = {
        (section, name)
        for section, model in sections.items()
        for name, field in model.model_fields.items()
        if re.search(r"\bint\b", str(field.annotation)) and "float" not in str(field.annotation)
    }
    assert whole == {(section, name) for section, name, _, _ in BOUNDS}


def test_underscores_between_digits_and_numbers_of_numpy_are_read():
    assert toml.parse({"training": {"train_steps": "1_000"}}, Experiment, "file").training.train_steps == 1000
    made = TrainingSettings(batch_size=np.int64(8))
    assert type(made.batch_size) is int
    assert experiment(seeds=np.int64(2)).seeds == (0, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (10**12, "1,000 seeds are the most"),
        ("1_000_000", "1,000 seeds are the most"),
        (list(range(1001)), "1,000 seeds are the most"),
        (f"0,{2**63}", f"{2**63 - 1:,} is the most"),
        ([2**64], f"{2**63 - 1:,} is the most"),
        ([16**6000], f"{2**63 - 1:,} is the most"),
        ("-3", "a number is how many"),
        ("1e2", "give a count such as 3, or the seeds themselves, such as 3,5"),
        (3.0, "give a count such as 3"),
        ("0.5", "give a count such as 3"),
        ("3,1.5", "give a whole number from 0"),
    ],
)
def test_seeds_beyond_what_files_and_tables_hold_are_refused_in_one_line(given, said):
    with pytest.raises(ConfigError) as error:
        toml.parse({"seeds": given}, Experiment, "file")
    assert said in str(error.value)
    assert len(str(error.value)) < 300


def test_a_count_with_an_underscore_or_a_sign_is_no_seed():
    assert experiment(seeds="1_0").seeds == tuple(range(10))
    assert experiment(seeds="+3").seeds == (0, 1, 2)
