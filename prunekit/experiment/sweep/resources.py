"""How many jobs run at a time, and what each is given."""

from __future__ import annotations

import os
from pathlib import Path

from prunekit.experiment.sweep.engines import Name, Resources
from prunekit.experiment.sweep.grid import Grid
from prunekit.tasks.testbed_tasks import model_path

# what a worker needs beside its model: Python, torch, transformers and one task, as measured on the testbed
_WORKER_BYTES = 700 * 2**20


def resources_for(grid: Grid, engine: Name, workers: int | None, address: str | None, left: int) -> Resources:
    """Workers by cores and memory, or by GPUs, where they are not given.

    Args:
        left: experiments that are to be run.
    """
    machine = grid.experiments[0].machine
    threads, gpus = machine.threads or 1, 0 if machine.device == "cpu" else 1
    if workers is None:
        workers = max(1, _most_workers(grid, engine, threads, gpus))
    return Resources(min(workers, max(left, 1)), threads, gpus, grid.options.retries, address, grid.options.slurm)


def weight_bytes(model: str) -> int:
    """Size of a local model's weights; 0 for a Hub name, whose size is not known before it is loaded."""
    folder = Path(model_path(model))
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _most_workers(grid: Grid, engine: Name, threads: int, gpus: int) -> int:
    import torch

    from prunekit.engine import memory

    workers = torch.cuda.device_count() if gpus else len(os.sched_getaffinity(0)) // threads
    if engine != "local":  # whose memory is its own affair
        return workers
    weights = max(weight_bytes(experiment.model.name) for experiment in grid.experiments)
    return min(workers, memory.free_bytes(torch.device("cpu")) // (_WORKER_BYTES + 2 * weights))
