import pytest

from prunekit.support.errors import ConfigError
from prunekit.tasks import list_tasks, load_splits, load_task
from prunekit.tasks.testbed.grammar import TASKS, examples, split_of


def splits(name, **more):
    given = dict(data=None, train_examples=None, validation_examples=None) | more
    return load_splits(load_task(name), **given)


def test_every_task_of_the_grammar_is_listed():
    names = [task.name for task in list_tasks() if task.testbed is not None]
    assert names == [f"testbed/{one.name}" for one in TASKS]


def test_the_rows_are_the_grammars_own():
    made = splits("testbed/first-animal", train_examples=None)
    rows = examples("first-animal", "test", 500)
    assert [one.text for one in made.test] == [row["text"] for row in rows]
    assert [one.choices[one.gold[0]] for one in made.test] == [row["label"] for row in rows]
    assert (len(made.train), len(made.validation), len(made.test)) == (512, 200, 500)


def test_no_passage_of_one_split_is_in_another():
    made = splits("testbed/alike-mood")
    for name, part in (("train", made.train), ("validation", made.validation), ("test", made.test)):
        assert {split_of(one.text) for one in part} == {name}


def test_subsets_are_drawn_as_from_any_data():
    assert len(splits("testbed/copy-topic", train_examples=32).train) == 32


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match='did you mean "testbed/first-animal"'):
        load_task("testbed/first-animel")
    with pytest.raises(ConfigError, match="makes its own data"):
        splits("testbed/first-animal", data="somewhere")
