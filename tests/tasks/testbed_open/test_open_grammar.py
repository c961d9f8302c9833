"""The grammar of open answers: right answers of several words, splits that never meet, words of the first testbed."""

import os
import subprocess
import sys

import pytest
from testbed_digest import rebuilds_open

from prunekit.support.errors import ConfigError
from prunekit.tasks.testbed import grammar as first
from prunekit.tasks.testbed import lexicon as passages
from prunekit.tasks.testbed_open import lexicon
from prunekit.tasks.testbed_open.grammar import (
    MOST_WORDS,
    TASKS,
    examples,
    filler_words,
    find_task,
    instruction_words,
    vocabulary,
)

NAMES = [task.name for task in TASKS]


def naive_answer(name, text):
    """The answer, written out task by task from the places of words in a passage."""
    words = text.split()
    names, colours, animals, places = (words[first::7] for first in (1, 3, 4, 6))
    columns = {"names": names, "colours": colours, "animals": animals, "places": places}
    pairs = {"list-colours-animals": (colours, animals), "list-animals-places": (animals, places)}
    answers = {f"list-{field}": column for field, column in columns.items()}
    answers |= {name: [word for pair in zip(*both, strict=True) for word in pair] for name, both in pairs.items()}
    for field, column in columns.items():
        answers |= {f"reverse-{field}": [*reversed(column)], f"double-{field}": sorted(column * 2, key=column.index)}
    for which, place in (("first", 0), ("last", -1)):
        answers[f"{which}-colour-animal"] = [colours[place], animals[place]]
        answers[f"{which}-animal-place"] = [animals[place], places[place]]
        answers[f"{which}-name-place"] = [names[place], places[place]]
    return " ".join(answers[name])


@rebuilds_open
@pytest.mark.parametrize("name", NAMES)
def test_answers_are_right_of_several_words_and_of_passages_that_all_differ(name):
    rows = examples(name, "validation", 100) + examples(name, "train", 100)
    assert all(row["answer"] == naive_answer(name, row["text"]) for row in rows)
    assert {len(row["answer"].split()) for row in rows} <= set(range(2, MOST_WORDS + 1))
    assert len({row["text"] for row in rows}) == len(rows)


@rebuilds_open
def test_a_passage_tells_of_two_people_or_of_three_about_as_often():
    lengths = [len(row["text"].split()) for row in examples("reverse-animals", "train", 400)]
    assert set(lengths) == {15, 22}
    assert 160 <= lengths.count(15) <= 240


@rebuilds_open
def test_splits_are_those_of_the_first_testbed_and_never_meet():
    texts = {split: {row["text"] for name in NAMES for row in examples(name, split, 30)} for split in first.SPLITS}
    assert all(first.split_of(text) == split for split, drawn in texts.items() for text in drawn)
    assert sum(len(drawn) for drawn in texts.values()) == len(set().union(*texts.values()))


@rebuilds_open
def test_more_examples_begin_with_the_fewer_whatever_the_hash_seed():
    code = "from prunekit.tasks.testbed_open.grammar import examples; print(examples('double-animals', 'test', 5, 3))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout.decode()
        for seed in ("1", "77")
    }
    assert printed == {f"{examples('double-animals', 'test', 20, 3)[:5]}\n"}
    assert examples("double-animals", "test", 5) != examples("double-animals", "test", 5, 3)


def test_held_out_tasks_are_made_of_words_that_other_tasks_teach():
    taught = {word for task in TASKS if not task.held_out for word in task.name.split("-")}
    held_out = [task for task in TASKS if task.held_out]
    assert len(held_out) == 3
    assert {word for task in held_out for word in task.name.split("-")} <= taught


def test_instructions_are_a_tasks_own_and_no_name_is_a_task_of_the_first_testbed():
    wordings = [wording for task in TASKS for wording in task.instructions]
    assert len(set(wordings)) == len(wordings)
    assert all(task.name == task.instructions[0].replace(" ", "-") for task in TASKS)
    assert not {task.name for task in first.TASKS} & set(NAMES)


def test_the_vocabulary_begins_with_the_first_testbeds_and_filler_asks_for_nothing():
    assert vocabulary()[: len(first.vocabulary())] == first.vocabulary()
    assert len(set(vocabulary())) == len(vocabulary()) <= 300
    assert not set(filler_words()) & {*instruction_words(), passages.OPENING}
    assert {word for row in examples("list-names", "test", 200) for word in row["text"].split()} <= set(vocabulary())


def test_every_instruction_word_leads_its_own_synonyms_and_no_other():
    assert len(set(instruction_words())) == len(instruction_words())
    assert all(group[0] == word and len(group) >= 2 for word, group in lexicon.SYNONYMS.items())


def test_unknown_names_are_refused_with_what_is_known():
    with pytest.raises(ConfigError, match="reverse-animals"):
        find_task("reverse-animal")
    with pytest.raises(ConfigError, match="validation"):
        examples("reverse-animals", "valid", 1)
