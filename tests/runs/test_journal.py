"""A run knows what it should hold."""

import pytest
from test_runs_run import DENSE, PRUNED, filled, member

from prunekit.runs.journal import Journal, read_journal
from prunekit.runs.paths import JOURNAL, RunKey
from prunekit.runs.run import Run
from prunekit.support import atomic
from prunekit.support.errors import ArtifactError


def digests(run, cohort):
    return {key: run.manifest(key)["sha256"] for key in cohort}


def test_every_committed_round_is_in_the_journal(tmp_path):
    run = filled(tmp_path / "r")
    known = run.journal()
    assert known.rounds == digests(run, [*DENSE, *PRUNED])
    assert known.pending == {}
    assert known.results is None
    run.write_results()
    assert run.journal().results is not None


def test_the_same_run_gives_the_same_bytes_whatever_the_order(tmp_path):
    one, two = filled(tmp_path / "one"), filled(tmp_path / "two")
    arm, more = RunKey("prune-ab12/random", 0, 1), RunKey("", 5, 0)
    for run, order in ((one, (arm, more)), (two, (more, arm))):
        for key in order:
            run.commit([member(key)])
        run.write_results()
    assert (one.path / JOURNAL).read_bytes() == (two.path / JOURNAL).read_bytes()


def test_a_journal_reads_back_and_a_flipped_bit_is_noticed(tmp_path):
    run = filled(tmp_path / "r")
    path = run.path / JOURNAL
    whole = path.read_bytes()
    assert Journal(*vars(read_journal(run.path)[0]).values()).to_bytes(run.marks) == whole
    for key in range(0, len(whole), 7):
        path.write_bytes(whole[:key] + bytes([whole[key] ^ 1]) + whole[key + 1 :])
        with pytest.raises(ArtifactError, match=r"journal\.json: .*; delete it and run the same command again"):
            read_journal(run.path)
    path.unlink()
    assert read_journal(run.path) is None


@pytest.mark.parametrize("change", [{"rounds": {"../x": "y"}}, {"rounds": ["seed=0/round=00"]}, {"more": 1}])
def test_a_journal_of_another_form_is_refused(tmp_path, change):
    from prunekit.runs import checksums

    run = filled(tmp_path / "r")
    facts = checksums.read_stamped(run.path / JOURNAL)
    (run.path / JOURNAL).write_bytes(checksums.stamped(facts | change))
    with pytest.raises(ArtifactError, match="not a journal of this version"):
        run.journal()


def test_another_runs_journal_is_refused(tmp_path):
    run, other = filled(tmp_path / "r"), filled(tmp_path / "s")
    other.write_settings(other.settings() | {"id": "ffff0000"})
    (tmp_path / "r" / JOURNAL).write_bytes(Journal().to_bytes(other.marks))
    with pytest.raises(ArtifactError, match="belongs to"):
        run.journal()


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_process_that_ends_between_the_renames_leaves_what_is_understood_and_finished(tmp_path, monkeypatch, moved):
    run, whole = filled(tmp_path / "r"), filled(tmp_path / "whole")
    third = [RunKey("prune-ab12", 0, 2), RunKey("prune-ab12", 1, 2)]
    whole.commit([member(key) for key in third])
    real, left = atomic.move, [moved]

    def move(staged, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(staged, target)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "move", move)
        if moved == 2:
            patch.setattr(run, "_publish", lambda keys: move(None, None))
        with pytest.raises(KeyboardInterrupt):
            run.commit([member(key) for key in third])
    run = Run.open(run.path)
    assert run.done(third) == (moved == 2)
    assert set(run.journal().pending) == set(third)
    assert run.audit().problems == ()
    assert run.audit().unfinished == 2
    with run.locked():
        assert set(run.journal().pending) == (set() if moved == 2 else set(third))
        if not run.done(third):
            run.commit([member(key) for key in third])
    assert (run.path / JOURNAL).read_bytes() == (whole.path / JOURNAL).read_bytes()
    assert run.audit().unfinished == 0


def test_a_run_without_a_journal_gets_one_of_what_is_there(tmp_path):
    run = filled(tmp_path / "r")
    before = (run.path / JOURNAL).read_bytes()
    (run.path / JOURNAL).unlink()
    with run.locked():
        pass
    assert (run.path / JOURNAL).read_bytes() == before


def test_a_damaged_journal_stops_whoever_would_write_and_frees_the_run(tmp_path):
    run = filled(tmp_path / "r")
    (run.path / JOURNAL).write_bytes(b"{}")
    for _ in range(2):
        with pytest.raises(ArtifactError, match=r"journal\.json"), run.locked():
            raise AssertionError
    with pytest.raises(ArtifactError, match=r"journal\.json"):
        run.commit([member(RunKey("", 7, 0))])
    assert not run.done([RunKey("", 7, 0)])
