"""What tests of sweeps share: a small grid, its jobs done in this process, and a look at processes."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import tiny

from prunekit.engine import memory
from prunekit.experiment import settings_io
from prunekit.experiment.sweep import grid, jobs
from prunekit.experiment.sweep.jobs import Outcome
from prunekit.experiment.sweep.worker import perform

SMALL = """
seeds = 2
[model]
name = "{model}"
[task]
name = "{task}"
data = "{data}"
[prompt]
tokens = 4
pieces = 4
method = {methods}
[training]
train_steps = 4
evaluate_every = 2
batch_size = 4
learning_rate = [0.05, 0.1]
[pruning]
rounds = {rounds}
keep_tokens = 2
"""


def written(folder, methods='["direct", "dpt"]', rounds="1", more="", kind="gpt2"):
    """A grid file over the tiny model and task."""
    tiny.arguments(kind, folder)
    names = dict(model=folder / f"model-{kind}", task=folder / "toy" / "toy.toml", data=folder / "toy")
    file = folder / "grid.toml"
    file.write_text(SMALL.format(methods=methods, rounds=rounds, **names) + more)
    return file


def read(file, **given):
    return grid.read(file, lambda settings: settings_io.experiment(None, given, settings))


def of_text(tmp_path, text):
    file = tmp_path / "grid.toml"
    file.write_text(text)
    return read(file)


def serial(found, out, store=""):
    """Every job in this process, one after the other: what all engines are measured against."""
    done = {}
    by_key = {jobs.key(one, found): one for one in found.experiments}
    here = Path.cwd()
    for job in jobs.jobs(found, out, found.experiments, store):
        for row in json.loads(perform(job.to_text())):
            done[by_key[row["key"]]] = Outcome.from_table(row)
    os.chdir(here)
    memory.share_memory(1)
    return done


def holders(out):
    """The processes that hold a run; one that was killed leaves its name behind."""
    processes = []
    for holder in out.glob("*/.holder"):
        with suppress(OSError, ValueError, IndexError):  # it may be gone by now
            processes.append(int(holder.read_text().split()[1]))
    return processes


def children(pid):
    """Processes that a process has started and that still are."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")  # any of its threads may have started some
    try:
        found = [int(one) for path in tasks for one in path.read_text().split()]
    except OSError:  # it ended just now
        return []
    return found + [below for one in found for below in children(one)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def lasting(pids):
    """Those that are still there after a while; a busy machine takes its time to end a process."""
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [pid for pid in pids if alive(pid)]
