import subprocess
import sys

import pytest
import tiny
from test_distributed import torchrun
from test_runs_run import DENSE, member

from prunekit.engine.distributed import ProcessGroup
from prunekit.runs.distributed_run import DistributedRun, run_at
from prunekit.runs.store import Store, Stored
from prunekit.support.errors import ConfigError


class Played(ProcessGroup):
    """A process of two that hears what it is told to hear."""

    def __init__(self, rank, heard=True):
        super().__init__(2, rank)
        self.heard, self.digests = heard, []

    def says(self, answer):
        return answer if self.leads else self.heard

    def check_same(self, digest):
        self.digests.append(digest)


def opened(folder, team):
    run = run_at(team, folder, "r", "abcd1234")
    assert isinstance(run, DistributedRun)
    return run


def work(run):
    run.write_environment({"python": "3"})
    run.write_settings({"id": "abcd1234", "cohorts": [[0, 1]]})
    run.commit([member(place) for place in DENSE])
    run.write_stage("prune-ab12", {"rounds": 1})


def test_the_first_process_writes_and_the_second_only_compares(tmp_path):
    first, second = Played(0), Played(1)
    run = opened(tmp_path / "one", first)
    work(run)
    run.write_results()
    assert run.verify() == 4
    other = opened(tmp_path / "two", second)
    work(other)
    assert not (tmp_path / "two").exists()
    assert second.digests == first.digests != []


def test_the_second_process_takes_the_firsts_word_for_what_is_done(tmp_path):
    assert opened(tmp_path, Played(1, heard=True)).done(DENSE)
    assert not opened(tmp_path, Played(1, heard=False)).done(DENSE)
    with opened(tmp_path, Played(1)).locked():
        assert not (tmp_path / "r").exists()


def test_a_team_with_a_store_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a run of several processes goes to a folder"):
        run_at(Played(0), Stored(tmp_path, Store("memory://team")), "r", "abcd1234")


@pytest.mark.slow
def test_a_whole_run_on_two_processes_is_written_by_the_first(tmp_path):
    few = tiny.arguments("gpt2", tmp_path, seeds=2, rounds=1)
    command = ["-m", "prunekit", "prune", *few, "--controls", f"--out={tmp_path / 'runs'}"]
    made = torchrun(2, *command, "--processes=2")
    assert made.stdout.count("written to") == 1
    (run,) = (tmp_path / "runs").iterdir()
    assert "processes = 2" in (run / "experiment.toml").read_text()
    before = tiny.contents(run)
    torchrun(2, *command, "--processes=2")
    assert tiny.contents(run) == before
    alone = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert alone.returncode == 2
    assert "begun with processes = 2; use the same" in alone.stderr
    subprocess.run([sys.executable, "-m", "prunekit", "runs", "verify", str(run)], check=True, capture_output=True)
