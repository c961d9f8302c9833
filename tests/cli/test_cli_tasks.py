"""`tasks show`: one text as it is read, answers as tokens, lengths."""

import json

import pytest
import test_encoding
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
    assert all(one["behind"][-1] == ":" and not one["merged"] for one in facts["answers"])
    assert facts["faults"] == []
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


def test_a_decoders_answers_stand_behind_the_end_of_the_text(toy, capsys):
    task, folder = toy
    assert call("tasks", "show", task, f"--data={task.parent}", f"--model={folder / 'model'}") == 0
    said = capsys.readouterr().out
    assert "end of the text | tokens of the answer" in said
    assert ": | good" in said
    assert "refused" not in said


def written(folder, model, template, no, yes, **more):
    """A task file with a data folder beside it, and the flags that name both."""
    folder.mkdir()
    rows = [
        {"text": f"the film was {word}", "label": place} for place, word in enumerate(("bad", "good")) for _ in "ab"
    ]
    for split in ("train", "validation", "test"):
        (folder / f"{split}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    keys = {"name": "toy", "template": template, **more}
    lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
    choices = ["[choices]", f"0 = {json.dumps(no)}", f"1 = {json.dumps(yes)}"]
    (folder / "toy.toml").write_text("\n".join([*lines, *choices]))
    return [folder / "toy.toml", f"--data={folder}", f"--model={model}"]


@pytest.fixture(scope="module")
def joining(tmp_path_factory):
    """A model whose tokenizer has a token for a mark, a blank and a word."""
    folder = tmp_path_factory.mktemp("joining")
    for part in (test_encoding.llama("byte bpe without regex"), test_encoding.tokenizer("byte bpe without regex")):
        part.save_pretrained(folder)
    return folder


# what is wrong with a task of two answers, and what mends it
FAULTS = [
    ("{text} answer:", ("no", "yes"), 'to one token, "answer: no"; set separator = "\\n"', {"separator": "\n"}),
    ("{text} so", ("zq", "zqj"), 'the answer "zq" begins the answer "zqj"', {"ranking": "mean"}),
]


@pytest.mark.parametrize(("template", "words", "fault", "mend"), FAULTS)
def test_what_would_be_refused_is_shown_and_is_refused_by_every_verb_that_trains(
    joining, tmp_path, capsys, template, words, fault, mend
):
    faulty = written(tmp_path / "faulty", joining, template, *words)
    assert call("tasks", "show", *faulty) == 0
    said = capsys.readouterr().out
    assert "training on this would be refused: " in said
    assert fault in said
    trained = ["--prompt-tokens=4", "--pieces=4", "--train-steps=2", "--threads=1", f"--out={tmp_path / 'runs'}"]
    task, *rest = faulty
    for verb in ("tune", "prune", "search"):
        assert call(verb, f"--task={task}", *rest, *trained) == 2
        output = capsys.readouterr()
        assert fault in output.err
        assert output.err.count("\n") == 1
        assert "not learning" not in output.out + output.err
    assert not (tmp_path / "runs").exists()
    ranking = [f"--ranking={mend.pop('ranking')}"] if "ranking" in mend else []
    mended, *rest = written(tmp_path / "mended", joining, template, *words, **mend)
    assert call("tune", f"--task={mended}", *rest, *trained, *ranking) == 0


# ---- a file of one's own


@pytest.fixture
def reviews(tmp_path):
    rows = [f"{number},the film {number} was {'good' if number % 2 else 'bad'},{number % 2}" for number in range(20)]
    (tmp_path / "reviews.csv").write_text("\n".join(["id,review,stars", *rows]))
    return tmp_path / "reviews.csv"


def test_a_task_file_is_written_with_guesses_that_are_said_and_is_read_as_it_stands(reviews, capsys):
    out = reviews.parent / "tasks" / "mine.toml"
    out.parent.mkdir()
    assert call("tasks", "new", reviews, "-o", out) == 0
    said = capsys.readouterr().out
    assert "text: review (a guess; --text names another)" in said
    assert "label: stars (a guess; --label names another)" in said
    assert 'data = "../reviews.csv"' in out.read_text()
    assert call("tasks", "show", out, "--rows=2", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [example["right"] for example in facts["examples"]] == [["0"], ["1"]]
    assert facts["example"]["text"] == "review: the film 0 was bad stars:"
    assert call("tasks", "new", reviews, "-o", out, "--text=id", "--label-words=0=bad,1=good") == 2
    assert "say --overwrite" in capsys.readouterr().err
    assert call("tasks", "new", reviews, "-o", out, "--text=id", "--label-words=0=bad,1=good", "--overwrite") == 0
    assert "text: id\n" in capsys.readouterr().out
    assert call("tasks", "show", out) == 0
    assert "id: 0 stars:\nright answer: bad" in capsys.readouterr().out


def test_own_rows_are_shown_without_a_task_file(reviews, capsys):
    assert call("tasks", "show", f"--data={reviews}", "--text=review", "--label=stars") == 0
    assert "review: the film 0 was bad stars:" in capsys.readouterr().out
    assert call("tasks", "show") == 2
    assert "name a task, or your own rows" in capsys.readouterr().err


@pytest.mark.parametrize(("column", "target"), [("reply", "{reply}"), ("the reply", "{prunekit target}")])
def test_a_task_file_for_written_answers_is_read_as_it_stands(column, target, tmp_path, capsys):
    rows = "".join(f"{number},what is {number},a fox and {number} owls\n" for number in range(12))
    (tmp_path / "replies.csv").write_text(f"id,question,{column}\n{rows}")
    out = tmp_path / "task.toml"
    assert call("tasks", "new", tmp_path / "replies.csv", f"--target={column}", "-o", out) == 0
    said = capsys.readouterr().out
    assert f"target: {column}\nanswers: written" in said
    assert f'target = "{target}"' in out.read_text()
    assert "label" not in out.read_text()
    assert call("tasks", "show", out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["example"]["text"].startswith("question: what is ")
    assert facts["examples"][0]["right"][0].startswith("a fox and ")
