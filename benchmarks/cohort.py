"""Many tickets side by side, against one at a time by the tuned peer: tickets' updates per second, interleaved.

    python -m benchmarks.cohort --shape base --members 32 --device cuda [--updates 8] [--out page.md]

A random T5, texts of 64 tokens, batch 16. Only training is compared; the peer is that of `peer_protocol`, tuned.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

import torch
import typer

from benchmarks import arithmetic
from benchmarks.measure import Spread, Stopwatch, interleaved, machine, matrix_rate
from benchmarks.ours import Ours
from benchmarks.page import command, publish, table
from benchmarks.peer import Peer
from benchmarks.presets import Job, prepare
from benchmarks.protocol import DENSE, Side, Start
from benchmarks.worker import OURS, TUNED

SHAPES = {
    "base": dict(d_model=768, d_ff=3072, num_layers=12, num_heads=12),
    "small": dict(d_model=512, d_ff=2048, num_layers=6, num_heads=8),
    "tiny": dict(d_model=256, d_ff=1024, num_layers=4, num_heads=4),
}
Shape = Literal["base", "small", "tiny"]


def update_seconds(side: Side, starts: list[Start], updates: int) -> float:
    """Seconds of one update of one ticket, evaluations left out."""
    side.stopwatch.reset()
    side.train(starts, updates, DENSE)
    return side.stopwatch.seconds[DENSE] / updates / len(starts)


def flops(job: Job, config: object) -> float:
    """Of one ticket's update by the model's shape: forward, and backward for activations."""
    tokens = [row["tokens"] + job.prompt_tokens for row in job.rows()["train"]]
    each = [arithmetic.row(config, count, [job.answer_tokens]).training for count in tokens]
    return sum(each) / len(each) * job.batch_size


def starts(side: Side, job: Job, members: int) -> list[Start]:
    """Dense prompts of so many seeds."""
    first = side.start()
    return [replace(first, values=replace(job, seed=seed).start()) for seed in range(members)]


def main(
    shape: Annotated[Shape, typer.Option(help="of the random T5")] = "base",
    members: Annotated[int, typer.Option(help="tickets side by side")] = 32,
    updates: Annotated[int, typer.Option(help="timed at a time")] = 8,
    repeats: Annotated[int, typer.Option(help="of both sides, interleaved")] = 5,
    device: Annotated[str, typer.Option(help="cuda, or cpu")] = "cuda",
    threads: Annotated[int, typer.Option(help="of torch, on a CPU")] = 2,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = prepare("t5-small-shape", folder, folder, range(members), shape=SHAPES[shape])
        # one evaluation of a few rows, before the updates and after them, on a clock of its own
        job = replace(job, device=device, threads=threads, evaluate_every=updates, validation_examples=16)
        counts = {TUNED: 1, OURS: members}
        seconds, work = _interleaved_updates(job, counts, updates, repeats)
    rate = matrix_rate(torch.bfloat16, device)
    ratio = Spread.of([tuned / ours for tuned, ours in zip(seconds[TUNED], seconds[OURS], strict=True)])
    lines = [
        [name, str(counts[name]), f"{1 / median(values):.1f}", f"{work / median(values) / rate:.2f}"]
        for name, values in seconds.items()
    ]
    facts = {
        "command": command("cohort"),
        **machine(threads, device),
        "model": f"T5 of random weights, {shape} shape {SHAPES[shape]}, bfloat16",
        "rows": f"64 tokens, batch {job.batch_size}, P = {job.prompt_tokens}; {updates} updates, medians of {repeats}",
        "matrix rate": f"{rate / 1e9:.0f} GFLOP/s, measured in the same run",
    }
    if device == "cpu":
        facts["open"] = "the bar is for a GPU, with the base shape and 32 members; none was at hand for this page"
    header = ["side", "tickets side by side", "ticket updates / s", "part of the matrix rate"]
    summary = f"{OURS} / {TUNED}, ticket updates per second: {ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
    publish("A cohort against one ticket at a time", facts, [table(header, lines), summary], out)


def _interleaved_updates(
    job: Job, counts: dict[str, int], updates: int, repeats: int
) -> tuple[dict[str, list[float]], float]:
    """Seconds of one update of one ticket, by side and repeat; and the FLOP that such an update takes."""
    sides: dict[str, Side] = {
        TUNED: Peer(job, Stopwatch(job.device), tuned=True),
        OURS: Ours(job, Stopwatch(job.device), "bfloat16"),
    }
    rows = job.rows()
    for side in sides.values():
        side.encode(rows | {"validation": rows["validation"][:16]})
    prompts = {name: starts(side, job, counts[name]) for name, side in sides.items()}
    measure: Callable[[str], float] = lambda name: update_seconds(sides[name], prompts[name], updates)  # noqa: E731
    seconds = interleaved(list(sides), measure, repeats)
    return seconds, flops(job, sides[TUNED].model.config)  # type: ignore[attr-defined]  # the peer holds one


if __name__ == "__main__":
    typer.run(main)
