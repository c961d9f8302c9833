"""The whole protocol by PEFT with Trainer, by the same peer tuned, and by prunekit, interleaved in one run.

    python -m benchmarks.peer_protocol --preset minilm-sst2 --repeats 5 --threads 2 --out benchmarks/results/page.md

Let nothing else run meanwhile: two OpenMP threads that wait for a third process are many times slower, on any side.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.page import Report, check_fairness, command_line, publish_with_numbers, render
from benchmarks.presets import Name, Padding, prepare
from benchmarks.turns import measured
from benchmarks.worker import SIDES


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
    with tempfile.TemporaryDirectory() as name:
        job = prepare(preset, Path(name), shared, range(repeats), scale, models=models)
        job = replace(job, device=device, threads=threads, padding=padding, width=width)
        report = measured(Report, job, sides, repeats, check_fairness, command_line("peer_protocol"))
        page = render(report)
    publish_with_numbers(page, report, out)


if __name__ == "__main__":
    typer.run(main)
