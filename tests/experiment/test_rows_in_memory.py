"""A run on rows in memory, and on a file of the same rows: one run, used again with either."""

import datasets
import pandas as pd
import pytest
import tiny
from tiny import call

import prunekit as pk
from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks.files import read_file

ROWS = [
    {"id": number, "the text": f"w{number % 7} w{number % 5} {'good' if number % 2 else 'bad'}", "stars": number % 2}
    for number in range(40)
]
COLUMNS = dict(text="the text", label="stars", label_words={0: "bad", 1: "good"})
SMALL = dict(prompt_tokens=4, pieces=4, train_steps=2, evaluate_every=1, batch_size=4, threads=1, rounds=1, quiet=True)
UNLABELLED = pd.DataFrame(ROWS).drop(columns="stars")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a model, the rows as a file, and a run on the rows in memory."""
    folder = tmp_path_factory.mktemp("memory")
    tiny.save_model("bert", folder / "model")
    pd.DataFrame(ROWS).to_csv(folder / "data.csv", index=False)
    UNLABELLED.to_parquet(folder / "new.parquet")
    run = pk.prune(str(folder / "model"), data=pd.DataFrame(ROWS), out=folder / "runs", **COLUMNS, **SMALL)
    return folder, run


def test_the_same_rows_are_the_same_run_in_whichever_form_they_come(runs):
    folder, run = runs
    forms = [ROWS, datasets.Dataset.from_list(ROWS), {"train": ROWS}, folder / "data.csv"]
    again = [pk.tune(str(folder / "model"), data=data, out=folder / "runs", **COLUMNS, **SMALL) for data in forms]
    assert {other.path for other in again} == {run.path}
    less = pk.tune(str(folder / "model"), data=ROWS[:30], out=folder / "runs", **COLUMNS, **SMALL)
    assert less.path != run.path


def test_what_needs_the_rows_again_says_so_and_takes_them(runs):
    folder, run = runs
    with pytest.raises(DataError, match=r"the rows were in memory and are not kept; give them again \(data=\.\.\. in"):
        pk.evaluate(run.best)
    facts = pk.evaluate(run.best, data=ROWS, quiet=True)
    assert facts["accuracy"] == pytest.approx(run.results.query("round == 1")["test_accuracy"].iloc[0])
    assert pk.evaluate(run.best, data=str(folder / "data.csv"), quiet=True) == facts
    with pytest.raises(ConfigError, match="not what it was made with: data test"):
        pk.evaluate(run.best, data=ROWS[:30], quiet=True)
    assert len(pk.score(run.path / "seed=0" / "round=00", data=ROWS, quiet=True).table) == 4


def test_prediction_needs_no_labelled_rows_and_takes_every_form(runs, capsys):
    folder, run = runs
    answers = pk.predict(run.best, UNLABELLED, quiet=True)
    assert {(answer["label"], answer["answer"]) for answer in answers} <= {("0", "bad"), ("1", "good")}
    assert pk.predict(run.best, folder / "new.parquet", quiet=True) == answers
    assert pk.predict(run.best, UNLABELLED["the text"].tolist(), quiet=True) == answers
    ticket = next(run.path.glob("prune-*")) / "seed=0" / "round=01"
    for name in ("answers.csv", "answers.parquet"):
        assert call("predict", ticket, folder / "new.parquet", f"--out={folder / name}") == 0
        rows = read_file(folder / name).rows
        assert [row["answer"] for row in rows] == [answer["answer"] for answer in answers]
    assert call("predict", ticket, folder / "new.parquet", f"--out={folder / 'answers.xlsx'}") == 2
    assert "answers are written as .jsonl, .csv, .tsv or .parquet" in capsys.readouterr().err


def test_a_file_alone_is_pruned_by_naming_its_columns(runs, capsys, monkeypatch):
    folder, run = runs
    monkeypatch.chdir(folder)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items() if name != "quiet"]
    words = ["--text=the text", "--label=stars", "--label-words=0=bad,1=good"]
    assert call("prune", "--data=data.csv", *words, f"--model={folder / 'model'}", *flags) == 0
    said = capsys.readouterr()
    assert "written to" in said.out
    assert run.path.name in said.out.replace("\n", "")
    assert 'labels and their words: 0 = "bad", 1 = "good"' in said.err
    assert "data.csv: 8 for test and 6 for validation set apart by a hash of the texts" in said.err
    assert call("prune", "--data=data.csv", f"--model={folder / 'model'}", *flags) == 2
    assert "say which columns to read, such as --text 'the text' --label stars" in capsys.readouterr().err
    assert call("prune", "--data=data.csv", *words, *flags) == 2
    assert 'task "own/data" needs a model' in capsys.readouterr().err
