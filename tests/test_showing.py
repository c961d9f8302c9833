"""`tasks show`: one text as it is read, answers as tokens, lengths."""

import json

import pytest
import tiny
from tiny import call


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.save_model("gpt2", folder / "model")
    return tiny.save_task(folder / "toy"), folder


def test_a_task_is_shown_with_its_answers_as_tokens(toy, capsys):
    task, folder = toy
    flags = [f"--data={task.parent}", f"--model={folder / 'model'}", "--max-input-tokens=6"]
    assert call("tasks", "show", task, *flags) == 0
    said = capsys.readouterr().out
    for part in ("toy", "accuracy", "right answer: good", "label", "tokens", "median", "cut"):
        assert part in said
    assert call("tasks", "show", task, *flags, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [one["tokens"] for one in facts["answers"]] == [["good"], ["bad"]]
    assert facts["example"]["text"].endswith(" :")
    assert facts["unit"] == "tokens"
    lengths = facts["lengths"]["train"]
    assert (lengths["examples"], lengths["limit"]) == (24, 6)
    assert lengths["least"] <= lengths["median"] <= lengths["most"]
    assert 0 < lengths["cut"] < 24


def test_without_a_model_lengths_are_in_words(toy, capsys):
    task, _ = toy
    assert call("tasks", "show", task, f"--data={task.parent}", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["unit"] == "words"
    assert facts["answers"][0]["tokens"] is None
    assert call("tasks", "show", task, f"--data={task.parent}") == 0
    assert "--model counts its tokens" in capsys.readouterr().out


def test_testbed_tasks_are_shown_on_the_testbed_model(capsys):
    assert call("tasks", "show", "testbed/first-animal", "--json") == 0
    assert json.loads(capsys.readouterr().out)["unit"] == "tokens"


def test_an_unknown_task_is_refused_in_one_line_and_the_list_is_still_there(capsys):
    assert call("tasks", "show", "sst3") == 2
    assert 'did you mean "sst2"' in capsys.readouterr().err
    assert call("tasks") == 0
    assert "superglue/rte" in capsys.readouterr().out
