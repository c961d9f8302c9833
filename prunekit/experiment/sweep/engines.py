"""The engines that do jobs: a pool of processes, Ray, Slurm. Each schedules and retries by its own means.

An engine is an iterator of outcomes, jobs done in any order; now and then it gives nothing, so that who waits can show
how far things are. Closing it, or an exception at it, ends the processes that it started and no others.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prunekit.experiment.sweep.jobs import Job, Outcome
from prunekit.experiment.sweep.worker import perform, share_gpu
from prunekit.support.errors import ConfigError

Name = Literal["local", "ray", "slurm"]
Outcomes = Generator[list[Outcome], None, None]

# seconds between two looks at the engine
_TICK = 0.5
# seconds in which a worker that was told to end may do so
_GRACE = 2.0
_DIED = "its worker process was killed{times}, for want of memory perhaps (try fewer --workers)"
_EXTRA = "pip install ray submitit"


@dataclass(frozen=True)
class Resources:
    """What jobs are given.

    Attributes:
        workers: jobs at a time; for an engine that counts by itself, at most.
        threads: CPU cores of each.
        gpus: of each, 0 or 1; on this machine more workers than GPUs share them.
        retries: how often a job whose worker died is begun again.
        address: of a Ray cluster to join; None starts Ray on this machine.
        slurm: what submitit is told.
    """

    workers: int
    threads: int = 1
    gpus: int = 0
    retries: int = 3
    address: str | None = None
    slurm: dict[str, Any] = field(default_factory=dict)


def outcomes(name: Name, jobs: Sequence[Job], resources: Resources, folder: Path) -> Outcomes:
    """Do the jobs on an engine; yields outcomes as they come, and empty lists while none does.

    Args:
        folder: where an engine may keep its own files.

    Raises:
        ConfigError: where the engine is not installed or cannot be reached.
    """
    match name:
        case "local":
            return _local(jobs, resources)
        case "ray":
            return _ray(jobs, resources)
        case "slurm":
            return _slurm(jobs, resources, folder)


def _read(text: str) -> list[Outcome]:
    return [Outcome.from_table(entry) for entry in json.loads(text)]


def _lost(job: Job, why: str) -> list[Outcome]:
    """The outcomes of a job whose worker is gone."""
    line = f"{' '.join(why.split())}; finished rounds are kept, run the same command again to go on"
    return [Outcome(task.key, task.label, failed=line) for task in job.tasks]


# ---- a pool of processes on this machine


def _local(jobs: Sequence[Job], resources: Resources) -> Outcomes:
    """Workers are pools of one process each: one that dies takes its own job along, and another takes its place."""
    before = set(multiprocessing.active_children())
    pools: dict[int, ProcessPoolExecutor] = {}
    running: dict[Future[str], tuple[int, Job]] = {}
    waiting, deaths = deque(jobs), Counter[str]()
    try:
        while waiting or running:
            for slot in set(range(resources.workers)) - {slot for slot, _ in running.values()}:
                if waiting:
                    job = waiting.popleft()
                    running[_handed(job, pools, slot, resources)] = (slot, job)
            ended, _ = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
            outcomes: list[Outcome] = []
            for future in ended:
                slot, job = running.pop(future)
                try:
                    outcomes += _read(future.result())
                except BrokenProcessPool:
                    pools.pop(slot).shutdown(wait=False)
                    deaths[job.key] += 1
                    if deaths[job.key] <= resources.retries:
                        waiting.append(job)  # behind the others: its memory may be free by then
                    else:
                        outcomes += _lost(job, _DIED.format(times=_times(deaths[job.key])))
            yield outcomes
        _end(pools, before, grace=_GRACE)
    finally:
        _end(pools, before, grace=0.0)


def _times(count: int) -> str:
    return f" {count} times" if count > 1 else ""


def _handed(job: Job, pools: dict[int, ProcessPoolExecutor], slot: int, resources: Resources) -> Future[str]:
    """The job at the worker of a slot, which is started where there is none, or where it died with nothing to do."""
    if slot in pools:
        try:
            return pools[slot].submit(perform, job.to_text())
        except BrokenProcessPool:
            pools.pop(slot).shutdown(wait=False)
    pools[slot] = _worker(slot, resources)
    return pools[slot].submit(perform, job.to_text())


def _worker(slot: int, resources: Resources) -> ProcessPoolExecutor:
    """A pool of one process; of several GPUs the slots take one each in turn."""
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in an unknown state
    count = _devices() if resources.gpus else 1
    device = slot % count if resources.gpus else None
    return ProcessPoolExecutor(1, context, _begin, (device, -(-resources.workers // count)))


def _end(pools: dict[int, ProcessPoolExecutor], before: set[Any], grace: float) -> None:
    """End the workers that were started: those that do not go by themselves are told to, then made to.

    Args:
        grace: seconds in which they may go by themselves.
    """
    children = set(multiprocessing.active_children()) - before
    for pool in pools.values():
        pool.shutdown(wait=False, cancel_futures=True)
    _join(children, grace)
    for child in children:
        child.terminate()
    _join(children, _GRACE)
    for child in children:
        child.kill()  # one that was stopped hears nothing else
        child.join()
    pools.clear()


def _join(children: Iterable[Any], seconds: float) -> None:
    """Wait for all of them together for so long."""
    deadline = time.monotonic() + seconds
    for child in children:
        child.join(max(0.0, deadline - time.monotonic()))


def _devices() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def _begin(device: int | None, sharing: int) -> None:
    """In a new worker: leave Ctrl-C to who started it, end with that process, take a GPU, or a share of one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join,), daemon=True).start()
    if device is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[device] if visible else str(device)
        share_gpu(sharing)


