import json
import os
import shutil

import pytest
import tiny

from prunekit.runs import summary
from prunekit.runs.listing import list_runs
from prunekit.runs.overview import runs_in


@pytest.fixture(scope="module")
def made(folder):
    return tiny.finished("gpt2", folder, folder / "out", seeds=2)[0]


def test_show_has_a_row_per_round_and_seed_and_a_mean(made, capsys, dense_wins):
    assert tiny.call("runs", "show", made.path, "--tolerance=1") == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[:2] for row in rows] == [[str(n), seed] for n in range(3) for seed in ("0", "1", "mean")]
    assert "Smallest ticket within 1.0" in out


def test_show_says_where_another_tolerance_names_another_ticket_than_the_run_does(
    made, capsys, dense_wins, monkeypatch
):
    line = "In other verbs it is RUN@round=2; RUN alone is the smallest within -0.05."
    for usual, told in ((0.01, False), (-0.05, True)):  # round 1 alone is better than dense by so much
        monkeypatch.setattr("prunekit.runs.address.TOLERANCE", usual)
        assert tiny.call("runs", "show", made.path, "--tolerance=1") == 0
        assert (line in capsys.readouterr().out) == told


@pytest.fixture(scope="module")
def shorter(folder):
    """Of one seed, and fewer updates."""
    return tiny.finished("gpt2", folder, folder / "shorter", train_steps=4)[0]


def test_rounds_of_one_seed_stand_together_and_of_several_apart(made, shorter, capsys):
    for run, apart in ((shorter, False), (made, True)):
        assert tiny.call("runs", "show", run.path) == 0
        assert any(not line.strip() for line in capsys.readouterr().out.splitlines()) == apart


def test_show_of_what_is_no_run_is_one_line(tmp_path, capsys):
    assert tiny.call("runs", "show", tmp_path) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "not a run directory" in line


def test_a_missing_timing_is_no_reason_to_fail(made, capsys):
    timing = next(made.path.rglob("timing.json"))
    kept = timing.read_bytes()
    timing.unlink()
    assert tiny.call("runs", "show", made.path, "--json") == 0
    timing.write_bytes(kept)
    assert json.loads(capsys.readouterr().out)["metric"] == "accuracy"


def test_compare_names_the_settings_that_differ(made, shorter, capsys):
    assert tiny.call("runs", "compare", made.path, shorter.path, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["settings"]["training.train_steps"], second["settings"]["training.train_steps"]) == (6, 4)
    assert "training.batch_size" not in first["settings"]
    assert "id" not in first["settings"]  # which differs whenever a setting does


def test_list_says_what_each_run_came_to(made, tmp_path, capsys):
    assert tiny.call("runs", "list", f"--out={made.path.parent}", "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["seeds"], entry["finished_tickets"]) == ([0, 1], 8)
    assert (entry["model"], entry["metric"]) == ("model-gpt2", "accuracy")
    rounds = summary.summarise(made.results(), "accuracy")
    best = summary.smallest(rounds, 0.01)
    assert (entry["dense"], entry["best"]) == (pytest.approx(rounds[0].test), pytest.approx(best.test))
    assert entry["kept"] == (f"{best.tokens} x {best.pieces}" if best.round else "")
    assert tiny.call("runs", "list", f"--out={tmp_path}") == 0
    assert "no runs in" in capsys.readouterr().out


def test_list_shows_the_newest_last(made, tmp_path):
    for age, name in enumerate(("new", "old")):
        shutil.copytree(made.path, tmp_path / name)
        for file in ("journal.json", "experiment.toml"):
            os.utime(tmp_path / name / file, (10**9 - age, 10**9 - age))
    assert [run.path.name for run in list_runs(tmp_path)] == ["old", "new"]


# ---- damaged runs


@pytest.fixture
def three(made, tmp_path):
    """A folder of three runs: sound, with a lost round, with damage in two files."""
    for name in ("sound", "lost", "torn"):
        shutil.copytree(made.path, tmp_path / "runs" / name)
    lost, torn = tmp_path / "runs" / "lost", tmp_path / "runs" / "torn"
    shutil.rmtree(next(lost.glob("prune-*/seed=1/round=02")))
    for path in (torn / "seed=0" / "round=00" / "log.parquet", torn / "experiment.toml"):
        path.write_bytes(path.read_bytes()[:-1])
    return tmp_path / "runs"


def test_verify_lists_every_problem_of_every_run_and_ends_with_code_1(three, capsys):
    assert tiny.call("runs", "verify", three) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    problems = [line for line in lines if ": " in line]
    assert [line.partition(": ")[0].removeprefix(f"{three}/").replace("prune-", "")[:5] for line in problems] == [
        "lost/", "torn/", "torn/",
    ]  # fmt: skip
    rows = [line.split() for line in lines if line.startswith(str(three)) and ": " not in line]
    assert [row[0].rpartition("/")[2] for row in rows] == ["lost", "sound", "torn"]
    assert [" ".join(row[3:]) for row in rows] == ["1 problem", "whole", "2 problems"]
    assert said.err == "prunekit: 2 of 3 runs are not as they should be\n"


def test_verify_of_sound_runs_by_name_ends_with_code_0(three, capsys):
    assert tiny.call("runs", "verify", three / "sound", three / "sound") == 0
    assert capsys.readouterr().out.count("whole") == 1


def test_verify_sees_a_run_that_lost_its_settings_and_a_folder_that_is_none(three, tmp_path, capsys):
    for name in ("lost", "torn"):
        shutil.rmtree(three / name)
    (three / "sound" / "experiment.toml").unlink()
    (tmp_path / "empty").mkdir()
    assert tiny.call("runs", "verify", three, tmp_path / "empty", tmp_path / "gone") == 1
    out = capsys.readouterr().out
    assert f"{three / 'sound' / 'experiment.toml'}: missing" in out
    for name in ("empty", "gone"):
        assert f"{tmp_path / name}: not a run, nor a folder of runs" in out


def test_a_run_that_was_only_begun_is_no_problem(made, tmp_path):
    (tmp_path / "runs" / "begun").mkdir(parents=True)
    for name in ("environment.json", ".lock"):
        shutil.copyfile(made.path / name, tmp_path / "runs" / "begun" / name)
    assert runs_in(tmp_path / "runs") == []


def test_list_goes_on_past_a_damaged_run_and_says_so(three, capsys):
    tiny.call("runs", "list", f"--out={three}")
    out = capsys.readouterr().out
    assert sum("damaged" in line and line.startswith("torn ") for line in out.splitlines()) == 1
    assert f"{three / 'torn' / 'experiment.toml'}: damaged" in out
    tiny.call("runs", "list", f"--out={three}", "--json")
    lost, sound, torn = sorted(json.loads(capsys.readouterr().out), key=lambda entry: entry["run"])
    assert (sound["finished_tickets"], lost["finished_tickets"]) == (8, 7)
    assert "experiment.toml" in torn["problem"]
