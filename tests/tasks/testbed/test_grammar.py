"""The testbed's grammar: the same examples everywhere, splits that never meet, answers that are right."""

import hashlib
import os
import subprocess
import sys
from collections import Counter

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from testbed_digest import rebuilds

from prunekit.support.errors import ConfigError
from prunekit.tasks.testbed import lexicon
from prunekit.tasks.testbed.grammar import (
    SPLITS,
    TASKS,
    examples,
    filler_words,
    find_task,
    instruction_words,
    split_of,
    vocabulary,
)

NAMES = [task.name for task in TASKS]
POSITIVE = {"loves", "likes", "adores", "enjoys", "admires"}
BIRDS = {"owls", "hens", "crows", "swans"}
GOOD = {"great", "lovely", "superb", "splendid"}


def read(text):
    """Parse a passage by word positions, with nothing of the grammar's own."""
    words = text.split()
    found = {"topic": words[-4], "adjective": words[-2]}
    if "then" in words:  # today anna loves red owls then blue hens finally green foxes in rome . food was great .
        return found | {"colours": words[3:11:3], "animals": words[4:12:3], "place": words[12]}
    return found | {"verbs": [words[2], words[8]], "animals": [words[3], words[9]]}


def naive_answer(name, text):
    """The answer, written out task by task."""
    seen = read(text)
    moods = [verb in POSITIVE for verb in seen.get("verbs", [])]
    kinds = [animal in BIRDS for animal in seen["animals"]]
    number, truth, verdict = ("none", "one", "two"), ("no", "yes"), ("bad", "good")
    answers = {
        "copy-topic": seen["topic"],
        "judge-topic": verdict[seen["adjective"] in GOOD],
        "opposite-judge-topic": verdict[seen["adjective"] not in GOOD],
    }
    if moods:
        answers |= {
            "alike-mood": truth[moods[0] == moods[1]],
            "alike-kind": truth[kinds[0] == kinds[1]],
            "opposite-alike-mood": truth[moods[0] != moods[1]],
            "count-mood": number[sum(moods)],
            "count-kind": number[sum(kinds)],
            "opposite-count-mood": number[2 - sum(moods)],
        }
    else:
        answers |= {
            "first-animal": seen["animals"][0],
            "last-animal": seen["animals"][2],
            "first-colour": seen["colours"][0],
            "last-colour": seen["colours"][2],
            "copy-place": seen["place"],
        }
    return answers[name]


def bag_of_words(task):
    fitted, tested = examples(task.name, "train", 1500), examples(task.name, "test", 400)
    bag = CountVectorizer(token_pattern=r"\S+")
    model = LogisticRegression(max_iter=1000)
    model.fit(bag.fit_transform([row["text"] for row in fitted]), [row["label"] for row in fitted])
    return model.score(bag.transform([row["text"] for row in tested]), [row["label"] for row in tested])


def test_eight_tasks_are_seen_and_two_held_out():
    assert sum(not task.held_out for task in TASKS) >= 8
    assert sum(task.held_out for task in TASKS) == 2
    assert len(set(NAMES)) == len(NAMES)


def test_every_form_serves_three_tasks():
    assert min(Counter(task.form for task in TASKS).values()) >= 3


def test_instructions_are_short_and_share_their_words():
    for task in TASKS:
        assert len(set(task.instructions)) == len(task.instructions) > 1
        assert all(1 <= len(wording.split()) <= 4 for wording in task.instructions)
        assert task.name == task.instructions[0].replace(" ", "-")
    used = Counter(word for task in TASKS for word in task.name.split("-"))
    assert sum(count >= 2 for count in used.values()) >= 6


def test_held_out_tasks_are_made_of_seen_words_only():
    seen = {word for task in TASKS if not task.held_out for word in task.name.split("-")}
    for task in TASKS:
        assert not task.held_out or set(task.name.split("-")) <= seen


@rebuilds
@pytest.mark.parametrize("name", NAMES)
def test_labels_are_right_and_balanced(name):
    rows = examples(name, "validation", 300) + examples(name, "train", 300)
    assert all(row["label"] == naive_answer(name, row["text"]) for row in rows)
    choices = find_task(name).choices
    counts = Counter(row["label"] for row in rows)
    assert set(counts) == set(choices)
    assert max(counts.values()) / len(rows) < 1 / len(choices) + 0.08


@rebuilds
@pytest.mark.parametrize("name", NAMES)
def test_passages_are_distinct_short_and_of_known_words(name):
    rows = examples(name, "train", 1000)
    assert len({row["text"] for row in rows}) == 1000
    assert {len(row["text"].split()) for row in rows} <= set(range(8, 21))
    assert {word for row in rows for word in row["text"].split()} <= set(vocabulary())


@rebuilds
def test_splits_are_a_hash_of_the_passage_and_never_meet():
    texts = {split: {row["text"] for name in NAMES for row in examples(name, split, 150)} for split in SPLITS}
    for split, found in texts.items():
        assert all(split_of(text) == split for text in found)
        # written out once more, so that the splits cannot move unnoticed
        bounds = {"pretrain": (0, 192), "train": (192, 214), "validation": (214, 235), "test": (235, 256)}[split]
        assert all(bounds[0] <= hashlib.sha256(text.encode()).digest()[0] < bounds[1] for text in found)
    assert sum(len(found) for found in texts.values()) == len(set().union(*texts.values()))


@rebuilds
@pytest.mark.parametrize("name", ["first-animal", "count-mood"])
def test_fifty_thousand_distinct_examples_exist(name):
    # One task of each form: the tasks of a form read the same passages.
    assert len({row["text"] for row in examples(name, "pretrain", 50_000)}) == 50_000


@rebuilds
def test_more_examples_begin_with_the_fewer():
    assert examples("alike-mood", "train", 50)[:20] == examples("alike-mood", "train", 20)
    assert examples("alike-mood", "train", 20, seed=1) != examples("alike-mood", "train", 20)


@rebuilds
def test_examples_do_not_depend_on_the_hash_seed():
    code = (
        "import hashlib, json; from prunekit.tasks.testbed.grammar import TASKS, examples, vocabulary;"
        "rows = [examples(t.name, s, 20, 3) for t in TASKS for s in ('train', 'test')];"
        "print(hashlib.sha256(json.dumps([rows, vocabulary()]).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(digests) == 1


@rebuilds
@pytest.mark.parametrize(
    "name", ["first-animal", "last-animal", "first-colour", "last-colour", "alike-mood", "alike-kind"]
)
def test_words_alone_do_not_solve_at_least_five_tasks(name):
    task = find_task(name)
    assert bag_of_words(task) <= 1 / len(task.choices) + 0.15


def test_filler_holds_no_instruction_word():
    assert not set(filler_words()) & {*instruction_words(), lexicon.OPENING}
    assert len(set(vocabulary())) == len(vocabulary()) <= 300


def test_unknown_names_are_refused_with_what_is_known():
    with pytest.raises(ConfigError, match="alike-mood"):
        examples("alike-moo", "train", 1)
    with pytest.raises(ConfigError, match="validation"):
        examples("alike-mood", "valid", 1)
