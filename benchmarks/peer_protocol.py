"""The whole protocol by PEFT with Trainer, by the same peer tuned, and by prunekit, interleaved in one run.

    python -m benchmarks.peer_protocol --preset minilm-sst2 --repeats 5 --threads 2 --out benchmarks/results/page.md

Let nothing else run meanwhile: two OpenMP threads that wait for a third process are many times slower, on any side.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from transformers import AutoConfig

from benchmarks.measure import machine
from benchmarks.page import Report, check_fairness, render
from benchmarks.presets import Job, Name, Padding, prepare
from benchmarks.worker import RATE, SIDES, run


def main(  # noqa: PLR0913 (a command's options)
    preset: Annotated[Name, typer.Option(help="model, data and counts")],
    repeats: Annotated[int, typer.Option(help="each with another seed")] = 5,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one")] = "cpu",
    threads: Annotated[int, typer.Option(help="of every side")] = 2,
    shared: Annotated[Path, typer.Option(help="folder that holds models/ and data/")] = Path("../shared"),
    scale: Annotated[float, typer.Option(help="of the numbers of examples and updates")] = 1.0,
    padding: Annotated[Padding, typer.Option(help="of the untuned peer: its prompt guide, or its classifier guide")] = (
        "max_length"
    ),
    width: Annotated[int, typer.Option(help="prompts that prunekit trains side by side; 0: a whole stage")] = 0,
    sides: Annotated[str, typer.Option(help="comma-separated")] = ",".join(SIDES),
    models: Annotated[
        Path | None, typer.Option(help="folder that holds smollm2-135m-instruct/", envvar="PRUNEKIT_MODELS")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="page to write; raw numbers go beside it as .json")] = None,
) -> None:
    """Time all sides on the same work, and print the page."""
    chosen = [side.strip() for side in sides.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = prepare(preset, folder, shared, range(repeats), scale, models=models)
        job = replace(job, device=device, threads=threads, padding=padding, width=width)
        outcomes = list(take_turns(job, chosen, repeats, check_fairness))
        config = AutoConfig.from_pretrained(job.model)
        command = shlex.join(["python", "-m", "benchmarks.peer_protocol", *sys.argv[1:]])
        page = render(Report(job, config, outcomes, command, machine(threads, device)))
    print(page)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
        # where this machine keeps things is nobody's business
        facts = asdict(job) | {"model": Path(job.model).name, "folder": ""}
        raw = {"job": facts, "command": command, "repeats": outcomes}
        out.with_suffix(".json").write_text(json.dumps(raw, indent=1), encoding="utf-8")


def take_turns(
    job: Job, sides: Sequence[str], repeats: int, check: Callable[[dict[str, dict[str, Any]]], None]
) -> Iterator[dict[str, dict[str, Any]]]:
    """Every side once, then all again with the next seed; each repeat measures the matrix rate too.

    Args:
        check: raises where the sides of a repeat did not do the same work.
    """
    path = Path(job.folder) / "job.json"
    for seed in range(repeats):
        replace(job, seed=seed).save(path)
        outcomes = {}
        for side in (*sides, RATE):
            began = time.perf_counter()
            outcomes[side] = run(side, path, job.threads)
            print(f"repeat {seed}: {side}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        check(outcomes)
        yield outcomes


if __name__ == "__main__":
    typer.run(main)
