"""The functions of the library: each returns what its verb prints as JSON, and prints nothing itself."""

import json

import pytest
import tiny

import prunekit as pk
from prunekit.support import terminal
from prunekit.support.errors import ArtifactError, ConfigError


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A pruned run of two seeds on the tiny GPT-2, made by the verb."""
    out = tmp_path_factory.mktemp("runs")
    assert tiny.call("prune", *tiny.arguments("gpt2", folder, seeds=2), f"--out={out}") == 0
    return next(out.iterdir())


@pytest.fixture
def printed(capsys):
    """The JSON that a verb prints."""

    def of(*words):
        capsys.readouterr()
        assert tiny.call(*words, "--json") == 0
        return json.loads(capsys.readouterr().out)

    return of


@pytest.fixture
def silent(capsys):
    """Fails where anything was written to the terminal since the last verb."""
    yield lambda: capsys.readouterr() == ("", "")


def pruned(run):
    return next(run.glob("prune-*")) / "seed=0" / "round=02"


def test_evaluate_gives_the_metrics_of_a_path_as_of_the_ticket_in_memory(run, printed, silent):
    facts = printed("eval", pruned(run))
    assert pk.evaluate(pruned(run)) == pk.evaluate(pk.load(pruned(run))) == facts
    assert silent()
    with pytest.raises(ConfigError, match='--split half: there are "train", "validation" and "test"'):
        pk.evaluate(pruned(run), split="half")


def test_predict_gives_the_answers_of_a_file_as_of_rows_in_memory(run, tmp_path, capsys):
    rows = [{"sentence": "w0 w3 w4"}, {"sentence": "w1 w9"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    capsys.readouterr()
    assert tiny.call("predict", pruned(run), file) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert pk.predict(pruned(run), rows) == pk.predict(pruned(run), file) == answers
    assert capsys.readouterr() == ("", "")
    with pytest.raises(pk.DataError, match="row 1"):
        pk.predict(pruned(run), [rows[0], {"text": "w1"}])


def test_compare_gives_a_table_of_methods_and_one_of_trainings(folder, tmp_path, printed, silent):
    settings = dict(rounds=None, keep_tokens=None, keep_pieces=None, learning_rate=None, rank=2)
    flags = tiny.arguments("gpt2", folder, **settings)
    facts = printed("compare", *flags, f"--out={tmp_path}", "--methods=direct,dpt", "--learning-rates=1")
    words = dict(flag[2:].split("=", 1) for flag in flags)
    keywords = {name.replace("-", "_"): value for name, value in words.items()}
    model, task = keywords.pop("model"), keywords.pop("task")
    comparison = pk.compare(
        model, None, task, methods=("dpt", "direct"), learning_rates=[1], out=tmp_path, quiet=True, **keywords
    )
    assert silent()
    assert terminal.records(comparison.table) == facts["methods"]
    assert terminal.records(comparison.trainings) == facts["trainings"]
    assert str(comparison.folder) == facts["written"]


def test_a_run_is_loaded_at_its_one_pruning_and_a_round_as_a_ticket(run, tmp_path):
    loaded = pk.load(run)
    assert isinstance(loaded, pk.Run)
    assert loaded.stage.startswith("prune-")
    assert loaded.rounds["round"].tolist() == [0, 1, 2]
    assert pk.load(run, "").stage == ""
    with pytest.raises(ConfigError, match="has no stage prune-0; there are"):
        pk.load(run, "prune-0")
    ticket = pk.load(str(pruned(run)))
    ticket.save(tmp_path / "kept.ticket")
    assert pk.load(tmp_path / "kept.ticket") == ticket == loaded.ticket(0, 2)
    with pytest.raises(ArtifactError, match="not a run, nor a finished round"):
        pk.load(tmp_path)


def test_a_report_is_returned_and_written_where_it_is_wanted(few, run, tmp_path, silent):
    page = pk.report(run)
    assert silent()
    assert page.startswith("<!DOCTYPE html>")
    assert pk.report([pk.load(run)], tmp_path / "page.html") == page == (tmp_path / "page.html").read_text()
