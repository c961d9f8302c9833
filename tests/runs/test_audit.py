"""All that is wrong with a run is seen, each in a line of its own, and nothing else is said."""

import os
import shutil

import pandas as pd
import pytest
import tiny
from test_runs_run import DENSE, PRUNED, member

from prunekit.runs import checksums, paths
from prunekit.runs.journal import Journal
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Run
from prunekit.support.atomic import STAGING

UNTRAINED = [RunKey(paths.UNTRAINED, 0, 0), RunKey(paths.UNTRAINED, 1, 0)]
SCORE = RunKey("score-08dc", 0, 0)


def whole(path):
    """A run with everything that a run can hold."""
    run = Run(path)
    run.write_environment({"python": "3", "run": "abcd1234"})
    run.write_settings({"id": "abcd1234", "seeds": [0, 1], "cohorts": [[0, 1]], "metric": "accuracy"})
    for cohort in (DENSE, UNTRAINED, PRUNED):
        if cohort == PRUNED:
            run.write_stage("prune-ab12", {"rounds": 1})
        run.commit([member(key) for key in cohort])
    run.write_stage("score-08dc", {"kind": "magnitude"})
    run.commit([member(SCORE)])
    run.write_results()
    return run


@pytest.fixture
def run(tmp_path):
    return whole(tmp_path / "r")


def problems(run):
    return [problem.replace(str(run.path), "r") for problem in Run(run.path).audit().problems]


def test_a_sound_run_has_no_problem(run):
    found = run.audit()
    assert (found.problems, found.files, found.rounds, found.unfinished) == ((), 14, 7, 0)


GONE = {
    "seed=1/round=00": "r/seed=1: missing, with a round",
    "prune-ab12/seed=1/round=01": "r/prune-ab12/seed=1: missing, with a round",
    "prune-ab12": "r/prune-ab12: missing, with 2 rounds",
    "untrained": "r/untrained: missing, with 2 rounds",
    "score-08dc": "r/score-08dc: missing, with a round",
    "prune-ab12/stage.toml": "r/prune-ab12/stage.toml: missing",
    "score-08dc/stage.toml": "r/score-08dc/stage.toml: missing",
    "seed=0/round=00/MANIFEST.json": "r/seed=0/round=00/MANIFEST.json: missing",
    "seed=0/round=00/log.txt": "r/seed=0/round=00/log.txt: cannot be read (No such file",
    "experiment.toml": "r/experiment.toml: missing",
    "environment.json": "r/environment.json: missing",
    "results.parquet": "r/results.parquet: missing",
    "journal.json": "r/journal.json: no journal",
}


@pytest.mark.parametrize("name", GONE)
def test_what_is_gone_is_named(run, name):
    path = run.path / name
    if path.is_dir():
        shutil.rmtree(path)
        if name.endswith(("00", "01")) and not list(path.parent.iterdir()):
            path.parent.rmdir()
    else:
        path.unlink()
    assert any(problem.startswith(GONE[name]) for problem in problems(run)), problems(run)


def test_almost_everything_gone_is_a_line_for_each_folder(run):
    for path in run.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    found = problems(run)
    assert [problem.partition(":")[0] for problem in found] == [
        "r/prune-ab12", "r/score-08dc", "r/seed=0", "r/seed=1", "r/untrained",
    ]  # fmt: skip


