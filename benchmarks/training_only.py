"""A training without evaluations by PEFT with Trainer and by prunekit, on a real decoder, interleaved in one run.

    python -m benchmarks.training_only --preset smollm2-sst2 --epochs 1 --repeats 5 --models MODELS --out page.md

Let nothing else run meanwhile: two OpenMP threads that wait for a third process are many times slower, on any side.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.page import command_line, publish_with_numbers
from benchmarks.presets import Name, prepare
from benchmarks.training_page import TrainingReport, check_trainings, render
from benchmarks.turns import measured
from benchmarks.worker import OURS_FLOAT32, OURS_PREFIX, OURS_SUFFIX, PEER


def main(  # noqa: PLR0913 (a command's options)
    preset: Annotated[Name, typer.Option(help="model, data and counts: smollm2-sst2, smollm2-boolq or gemma3-sst2")],
    epochs: Annotated[int, typer.Option(min=1, help="of every side")] = 1,
    repeats: Annotated[int, typer.Option(help="each with another seed")] = 5,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one")] = "cpu",
    threads: Annotated[int, typer.Option(help="of every side")] = 2,
    shared: Annotated[Path, typer.Option(help="folder that holds data/, and models/ where --models is not given")] = (
        Path("../shared")
    ),
    models: Annotated[
        Path | None,
        typer.Option(help="folder that holds smollm2-135m-instruct/ and gemma3-270m/", envvar="PRUNEKIT_MODELS"),
    ] = None,
    scale: Annotated[float, typer.Option(help="of the numbers of examples")] = 1.0,
    sides: Annotated[str, typer.Option(help="comma-separated")] = (
        f"{PEER},{OURS_FLOAT32},{OURS_SUFFIX},{OURS_PREFIX}"
    ),
    out: Annotated[Path | None, typer.Option(help="page to write; raw numbers go beside it as .json")] = None,
) -> None:
    """Time all sides on the same training, and print the page."""
    with tempfile.TemporaryDirectory() as name:
        job = prepare(preset, Path(name), shared, range(repeats), scale, models=models)
        job = replace(job, device=device, threads=threads, epochs=epochs)
        if epochs * job.epoch_steps < 2:
            raise typer.BadParameter("one update has no time between two: use more --epochs or a larger --scale")
        report = measured(TrainingReport, job, sides, repeats, check_trainings, command_line("training_only"))
        page = render(report)
    publish_with_numbers(page, report, out)


if __name__ == "__main__":
    typer.run(main)