def _end_with(join: Callable[[], None]) -> None:
    join()
    os._exit(1)


# ---- Ray


def _ray(jobs: Sequence[Job], resources: Resources) -> Outcomes:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    try:
        import ray
    except ImportError as error:
        raise ConfigError(f"--engine ray: Ray is not installed; {_EXTRA}") from error
    with _handlers_kept():
        _connect(ray, resources)
    try:
        task = ray.remote(_on_node).options(
            num_cpus=resources.threads,
            num_gpus=resources.gpus,
            max_retries=resources.retries,
            scheduling_strategy="SPREAD",
        )
        pending = {task.remote(job.to_text()): job for job in jobs}
        try:
            while pending:
                ended = _ended(ray, list(pending))
                yield [outcome for ref in ended for outcome in _fetched(ray, ref, pending.pop(ref))]
                if not ended:
                    time.sleep(_TICK)
        finally:
            for ref in pending:
                ray.cancel(ref, force=True)
    finally:
        ray.shutdown()


def _connect(ray: Any, resources: Resources) -> None:
    """Join a cluster, or start Ray here for as long as the sweep lasts."""
    local = {
        "num_cpus": resources.workers * resources.threads,
        "num_gpus": resources.workers * resources.gpus,
        "include_dashboard": False,
        "object_store_memory": 100 * 2**20,  # jobs and outcomes are a few kB of text
    }
    try:
        _knock(resources.address)
        ray.init(address=resources.address or "local", log_to_driver=False, **({} if resources.address else local))
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"--engine ray --address {resources.address}: cannot be reached: {reason}") from error


def _ended(ray: Any, pending: list[Any]) -> list[Any]:
    """Those that are done by now. It is not waited inside Ray, whose core swallows what a signal's handler raises."""
    try:
        ended: list[Any] = ray.wait(pending, num_returns=len(pending), timeout=0)[0]
    except SystemError as error:
        raise error.__cause__ or error.__context__ or error from None
    return ended


def _knock(address: str | None) -> None:
    """Raises: OSError where nobody listens at host:port; Ray would go on trying for many minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _on_node(text: str) -> str:
    """A job on whatever node Ray chose."""
    import ray

    return perform(text, node=ray.get_runtime_context().get_node_id())


def _fetched(ray: Any, ref: Any, job: Job) -> list[Outcome]:
    try:
        return _read(ray.get(ref))
    except ray.exceptions.RayError as error:
        return _lost(job, f"its worker died, and {type(error).__name__} after all retries")


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray puts a handler of its own on SIGTERM; who started the sweep has said what signals do."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


# ---- Slurm, by submitit


class Requeued:
    """A job for submitit; one that Slurm pre-empts or ends for its time is put in the queue again and goes on."""

    def __call__(self, text: str) -> str:
        """Do the job."""
        return perform(text)

    def checkpoint(self, text: str) -> Any:
        """What is submitted in place of an interrupted job: the same, since finished rounds are on disk."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, text)


def _slurm(jobs: Sequence[Job], resources: Resources, folder: Path, cluster: str = "slurm") -> Outcomes:
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(f"--engine slurm: submitit is not installed; {_EXTRA}") from error
    try:
        executor = submitit.AutoExecutor(
            folder=folder / "slurm", cluster=cluster, slurm_max_num_timeout=resources.retries
        )
        executor.update_parameters(
            name="prunekit",
            cpus_per_task=resources.threads,
            slurm_array_parallelism=resources.workers,
            **({"gpus_per_node": resources.gpus} if resources.gpus else {}),
            **resources.slurm,
        )
        pending = dict(zip(executor.map_array(Requeued(), [job.to_text() for job in jobs]), jobs, strict=True))
    except (RuntimeError, NameError, TypeError, submitit.core.utils.FailedJobError) as error:
        raise ConfigError(f"--engine slurm: {' '.join(str(error).split())}") from error
    try:
        while pending:
            ended = [handle for handle in pending if handle.done()]
            yield [outcome for handle in ended for outcome in _collected(handle, pending.pop(handle))]
            if pending and not ended:
                time.sleep(_TICK)
    finally:
        for handle in pending:
            handle.cancel()


def _collected(handle: Any, job: Job) -> list[Outcome]:
    import submitit

    try:
        return _read(handle.result())
    except (submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError) as error:
        return _lost(job, f"Slurm job {handle.job_id} ended without an answer: {str(error).splitlines()[0]}")
