"""What a worker does with a job, on any engine: it is handed text and hands text back.

The backbone stays loaded from one job to the next of the same model. Torch is imported once a job has come.
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
from typing import TYPE_CHECKING

from prunekit import disk
from prunekit.config import Experiment, MachineSettings
from prunekit.errors import BusyError, PrunekitError
from prunekit.sweep.jobs import LEDGER, NOTE, Job, Outcome, Task, receipt, write_receipt

if TYPE_CHECKING:
    from prunekit.backbones import Backbone
    from prunekit.prepare import Prepared

# seconds between two looks at a run that another process holds, and how long it is waited for: where an engine took
# a worker for dead too early, its job is held by the old one until that ends
_BUSY_PAUSE = 1.0
_BUSY_PATIENCE = 600.0
# seconds between two notes of how far a job is
_NOTE_EVERY = 1.0

_loaded: dict[str, Backbone] = {}


def perform(text: str, node: str = "") -> str:
    """Do a job; returns its outcomes as JSON. A task that fails says why and does not keep others from being done."""
    job = Job.from_text(text)
    os.environ.update(job.environment)
    os.chdir(job.folder)
    worker = f"{socket.gethostname()} {os.getpid()} {node}".strip()
    return json.dumps([asdict(_outcome(job, task, worker)) for task in job.tasks])


class Note:
    """A watch that keeps, in a file of the job's own, how far it is; `trained` counts trainings that came to an end."""

    def __init__(self, path: Path, task: Task, worker: str) -> None:
        self.path, self.task, self.worker = path, task, worker
        self.trained = 0
        self._next = 0.0

    def say(self, line: str) -> None:
        """One line, which is the news until the next."""
        self._write(line)

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Work of `total` steps."""
        self._write(title)
        yield lambda done: self._tick(f"{title}: {done} of {total}")
        self.trained += 1

    def _tick(self, line: str) -> None:
        if time.monotonic() >= self._next:
            self._write(line)

    def _write(self, line: str) -> None:
        self._next = time.monotonic() + _NOTE_EVERY
        disk.replace(self.path, disk.as_json({"task": self.task.label, "worker": self.worker, "news": line}))


def _outcome(job: Job, task: Task, worker: str) -> Outcome:
    """One experiment, run or found finished."""
    out = Path(job.out)
    known = receipt(out, task.key)
    if known is not None:
        return replace(known, label=task.label, trained=0, worker=worker)
    began = time.perf_counter()
    note = Note(out / LEDGER / f"{job.key}{NOTE}", task, worker)
    nothing = Outcome(task.key, task.label, worker=worker)
    try:
        found = replace(_patiently(lambda: _run(job, task, note), note), worker=worker, trained=note.trained)
        write_receipt(out, replace(found, seconds=time.perf_counter() - began))
    except PrunekitError as error:
        found = replace(nothing, failed=str(error))
    except Exception as error:  # whatever a device or a disk may say; the other jobs go on
        found = replace(nothing, failed=f"{type(error).__name__}: {' '.join(str(error).split())}")
    finally:
        note.path.unlink(missing_ok=True)
    return replace(found, seconds=time.perf_counter() - began)


def _patiently(run: Callable[[], Outcome], note: Note) -> Outcome:
    """Run; where another process holds the run, wait for it."""
    deadline = time.monotonic() + _BUSY_PATIENCE
    while True:
        try:
            return run()
        except BusyError as error:
            if time.monotonic() > deadline:
                raise
            note.say(f"waits: {error}")
            time.sleep(_BUSY_PAUSE)


def _run(job: Job, task: Task, note: Note) -> Outcome:
    from prunekit import capacity
    from prunekit.experiment import run, search
    from prunekit.sweep.table import places_of

    experiment = Experiment.model_validate(task.experiment)
    capacity.share_memory(_neighbours(experiment.machine))
    prepared = ready(experiment)
    out = Path(job.out)
    if job.verb == "search":
        made, stage = search(prepared, out, note, controls=job.controls), prepared.search_stage
    else:
        made = run(prepared, out, note, prune=job.verb == "prune", controls=job.controls)
        stage = prepared.stage if job.verb == "prune" else ""
    settled = MachineSettings.model_validate(made.settings()["machine"])
    if settled.checkpointing or settled != prepared.experiment.machine:
        _loaded.clear()  # the run changed the backbone, its device or the threads
    places = places_of(made, stage, experiment.seeds, controls=job.controls)
    return Outcome(task.key, task.label, made.path.name, stage, tuple(map(str, places)))


def ready(experiment: Experiment) -> Prepared:
    """An experiment prepared on the backbone that was used last, where it is the same; else that one is let go."""
    from prunekit.prepare import backbone_of, prepare

    name = json.dumps([experiment.model.model_dump(mode="json"), experiment.machine.model_dump(mode="json")])
    if name not in _loaded:
        _loaded.clear()
        _loaded[name] = backbone_of(experiment)
    return prepare(experiment, _loaded[name])


def _neighbours(machine: MachineSettings) -> int:
    """Workers of this kind that a machine has room for, by cores; a GPU has one."""
    cores = len(os.sched_getaffinity(0))
    return max(1, cores // (machine.threads or cores)) if machine.device == "cpu" else 1
