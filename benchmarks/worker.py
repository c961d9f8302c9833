"""One side of one repeat in a process of its own: `python -m benchmarks.worker SIDE JOB.json RESULT.json`.

Imports and loading are done before any clock runs; the peak memory is this side's alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Stopwatch, matrix_rate
from benchmarks.presets import Job
from benchmarks.protocol import Side, perform
from benchmarks.training_protocol import perform_training
from prunekit.models import Position

PEER, TUNED, OURS, OURS_FLOAT32 = "peer", "tuned peer", "prunekit", "prunekit float32"
SIDES = (PEER, TUNED, OURS, OURS_FLOAT32)
OURS_SUFFIX, OURS_PREFIX = "prunekit float32 suffix", "prunekit float32 prefix-kv"  # of decoders alone
#: where the prompt of a side stands that is not first
PLACES: dict[str, Position] = {OURS_SUFFIX: "suffix", OURS_PREFIX: "prefix-kv"}
PRECISIONS = {PEER: "float32", TUNED: "bfloat16", OURS: "bfloat16", OURS_FLOAT32: "float32"}
PRECISIONS |= dict.fromkeys(PLACES, "float32")
RATE = "rate"
ROOT = Path(__file__).parents[1]


def run(side: str, job: Path, threads: int) -> dict[str, Any]:
    """Start a worker on a saved job; returns what it found.

    Raises:
        RuntimeError: with the end of its output where it failed.
    """
    result = job.with_suffix(".result.json")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.worker", side, str(job), str(result)]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise RuntimeError(f"{side} failed:\n{process.stdout[-2000:]}\n{process.stderr[-4000:]}")
    outcome: dict[str, Any] = json.loads(result.read_text())
    return outcome


def build(side: str, job: Job, stopwatch: Stopwatch) -> Side:
    """The side, its model loaded."""
    if side in (PEER, TUNED):
        from benchmarks.peer import Peer

        return Peer(job, stopwatch, tuned=side == TUNED)
    from benchmarks.ours import Ours

    return Ours(job, stopwatch, PRECISIONS[side], PLACES.get(side, "first"))


def main() -> None:
    """The worker itself."""
    side, source, target = sys.argv[1:]
    job = Job.read(Path(source))
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    if side == RATE:
        outcome: dict[str, Any] = {name: matrix_rate(getattr(torch, name), job.device) for name in PRECISIONS.values()}
    else:
        work = perform_training if job.epochs else perform
        outcome = work(build(side, job, Stopwatch(job.device)), job).as_dict()
    Path(target).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
