"""Rows in several splits, and rows that contradict each other, are counted and said."""

import json

import pytest
import tiny

from prunekit.experiment.prepare import prepare
from prunekit.experiment.run import run
from prunekit.plots.report.caveats import caveats
from prunekit.tasks import Example, Splits
from prunekit.tasks.duplicates import duplicates, sentences


def rows(*texts, gold=0, choices=("good", "bad")):
    return tuple(Example(index, "{text}", {"text": text}, choices, (gold,)) for index, text in enumerate(texts))


def splits(train=(), validation=(), test=()):
    return Splits(tuple(train), tuple(validation), tuple(test), {}, "")


def test_rows_of_one_text_are_counted_whatever_their_label():
    some = splits(rows("a", "b", "c"), rows("b", "d"), rows("a", "a", "d", "e", gold=1))
    assert duplicates(some) == {
        "test in train": 2, "test in validation": 1, "validation in train": 1, "contradicting": 5,
    }  # fmt: skip


def test_nothing_is_said_of_splits_that_share_no_row():
    some = splits(rows("a"), rows("b"), rows("c"))
    assert duplicates(some) == {}
    assert sentences({}, some.sizes) == []


def test_one_text_with_other_choices_is_another_row():
    assert duplicates(splits(rows("a"), rows("b"), rows("a", choices=("x", "y")))) == {}


def test_rows_contradict_each_other_within_a_split_too():
    assert duplicates(splits([*rows("a", "b"), *rows("a", gold=1)], rows("c"), rows("d"))) == {"contradicting": 2}


def test_the_lines_say_how_many_of_how_many():
    lines = sentences(
        {"test in train": 3, "validation in train": 1, "contradicting": 4}, {"test": 200, "validation": 9}
    )
    assert lines == [
        "3 of 200 test rows are also in train (same text, whatever the label)",
        "1 of 9 validation rows is also in train (same text, whatever the label)",
        "4 rows have the text of another row and another label",
    ]


@pytest.fixture
def shared_row(tmp_path):
    """An experiment whose test holds a row of train, under the other label."""
    asked = tiny.experiment("gpt2", tmp_path, train_steps=2)
    first = json.loads((tmp_path / "toy" / "train.jsonl").read_text().splitlines()[0])
    other = {"good": "bad", "bad": "good"}[first["label"]]
    with (tmp_path / "toy" / "test.jsonl").open("a") as file:
        file.write("\n" + json.dumps(first | {"label": other}))
    return asked, tmp_path


def test_overlap_is_said_when_a_run_is_prepared_and_written_down_for_the_report(shared_row, capsys):
    asked, folder = shared_row
    flags = tiny.arguments("gpt2", folder, train_steps=2, rounds=None, keep_tokens=None)
    assert tiny.call("tune", *flags, f"--out={folder / 'runs'}") == 0
    said = capsys.readouterr().err
    assert "note: 1 of 13 test rows is also in train (same text, whatever the label)" in said
    assert "note: 2 rows have the text of another row and another label" in said
    made = run(prepare(asked), folder / "runs", tiny.Quiet(), prune=False)
    assert made.settings()["duplicates"] == {"test in train": 1, "contradicting": 2}
    warned = caveats(made, made.results(), 0.01, [])
    assert "1 of 13 test rows is also in train (same text, whatever the label)." in warned


def test_dealt_labels_are_no_contradiction(shared_row):
    asked, _ = shared_row
    task = asked.task.model_copy(update={"labels": "shuffled"})
    assert prepare(asked.model_copy(update={"task": task})).duplicates == {"test in train": 1}


def test_python_says_it_too(shared_row, capsys):
    import prunekit as pk

    _, folder = shared_row
    pk.tune(
        tiny.model("gpt2"), tiny.tokenizer("gpt2"), str(folder / "toy" / "toy.toml"), data=str(folder / "toy"),
        out=folder / "runs", prompt_tokens=2, pieces=4, train_steps=2, threads=1,
    )  # fmt: skip
    assert "1 of 13 test rows is also in train" in capsys.readouterr().err
