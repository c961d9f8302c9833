"""A sweep by submitit: what Slurm is told, what comes back, what is cancelled. No Slurm is needed: it is played."""

import os
import sys

import pytest
import sweeps

from prunekit.experiment.sweep import engines, jobs
from prunekit.experiment.sweep.engines import Requeued, Resources
from prunekit.support.errors import ConfigError

pytest.importorskip("submitit", reason="submitit is an extra (prunekit[cluster]) and not installed")

SBATCH = """#!/bin/sh
cp "$1" {folder}/submitted.sh
echo Submitted batch job 4711
"""
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
for task in 0 1; do echo "4711_$task|{state}|node1"; done
"""
SCANCEL = """#!/bin/sh
echo "$@" >> {folder}/cancelled
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands that act like Slurm's; gives a function that sets what jobs are said to be."""
    programs = tmp_path / "bin"
    programs.mkdir()

    def play(state):
        for name, text in (("sbatch", SBATCH), ("srun", "#!/bin/sh\n"), ("sacct", SACCT), ("scancel", SCANCEL)):
            (programs / name).write_text(text.format(folder=tmp_path, state=state))
            (programs / name).chmod(0o755)

    play("PENDING")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(engines, "_TICK", 0.01)
    return play


def work(tmp_path):
    found = sweeps.read(sweeps.written(tmp_path, rounds="0", methods='"direct"'), threads=1)
    return jobs.jobs(found, tmp_path / "runs", found.experiments)


def test_slurm_is_told_of_cores_places_and_what_the_grid_says(slurm, tmp_path):
    more = {"slurm_partition": "short", "timeout_min": 30}
    running = engines.outcomes("slurm", work(tmp_path), Resources(2, threads=3, slurm=more), tmp_path)
    assert next(running) == []
    running.close()
    told = (tmp_path / "submitted.sh").read_text()
    for line in ("--cpus-per-task=3", "--partition=short", "--time=30", "--array=0-1%2", "--job-name=prunekit"):
        assert line in told
    assert "4711" in (tmp_path / "cancelled").read_text()  # its own jobs, when it is left


@pytest.mark.slow  # submitit waits for an answer to come by a slow file system
def test_a_job_that_ends_without_an_answer_is_lost_with_a_reason(slurm, tmp_path, monkeypatch):
    slurm("FAILED")
    running = engines.outcomes("slurm", work(tmp_path), Resources(2), tmp_path)
    found = [one for some in running for one in some]
    assert len(found) == 2
    assert all("ended without an answer" in one.failed for one in found)


def test_a_setting_that_submitit_does_not_know_is_refused(slurm, tmp_path):
    with pytest.raises(ConfigError, match=r"--engine slurm: .*partion"):
        next(engines.outcomes("slurm", work(tmp_path), Resources(2, slurm={"partion": "short"}), tmp_path))


def test_a_machine_without_slurm_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="--engine slurm: "):
        next(engines.outcomes("slurm", work(tmp_path), Resources(2), tmp_path))


def test_an_interrupted_job_asks_to_be_queued_again():
    again = Requeued().checkpoint("job")
    assert isinstance(again.function, Requeued)
    assert again.args == ("job",)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="submitit's local executor needs a POSIX system")
def test_jobs_come_back_from_submitits_own_processes(tmp_path):
    running = engines._slurm(work(tmp_path), Resources(2), tmp_path, cluster="local")
    found = [one for some in running for one in some]
    assert [one.failed for one in found] == ["", ""]
    assert all(one.places for one in found)
