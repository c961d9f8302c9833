import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from sweeps import alive, children, lasting, written

from prunekit.config import MachineSettings
from prunekit.sweep import engines, worker
from prunekit.sweep.engines import Resources


@pytest.mark.gate
@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_the_sweep_and_its_own_processes_only(number, code, tmp_path):
    file = written(tmp_path, rounds="1", methods='"direct"')
    text = file.read_text().replace("[0.05, 0.1]", "[0.05, 0.1, 0.2]").replace("= 4\nevaluate", "= 200000\nevaluate")
    file.write_text(text.replace("evaluate_every = 2", "evaluate_every = 100000"))
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "prunekit", "sweep", str(file), f"--out={out}", "--workers=2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("*/experiment.toml"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    started = children(process.pid)
    assert len(started) >= 2
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert re.search(r"prunekit: \w+; finished rounds are kept", errors.splitlines()[-1])
    assert "Traceback" not in errors
    assert not lasting(started)
    assert alive(bystander.pid)
    bystander.kill()
    bystander.wait()


@pytest.mark.slow
def test_workers_end_when_who_started_them_is_killed(tmp_path):
    file = written(tmp_path, rounds="1", methods='"direct"')
    file.write_text(file.read_text().replace("= 4\nevaluate", "= 200000\nevaluate"))
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "prunekit", "sweep", str(file), f"--out={out}", "--workers=2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(out.glob("*/experiment.toml")):
        time.sleep(0.05)
    started = children(process.pid)
    process.kill()
    process.wait()
    assert not lasting(started)


def test_engines_are_imported_only_when_asked_for():
    code = "import sys, prunekit.cli, prunekit.sweep.engines; print({'ray', 'submitit', 'torch'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "set()"


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
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    plain = pulled(project["dependencies"])
    assert {"torch", "typer"} < plain
    assert not plain & {"ray", "submitit", "bitsandbytes", "accelerate"}
    assert {Requirement(one).name for one in project["optional-dependencies"]["cluster"]} == {"ray", "submitit"}


class BegunError(Exception):
    """A pool was asked for."""


def test_more_workers_than_gpus_share_them(monkeypatch):
    asked = []

    def pool(workers, context, begin, given):
        asked.append((begin, given))
        raise BegunError

    monkeypatch.setattr(engines, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # a worker leaves Ctrl-C to others, this process does not
    with pytest.raises(BegunError):
        next(engines.outcomes("local", [], Resources(workers=5, gpus=1), Path()))
    begin, (devices, sharing) = asked[0]
    monkeypatch.setattr(worker, "_on_gpu", 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    taken = []
    for _ in range(5):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        begin(devices, sharing)
        taken.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert taken == ["0", "1", "0", "1", "0"]
    assert worker._neighbours(MachineSettings(device="cuda")) == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")  # those that a scheduler gave
    devices.put(1)
    begin(devices, sharing)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
