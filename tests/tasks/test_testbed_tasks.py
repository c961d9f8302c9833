import pytest

from prunekit.support.errors import ConfigError
from prunekit.tasks import list_tasks, load_splits, load_task
from prunekit.tasks.testbed.grammar import TASKS, examples, split_of
from prunekit.tasks.testbed_open import grammar as open_grammar
from prunekit.tasks.testbed_tasks import MODELS, model_for, model_path


def splits(name, **more):
    given = dict(data=None, train_examples=None, validation_examples=None) | more
    return load_splits(load_task(name), **given)


def test_every_task_of_both_grammars_is_listed():
    names = [task.name for task in list_tasks() if task.testbed is not None]
    assert names == [f"testbed/{task.name}" for task in (*TASKS, *open_grammar.TASKS)]


def test_the_rows_are_the_grammars_own():
    made = splits("testbed/first-animal", train_examples=None)
    rows = examples("first-animal", "test", 500)
    assert [one.text for one in made.test] == [row["text"] for row in rows]
    assert [one.choices[one.gold[0]] for one in made.test] == [row["label"] for row in rows]
    assert (len(made.train), len(made.validation), len(made.test)) == (512, 200, 500)


def test_answers_to_write_are_the_open_grammars_and_fit_with_their_end():
    made = splits("testbed/reverse-animals")
    rows = open_grammar.examples("reverse-animals", "test", 500)
    assert [(example.text, example.references) for example in made.test] == [
        (row["text"], (row["answer"],)) for row in rows
    ]
    assert made.test[0].open and made.test[0].target_tokens > open_grammar.MOST_WORDS


def test_every_task_has_the_embedded_model_that_was_pretrained_for_it():
    assert [model_for(name) for name in ("testbed/first-animal", "testbed/last-animal-place")] == list(MODELS)
    assert model_path("testbed-open") == str(MODELS["testbed-open"]) and model_path("a/b") == "a/b"


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
