"""A snapshot reads and checks a file once, and goes on with what it read."""

import pytest
from test_runs_run import DENSE, PRUNED, filled

from prunekit.runs import paths, snapshot
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ArtifactError


@pytest.fixture
def run(tmp_path):
    return filled(tmp_path / "r")


def all_of(run):
    """Whatever can be asked of a run."""
    return (
        run.settings(), run.stage_settings("prune-ab12"), run.journal(), run.rounds(), run.tickets(), run.marks,
        run.results(times=True).fillna(-1).to_dict("records"), [run.content(key, "log.txt") for key in run.rounds()],
    )  # fmt: skip


def test_however_often_it_is_asked_each_file_is_opened_once(run, opened_files):
    looked_at = Snapshot.open(run.path)
    first = all_of(looked_at)
    looked_at.audit()
    assert all_of(looked_at) == first
    assert set(opened_files.values()) == {1}
    assert len(opened_files) == 2 + 1 + 4 * 4  # settings and journal, a stage's, and four rounds of four files


def test_it_says_what_the_run_says(run):
    assert all_of(Snapshot.open(run.path)) == all_of(run)


def test_what_was_read_stays_as_it_was_and_a_new_one_sees_the_damage(run):
    looked_at = Snapshot.open(run.path)
    before = all_of(looked_at)
    for name in (paths.SETTINGS, paths.JOURNAL, f"{DENSE[0]}/log.txt", f"{PRUNED[0]}/{paths.MANIFEST}"):
        (run.path / name).write_text("damaged")
        with pytest.raises(ArtifactError):
            all_of(Snapshot.open(run.path))
    assert all_of(looked_at) == before


def test_damage_is_said_each_time_it_is_met(run):
    path = run.folder(DENSE[0]) / "log.txt"
    sound = path.read_bytes()
    path.write_bytes(sound[:-1])
    looked_at = Snapshot.open(run.path)
    for _ in range(2):
        with pytest.raises(ArtifactError, match=r"log\.txt: damaged"):
            looked_at.content(DENSE[0], "log.txt")
    path.write_bytes(sound)
    assert looked_at.content(DENSE[0], "log.txt") == sound


def test_files_beyond_what_is_remembered_are_read_and_checked_again(run, opened_files, monkeypatch):
    monkeypatch.setattr(snapshot, "_MOST_REMEMBERED", 6)
    looked_at = Snapshot.open(run.path)
    for _ in range(2):
        assert [looked_at.content(key, "log.txt") for key in DENSE] == [b"log x", b"log x"]
    assert [opened_files[run.folder(key) / "log.txt"] for key in DENSE] == [1, 2]
    (run.folder(DENSE[1]) / "log.txt").write_text("log y")
    with pytest.raises(ArtifactError, match="damaged"):
        looked_at.content(DENSE[1], "log.txt")


def test_settings_that_a_caller_changes_are_the_callers(run):
    looked_at = Snapshot.open(run.path)
    looked_at.settings()["seeds"].append(7)
    looked_at.stage_settings("prune-ab12").clear()
    assert looked_at.settings()["seeds"] == [0, 1]
    assert looked_at.stage_settings("prune-ab12") == {"rounds": 1}