FILES = [
    "experiment.toml", "environment.json", "results.parquet", "journal.json", "prune-ab12/stage.toml",
    "score-08dc/stage.toml", "seed=0/round=00/log.txt", "seed=0/round=00/result.json",
    "seed=0/round=00/timing.json", "seed=0/round=00/MANIFEST.json", "untrained/seed=1/round=00/log.txt",
    "score-08dc/seed=0/round=00/log.txt", "prune-ab12/seed=1/round=01/result.json",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("at", tiny.at_night(0.3, 0.999, 0, 0.7, gate=2))
def test_a_flipped_bit_is_seen_in_every_file_and_no_other_is_blamed(run, name, at):
    tiny.flip(run.path / name, at, bits=2)
    found = problems(run)
    assert found
    assert {problem.partition(": ")[0] for problem in found} == {f"r/{name}"}
    assert all("\n" not in problem for problem in found)


def test_every_problem_is_listed_and_not_the_first_alone(run):
    for name in FILES:
        path = run.path / name
        path.write_bytes(path.read_bytes()[:-2])
    shutil.rmtree(run.folder(SCORE))
    named = {problem.partition(": ")[0].removeprefix("r/") for problem in problems(run)}
    # files of a round are compared with a manifest that is sound
    assert named == set(FILES) - {
        "score-08dc/seed=0/round=00/log.txt", "seed=0/round=00/log.txt", "seed=0/round=00/result.json",
        "seed=0/round=00/timing.json",
    }  # fmt: skip


def test_a_table_that_is_not_what_the_rounds_give_is_seen(run):
    path = run.path / paths.RESULTS
    table = pd.read_parquet(path)
    table["test_accuracy"] += 0.1
    table.to_parquet(path, index=False)
    assert problems(run) == [
        "r/results.parquet: damaged, or not what the rounds give; delete it and run the same command again"
    ]
    pd.read_parquet(path).iloc[:0].to_parquet(path, index=False)
    assert len(problems(run)) == 1


def test_a_table_in_other_bytes_is_the_same_table(run):
    path = run.path / paths.RESULTS
    pd.read_parquet(path).to_parquet(path, index=False, compression="gzip")
    assert len(problems(run)) == 1  # it is not the file that was written
    (run.path / paths.JOURNAL).unlink()
    with run.locked():
        assert problems(run) == []  # where that is not known, what it holds decides


def test_what_does_not_belong_to_a_round_is_named(run):
    folder = run.folder(DENSE[0])
    (folder / "notes.txt").write_text("x")
    (folder / "inside").mkdir()
    assert [problem.partition(":")[0] for problem in problems(run)] == [
        "r/seed=0/round=00/inside", "r/seed=0/round=00/notes.txt",
    ]  # fmt: skip


def test_what_a_user_keeps_beside_the_rounds_is_no_problem(run, tmp_path):
    (run.path / "notes.txt").write_text("x")
    (run.path / "figures").mkdir()
    (run.path / "best").symlink_to(run.folder(PRUNED[0]), target_is_directory=True)
    (run.path / f"{STAGING}0123456789abcdef-x").write_text("left by a dead process")
    assert problems(run) == []
    assert Run(run.path).rounds() == run.rounds()


def test_a_round_that_the_journal_does_not_list_is_named(run, tmp_path):
    other = whole(tmp_path / "other")
    other.commit([member(RunKey("", 9, 0))])
    shutil.copytree(other.path / "seed=9", run.path / "seed=9")
    (said,) = problems(run)
    assert said.startswith("r/seed=9/round=00: a round that the journal does not list")
    other.commit([member(DENSE[0], "changed"), member(DENSE[1])])
    shutil.rmtree(run.folder(DENSE[0]))
    shutil.copytree(other.folder(DENSE[0]), run.folder(DENSE[0]))
    assert any("seed=0/round=00: another round than the journal lists" in problem for problem in problems(run))


def test_a_manifest_where_no_round_belongs_and_a_folder_without_one_are_named(run):
    shutil.copytree(run.folder(DENSE[0]), run.path / "seed=0" / "round=00 (copy)")
    (run.path / "seed=0" / "round=07").mkdir()
    assert [problem.partition(": ")[::2] for problem in problems(run)] == [
        ("r/seed=0/round=00 (copy)/MANIFEST.json", "seed=0/round=00 (copy) is not the place of a round; take it away"),
        ("r/seed=0/round=07/MANIFEST.json", "missing; delete its folder and run again"),
    ]


LINKS = [*FILES[:8], "seed=0/round=00", "seed=0", "untrained", "prune-ab12", "score-08dc/seed=0"]


@pytest.mark.parametrize(("kind", "name"), [*(("link", name) for name in LINKS), *(("pipe", name) for name in FILES)])
def test_a_link_or_a_pipe_where_a_file_or_folder_should_be_is_named_and_nobody_waits(run, kind, name, tmp_path):
    path = run.path / name
    path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    else:
        os.mkfifo(path)
    found = problems(run)
    assert any(problem.startswith(f"r/{name}: ") and f"a {kind}" in problem for problem in found), found


def test_damaged_settings_do_not_hide_damaged_rounds(run):
    (run.path / paths.SETTINGS).write_text("x")
    (run.folder(PRUNED[0]) / "log.txt").write_text("x")
    assert [problem.partition(":")[0] for problem in problems(run)] == [
        "r/experiment.toml", "r/prune-ab12/seed=0/round=01/log.txt",
    ]  # fmt: skip


def test_another_runs_environment_and_journal_are_named(run, tmp_path):
    (run.path / paths.ENVIRONMENT).write_bytes(checksums.stamped({"run": "ffff0000"}))
    assert problems(run) == ["r/environment.json: belongs to another run; restore it, or run the same command again"]
    other = whole(tmp_path / "other")
    other.write_settings(other.settings() | {"id": "ffff0000"})
    (run.path / paths.JOURNAL).write_bytes(Journal().to_bytes(other.marks))
    assert any(problem.startswith("r/journal.json: belongs to") for problem in problems(run))
