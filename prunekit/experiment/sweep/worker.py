"""What a worker does with a job, on any engine: it is handed text and hands text back.

The model stays loaded from one job to the next of the same model. Torch is imported once a job has come.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from prunekit.experiment.settings import Experiment, MachineSettings
from prunekit.experiment.sweep.jobs import Job, Outcome, Task, receipt, receipt_name, write_receipt
from prunekit.runs.paths import DENSE
from prunekit.support.errors import BusyError, PrunekitError
from prunekit.support.terminal import Tick

if TYPE_CHECKING:
    from prunekit.experiment.prepare import Prepared
    from prunekit.runs.store import Stored

# seconds between two looks at a run that another process holds, and how long it is waited for: where an engine took
# a worker for dead too early, its job is held by the old one until that ends
_BUSY_PAUSE = 1.0
_BUSY_PATIENCE = 600.0

# what was prepared last, by its model and machine
_last: dict[str, Prepared] = {}
# workers that share this one's GPU, itself among them; `share_gpu` says how many
_on_gpu = 1


def perform(text: str, node: str = "") -> str:
    """Do a job; returns its outcomes as JSON. A task that fails says why and does not keep others from being done."""
    job = Job.from_text(text)
    os.environ.update(job.environment)
    if not job.store or Path(job.folder).is_dir():  # a node that shares no disk may have no such folder
        os.chdir(job.folder)
    worker = f"{socket.gethostname()} {os.getpid()} {node}".strip()
    return json.dumps([asdict(_outcome(job, task, worker)) for task in job.tasks])


def share_gpu(workers: int) -> None:
    """Count on that many workers on this one's GPU, itself among them."""
    global _on_gpu
    _on_gpu = workers


class TrainingCount:
    """Progress that nobody sees; `trained` counts the trainings that came to an end."""

    def __init__(self) -> None:
        self.trained = 0

    def say(self, line: str) -> None:
        """Nothing."""

    @contextmanager
    def track(self, title: str, total: int, unit: str = "updates") -> Iterator[Tick]:
        """One training, where updates are made."""
        yield lambda completed, note="": None
        self.trained += unit == "updates"


def _outcome(job: Job, task: Task, worker: str) -> Outcome:
    """One experiment, run or found finished; where there is a store, in a folder for the time being."""
    if not job.store:
        return _outcome_in(Path(job.out), job, task, worker)
    with TemporaryDirectory(prefix="prunekit-", ignore_cleanup_errors=True) as folder:
        outcome = _outcome_in(Path(folder), job, task, worker)
        return replace(outcome, failed=outcome.failed.replace(folder, job.store))


def _outcome_in(out: Path, job: Job, task: Task, worker: str) -> Outcome:
    finished = receipt(out, task.key)
    if finished is not None:
        return replace(finished, label=task.label, trained=0, worker=worker)
    began = time.perf_counter()
    count, failed = TrainingCount(), Outcome(task.key, task.label, worker=worker)
    try:
        outcome = _patiently(lambda: _run(job, task, count, out))
        outcome = replace(outcome, worker=worker, trained=count.trained)
        write_receipt(out, replace(outcome, seconds=time.perf_counter() - began))
        if job.store:
            _hand_in(out, job.store, receipt_name(task.key))
    except PrunekitError as error:
        outcome = replace(failed, failed=str(error))
    except Exception as error:  # whatever a device or a disk may say; the other jobs go on
        outcome = replace(failed, failed=f"{type(error).__name__}: {' '.join(str(error).split())}")
    return replace(outcome, seconds=time.perf_counter() - began)


def _hand_in(out: Path, url: str, name: str) -> None:
    from prunekit.runs.store import Store

    Store(url).write({name: (out / name).read_bytes()})


def _patiently(run: Callable[[], Outcome]) -> Outcome:
    """Run; where another process holds the run, wait for it."""
    deadline = time.monotonic() + _BUSY_PATIENCE
    while True:
        try:
            return run()
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE)


def _run(job: Job, task: Task, count: TrainingCount, out: Path) -> Outcome:
    from prunekit.engine import memory
    from prunekit.experiment.run import run, search
    from prunekit.experiment.sweep.table import places_of

    experiment = Experiment.model_validate(task.experiment)
    memory.share_memory(_neighbours(experiment.machine))
    prepared = ready(experiment)
    place, again = _supplied(out, job.store, prepared.name)
    if job.verb == "search":
        directory, stage = search(prepared, place, count, controls=job.controls), prepared.search_stage
    else:
        directory = run(prepared, place, count, prune=job.verb == "prune", controls=job.controls)
        stage = prepared.stage if job.verb == "prune" else DENSE
    settled = MachineSettings.model_validate(directory.settings()["machine"])
    if settled.checkpointing or settled != prepared.experiment.machine:
        _last.clear()  # the run changed the model, its device or the threads
    places = places_of(directory, stage, experiment.seeds, controls=job.controls)
    return Outcome(task.key, task.label, directory.path.name, stage, tuple(map(str, places)), again=again)


def _supplied(out: Path, url: str, name: str) -> tuple[Path | Stored, tuple[str, ...]]:
    """Where a run is made, with what the store has of it; and the rounds that it has damaged."""
    if not url:
        return out, ()
    from prunekit.runs.store import Store, Stored, fetch

    store = Store(url)
    return Stored(out, store), tuple(fetch(store, name, out, store.names(name)))


def ready(experiment: Experiment) -> Prepared:
    """An experiment prepared on the model and rows that were used last, as far as they are the same."""
    from prunekit.experiment.prepare import prepare

    name = json.dumps([experiment.model.model_dump(mode="json"), experiment.machine.model_dump(mode="json")])
    last = _last.get(name)
    if last is None:
        _last.clear()  # let go before another model is loaded
    _last[name] = prepare(experiment, last.model if last else None, last)
    return _last[name]


def _neighbours(machine: MachineSettings) -> int:
    """Workers on the same memory: as many as a machine has cores for, or those that were given one GPU."""
    cores = len(os.sched_getaffinity(0))
    return max(1, cores // (machine.threads or cores)) if machine.device == "cpu" else _on_gpu
