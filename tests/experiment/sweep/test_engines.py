import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from concurrent.futures import Future
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import torch
from forks import ENDS
from packaging.requirements import Requirement
from roots import ROOT
from sweeps import alive, children, holders, lasting, written

from prunekit.experiment.settings import MachineSettings
from prunekit.experiment.sweep import engines, worker
from prunekit.experiment.sweep.engines import Resources
from prunekit.experiment.sweep.jobs import Job, Task

signals = pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])


@pytest.fixture(params=["forked", pytest.param("spawned", marks=pytest.mark.slow)])
def going(request, forks, tmp_path):
    """Begin a sweep of three runs on two workers: its process, and theirs once both are at work."""

    def begin(steps, more=""):
        file = written(tmp_path, rounds="1", methods='"direct"', more=more)
        text = file.read_text().replace("[0.05, 0.1]", "[0.05, 0.1, 0.2]")
        file.write_text(text.replace("= 4\nevaluate_every = 2", f"= {steps}\nevaluate_every = {steps // 2}"))
        out = tmp_path / "runs"
        words = ["sweep", str(file), f"--out={out}", "--workers=2"]
        if request.param == "forked":
            process = forks.start(words, tmp_path / "sweep")
        else:
            command = [sys.executable, "-m", "prunekit", *words]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(workers := holders(out)) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        return process, workers, out

    return begin


@pytest.mark.gate
def test_a_worker_that_is_killed_takes_no_job_along(going):
    process, workers, out = going(40)
    os.kill(workers[0], signal.SIGKILL)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert len(list(out.glob("*/prune-*"))) == 3
    assert "3 of 3: " in errors
    assert "failed" not in said + errors


@pytest.mark.slow
def test_a_job_whose_worker_dies_again_and_again_fails_alone(going):
    process, workers, _ = going(40, more="[sweep]\nretries = 0\n")
    os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "prunekit: 1 of 3 experiments failed, the first is " in errors
    assert "its worker process was killed, for want of memory perhaps (try fewer --workers)" in errors
    assert "Traceback" not in errors


@pytest.mark.gate
@signals
def test_a_signal_ends_the_sweep_and_its_own_processes_only_though_one_was_stopped(number, going):
    bystander = subprocess.Popen(["sleep", "600"])
    process, workers, _ = going(200_000)
    started = children(process.pid)
    assert len(started) >= 2
    os.kill(workers[0], signal.SIGSTOP)
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert process.returncode == ENDS[number][0]
    assert re.search(r"prunekit: \w+; finished rounds are kept", errors.splitlines()[-1])
    assert "Traceback" not in errors
    assert not lasting(started)
    assert alive(bystander.pid)
    bystander.kill()
    bystander.wait()


def test_a_worker_is_a_fresh_process():
    """Not a fork, which would copy torch's threads in an unknown state."""
    pool = engines._worker(0, Resources(workers=1))
    assert pool.submit(eval, "'torch' in __import__('sys').modules").result() is False
    assert pool.submit(os.getppid).result() == os.getpid()
    pool.shutdown()


@pytest.mark.slow
def test_workers_end_when_who_started_them_is_killed(going):
    process, *_ = going(200_000)
    started = children(process.pid)
    process.kill()
    process.communicate(timeout=60)
    assert not lasting(started)


def pulled(wanted, seen=frozenset()):
    """Everything that is installed for some requirements, by what the installed packages say of themselves."""
    found = set(seen)
    for one in map(Requirement, wanted):
        if one.name.lower() in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(one.name.lower())
        try:
            found |= pulled(requires(one.name) or [], found)
        except PackageNotFoundError:  # an optional one that is not here
            continue
    return found


def test_the_plain_package_pulls_no_engine():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plain = pulled(project["dependencies"])
    assert {"torch", "typer"} < plain
    assert not plain & {"ray", "submitit", "bitsandbytes", "accelerate"}
    assert {Requirement(one).name for one in project["optional-dependencies"]["cluster"]} == {"ray", "submitit"}


JOB = Job("key", "prune", False, "runs", ".", (Task("key", "label", {}),))


class BegunError(Exception):
    """A pool was asked for."""


def test_more_workers_than_gpus_share_them(monkeypatch):
    asked = []

    class Pool:
        def __init__(self, workers, context, begin, given):
            assert workers == 1  # one that dies takes no other's job along
            asked.append((begin, given))

        def submit(self, *given):
            if len(asked) == 5:
                raise BegunError
            return Future()

        def shutdown(self, **given):
            pass

    monkeypatch.setattr(engines, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # a worker leaves Ctrl-C to others, this process does not
    with pytest.raises(BegunError):
        next(engines.outcomes("local", [JOB] * 5, Resources(workers=5, gpus=1), Path()))
    monkeypatch.setattr(worker, "_on_gpu", 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    taken = []
    for begin, given in asked:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        begin(*given)
        taken.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert taken == ["0", "1", "0", "1", "0"]
    assert worker._neighbours(MachineSettings(device="cuda")) == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")  # those that a scheduler gave
    begin(*asked[1][1])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
