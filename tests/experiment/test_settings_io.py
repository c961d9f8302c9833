import pytest

from prunekit.experiment import settings_io
from prunekit.experiment.settings import Experiment
from prunekit.support.errors import ConfigError


def test_without_flags_the_experiment_is_the_embedded_one():
    made = settings_io.experiment(None, {})
    assert (made.model.name, made.task.name) == ("testbed", "testbed/first-animal")
    assert made == Experiment()


def test_text_from_the_command_line_becomes_what_the_field_is():
    given = dict(seeds="3", keep_tokens="5", keep_pieces="0.25", rewind="40", learning_rate="0.1", patience="2")
    made = settings_io.experiment(None, given)
    assert made.seeds == (0, 1, 2)
    assert (made.pruning.keep_tokens, made.pruning.keep_pieces) == (5, 0.25)
    assert (made.pruning.rewind, made.training.learning_rate, made.training.patience) == (40, 0.1, 2)
    assert settings_io.experiment(None, {"seeds": "4,9"}).seeds == (4, 9)


def test_flags_go_over_a_file(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text("[training]\npatience = 7\nbatch_size = 4\n")
    made = settings_io.experiment(file, {"patience": "8"})
    assert (made.training.patience, made.training.batch_size) == (8, 4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rounds": "many"}, "--rounds = 'many'"),
        ({"rounds": "-1"}, "--rounds = '-1'"),
        ({"prompt_tokens": "0"}, "--prompt-tokens = '0'"),
        ({"rewind": "often"}, "--rewind = 'often'"),
        ({"seeds": "1,1"}, "--seeds = '1,1': seeds must be distinct"),
        ({"seeds": "0"}, "--seeds = '0': a number is how many, and 1 is seed 0 alone"),
        ({"learning_rate": "nan"}, "--learning-rate = 'nan'"),
        ({"keep_tokens": "half"}, "--keep-tokens = 'half'"),
    ],
)
def test_a_wrong_value_names_its_flag(given, said):
    with pytest.raises(ConfigError) as caught:
        settings_io.experiment(None, given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_setting_has_one_flag():
    names = list(settings_io._flags_by_path().values())
    assert len(names) == len(set(names))
