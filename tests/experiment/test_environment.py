"""Each round tells under which versions and on which machine it was made."""

import json

import pytest
import tiny
from tiny import call

from prunekit.experiment import environment
from prunekit.experiment.prepare import prepare
from prunekit.experiment.run import run
from prunekit.runs import checksums
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Run
from prunekit.support.errors import ArtifactError

DENSE = RunKey("", 0, 0)


@pytest.fixture
def asked(tmp_path):
    return tiny.experiment("gpt2", tmp_path, rounds=1, train_steps=2)


@pytest.fixture
def elsewhere(monkeypatch):
    """A function after which this is another machine, with other versions."""

    def change(**facts):
        now = environment.current()
        packages = now["packages"] | facts.pop("packages", {})
        now = now | {"packages": packages} | facts
        monkeypatch.setattr(environment, "current", lambda device="cpu": now)

    return change


def by_round(directory):
    """Round -> the version of torch and the instructions that it was made with."""
    return {
        name: (entry["packages"]["torch"], entry["instructions"])
        for entry in environment.environments(directory)
        for name in entry["rounds"]
    }


def test_every_round_of_a_run_is_in_one_environment(asked, tmp_path):
    made = run(prepare(asked), tmp_path / "runs", tiny.Quiet())
    (entry,) = environment.environments(made)
    assert entry["rounds"] == sorted(str(key) for key in made.rounds())
    assert entry["packages"].keys() >= {"prunekit", "torch", "transformers"}
    assert entry["threads"] == 1 and entry["instructions"] and entry["device"] == "cpu"


def test_a_resumed_run_says_and_records_where_its_later_rounds_were_made(asked, tmp_path, elsewhere):
    first = run(prepare(asked), tmp_path / "runs", tiny.Quiet(), prune=False)
    before = by_round(first)
    elsewhere(packages={"torch": "9.9"}, instructions="NEON")
    quiet = tiny.Quiet()
    second = run(prepare(asked), tmp_path / "runs", quiet)
    assert second.path == first.path
    (said,) = [line for line in quiet.lines if "made with" in line]
    assert "torch" in said and "(now 9.9)" in said and "(now NEON)" in said
    assert "last digits" in said
    after = by_round(second)
    assert {name: after[name] for name in before} == before
    later = [after[str(key)] for key in second.rounds() if str(key) not in before]
    assert later and set(later) == {("9.9", "NEON")}


def test_rounds_made_in_one_environment_are_the_same_bytes_resumed_or_not(asked, tmp_path):
    whole = run(prepare(asked), tmp_path / "whole", tiny.Quiet())
    run(prepare(asked), tmp_path / "parts", tiny.Quiet(), prune=False)
    parts = run(prepare(asked), tmp_path / "parts", tiny.Quiet())
    assert tiny.contents(parts.path) == tiny.contents(whole.path)
    assert environment.environments(parts) == environment.environments(whole)


def test_a_round_that_is_made_again_belongs_to_the_environment_that_made_it_last(asked, tmp_path, elsewhere):
    made = run(prepare(asked), tmp_path / "runs", tiny.Quiet(), prune=False)
    elsewhere(instructions="NEON")
    environment.record(made, [DENSE])
    environment.record(made, [DENSE])
    found = by_round(made)
    assert found[str(DENSE)][1] == "NEON"
    assert {name for name, (_, instructions) in found.items() if instructions == "NEON"} == {str(DENSE)}
    environment.record(made, [key for key in made.rounds() if key != DENSE])
    assert len(environment.environments(made)) == 1, "an environment without a round is gone"


def test_a_score_is_recorded_too_and_says_where_its_ticket_was_made(asked, tmp_path, elsewhere, capsys):
    made = run(prepare(asked), tmp_path / "runs", tiny.Quiet(), prune=False)
    elsewhere(packages={"transformers": "9.9"})
    assert call("score", made.folder(DENSE), "--kind=magnitude") == 0
    assert "note: it was made with transformers" in capsys.readouterr().err
    entry = environment.environments(made)[-1]
    assert entry["packages"]["transformers"] == "9.9"
    assert [name.startswith("score-") for name in entry["rounds"]] == [True]


def test_the_same_environment_is_not_spoken_of(asked, tmp_path):
    made = run(prepare(asked), tmp_path / "runs", tiny.Quiet(), prune=False)
    assert environment.notes(made) == []
    quiet = tiny.Quiet()
    run(prepare(asked), tmp_path / "runs", quiet, prune=False)
    assert not any("made with" in line for line in quiet.lines)


def test_a_damaged_or_foreign_file_is_named_and_stops_no_reader_of_tickets(asked, tmp_path):
    made = run(prepare(asked), tmp_path / "runs", tiny.Quiet(), prune=False)
    path = made.path / "environment.json"
    facts = json.loads(path.read_text())
    for content in (
        b"{",
        path.read_bytes().replace(b"python", b"pythom"),
        checksums.stamped({**facts, "run": "another"}),
        checksums.stamped({"run": made.id, "environments": 5}),
        checksums.stamped({"run": made.id, "environments": [{"rounds": "x"}]}),
        checksums.stamped({"run": made.id}),
    ):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"environment.json: .*delete it"):
            environment.environments(Run.open(made.path))
        (line,) = environment.notes(Run.open(made.path))
        assert line.startswith("note: ") and "environment.json" in line
    path.unlink()
    assert environment.environments(made) == environment.notes(made) == []
