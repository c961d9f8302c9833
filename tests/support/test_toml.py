import tomllib

import pytest
from pydantic import BaseModel, ConfigDict

from prunekit.experiment.settings import Experiment
from prunekit.support import toml
from prunekit.support.errors import ConfigError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    learning_rate: float = 0.1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    inner: Inner = Inner()


def refusal(table, model=Outer) -> str:
    with pytest.raises(ConfigError) as caught:
        toml.parse(table, model, where="here.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_becomes_a_model(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('name = "ä"\n[inner]\nlearning_rate = 0.5\n', encoding="utf-8")
    assert toml.read(path, Outer) == Outer(name="ä", inner=Inner(learning_rate=0.5))


@pytest.mark.parametrize(("table", "said"), [
    ({"name": "x", "inner": {"learning_rte": 1}}, 'unknown key "inner.learning_rte"; did you mean "learning_rate"?'),
    ({"name": "x", "iner": {}}, 'unknown key "iner"; did you mean "inner"?'),  # of the keys at the top
    ({}, 'the key "name" is missing; add it'),
])  # fmt: skip
def test_a_typo_and_a_missing_key_are_named_with_the_file(table, said):
    assert refusal(table) == f"here.toml: {said}"


def test_a_wrong_value_is_shown_beside_its_key():
    message = refusal({"name": "x", "inner": {"learning_rate": "fast"}})
    assert message.startswith("here.toml: \"inner.learning_rate\" = 'fast': ")


def test_the_key_can_be_shown_as_the_user_typed_it():
    with pytest.raises(ConfigError, match=r"^flags: --inner-learning-rate = 'fast': "):
        toml.parse(
            {"name": "x", "inner": {"learning_rate": "fast"}}, Outer, "flags", lambda key: "--inner-learning-rate"
        )


@pytest.mark.parametrize("key", ["train_steps", "learning_rate", "evaluate_every"])
def test_a_wrong_value_of_a_knob_of_several_types_names_the_key_as_the_user_writes_it(key):
    message = refusal({"model": {"name": "m"}, "task": {"name": "t"}, "training": {key: "fast"}}, Experiment)
    assert f'"training.{key}" = ' in message


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"name = 1\nname = 2"])
def test_what_is_not_toml_is_one_line_that_names_the_file(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml: cannot be read as TOML") as caught:
        toml.read(path, Outer)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        toml.read(tmp_path / "gone.toml", Outer)


def test_dump_leaves_none_out_and_reads_back():
    table = {"a": 1, "b": None, "c": {"d": None, "e": [1.5, 2.0], "f": (1, 2)}, "g": "ä\n"}
    assert tomllib.loads(toml.dump(table)) == {"a": 1, "c": {"e": [1.5, 2.0], "f": [1, 2]}, "g": "ä\n"}


def test_dump_writes_keys_as_text():
    assert tomllib.loads(toml.dump({"words": {0: "a", True: "b", "c": "d"}}))["words"] == {
        "0": "a",
        "true": "b",
        "c": "d",
    }


def test_an_experiment_survives_dump_and_read(tmp_path):
    experiment = Experiment.model_validate({"model": {"name": "m"}, "task": {"name": "t"}, "seeds": [3, 5]})
    path = tmp_path / "e.toml"
    path.write_text(toml.dump(experiment.model_dump()), encoding="utf-8")
    assert toml.read(path, Experiment) == experiment
