import pytest
from sweeps import of_text

from prunekit.experiment.settings import Experiment
from prunekit.experiment.sweep import grid
from prunekit.support.errors import ConfigError


def test_lists_are_multiplied_and_the_last_varies_fastest(tmp_path):
    found = of_text(tmp_path, '[prompt]\nmethod = ["direct", "dpt"]\n[training]\nlearning_rate = [0.1, 0.2, 0.3]\n')
    assert [found.label(one) for one in found.experiments] == [
        "direct, 0.1", "direct, 0.2", "direct, 0.3", "dpt, 0.1", "dpt, 0.2", "dpt, 0.3",
    ]  # fmt: skip
    assert found.varied == ("prompt.method", "training.learning_rate")


def test_seeds_stay_the_seeds_of_one_experiment(tmp_path):
    found = of_text(tmp_path, "seeds = [3, 5]\n[training]\nlearning_rate = [0.1, 0.2]\n")
    assert [one.seeds for one in found.experiments] == [(3, 5), (3, 5)]


def test_a_setting_that_is_a_list_by_itself_varies_by_a_list_of_lists(tmp_path):
    model = '[model]\nname = "m"\n[task]\ndata = "rows.csv"\nlabel = "label"\n'
    found = of_text(tmp_path, f'{model}text = ["premise", "hypothesis"]\n[prompt]\ntokens = [4, 8]\n')
    assert [(one.task.text, one.prompt.tokens) for one in found.experiments] == [
        (("premise", "hypothesis"), 4), (("premise", "hypothesis"), 8),
    ]  # fmt: skip
    found = of_text(tmp_path, f'seeds = [[3, 5], 2]\n{model}text = [["premise", "hypothesis"], ["premise"]]\n')
    assert [(one.seeds, one.task.text) for one in found.experiments] == [
        ((3, 5), ("premise", "hypothesis")), ((3, 5), ("premise",)),
        ((0, 1), ("premise", "hypothesis")), ((0, 1), ("premise",)),
    ]  # fmt: skip
    more = "[search]\nratios = [[0.5], [0.25, 0.5]]\n[[sweep.exclude]]\nsearch.ratios = [0.25, 0.5]\n"
    assert [one.search.ratios for one in of_text(tmp_path, more).experiments] == [(0.5,)]


def test_the_grid_names_every_setting_that_is_a_list_or_a_table_by_itself():
    fields = {"seeds": Experiment.model_fields["seeds"]} | {
        f"{section}.{name}": field
        for section, part in Experiment.model_fields.items()
        for name, field in getattr(part.annotation, "model_fields", {}).items()
    }
    kinds = {name: str(field.annotation) for name, field in fields.items()}
    assert {name for name, kind in kinds.items() if "tuple[" in kind} == set(grid._LISTS)
    assert {name for name, kind in kinds.items() if "dict[" in kind} == set(grid._TABLES)


@pytest.mark.parametrize("words", ['"0.5=half,1=whole"', '{ "0.5" = "half", 1 = "whole" }'])
def test_label_words_are_one_value_and_lists_of_them_vary(tmp_path, words):
    own = '[model]\nname = "m"\n[task]\ndata = "rows.csv"\ntext = "text"\nlabel = "label"\n'
    found = of_text(tmp_path, f"{own}label_words = {words}\n[prompt]\ntokens = [4, 8]\n")
    assert [one.task.label_words for one in found.experiments] == [{"0.5": "half", "1": "whole"}] * 2
    assert found.varied == ("prompt.tokens",)
    found = of_text(tmp_path, f'{own}label_words = [{words}, "0.5=part,1=all", {words}]\n')
    assert [found.values(one)["task.label_words"] for one in found.experiments] == [
        {"0.5": "half", "1": "whole"}, {"0.5": "part", "1": "all"},
    ]  # fmt: skip


def test_settings_that_belong_together_are_an_array_of_tables(tmp_path):
    text = '[[task]]\nname = "testbed/alike-mood"\ntrain_examples = [8, 16]\n[[task]]\nname = "testbed/alike-kind"\n'
    found = of_text(tmp_path, text)
    assert [(one.task.name, one.task.train_examples) for one in found.experiments] == [
        ("testbed/alike-mood", 8), ("testbed/alike-mood", 16), ("testbed/alike-kind", None),
    ]  # fmt: skip


def test_include_adds_and_exclude_leaves_out(tmp_path):
    text = """
[prompt]
method = ["direct", "dpt"]
tokens = 10
[training]
learning_rate = [0.1, 0.2]
[[sweep.exclude]]
prompt.method = "dpt"
training.learning_rate = [0.2, 0.3]
[[sweep.include]]
prompt.method = "residual"
training.learning_rate = 0.4
"""
    found = of_text(tmp_path, text)
    assert [found.label(one) for one in found.experiments] == [
        "direct, 0.1",
        "direct, 0.2",
        "dpt, 0.1",
        "residual, 0.4",
    ]
    assert {one.prompt.tokens for one in found.experiments} == {10}  # what does not vary holds for the added one too


def test_the_same_experiment_twice_is_one(tmp_path):
    assert len(of_text(tmp_path, "[training]\nlearning_rate = [0.1, 0.2, 0.1]\n").experiments) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[training]\nlearning_rate = []\n", "training.learning_rate = []: name at least one value"),
        ("[training]\nlearning_rat = [0.1]\n", 'did you mean "learning_rate"?'),
        ("[training]\nlearning_rate = [0.1, -1]\n", "--learning-rate = -1"),
        ("[machine]\nthreads = [1, 2]\n", "machine.threads: where a run happens does not make it another run"),
        ('[sweep]\nverb = "prun"\n', "'prune', 'search' or 'tune'"),
        ("[[sweep.exclude]]\nprompt.tokens = 3\n", "entry 1 of sweep.exclude matches no experiment"),
        ("[prompt]\ntokens = [3]\n[[sweep.exclude]]\nprompt.tokens = 3\n", "no experiment is left"),
        ('[task]\nname = ["sst2", "subj"]\n', 'task "sst2" needs a model'),
    ],
)
def test_what_is_wrong_with_a_grid_is_said_with_its_file(tmp_path, text, said):
    with pytest.raises(ConfigError) as error:
        of_text(tmp_path, text)
    assert str(tmp_path / "grid.toml") in str(error.value)
    assert said in str(error.value)
