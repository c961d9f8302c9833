"""Does torch.compile pay for a frozen model? Updates at changing lengths, its warm-up counted.

    python -m benchmarks.compiled [--model PATH] [--precision bfloat16] [--repeats 5] [--out page.md]

Batches of a run differ in length (texts are grouped by it, and dropped tokens leave the sequence), so the model is
compiled for any length. Needs a C++ compiler. The default model is a random T5 of T5-small's shape.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.measure import Spread, interleaved, machine
from benchmarks.page import command, publish, table
from benchmarks.presets import save_t5
from benchmarks.scaling import Point, evaluation_seconds, update_seconds
from prunekit.models import FrozenModel, load
from prunekit.models.load import Precision

EAGER, COMPILED = "as loaded", "compiled"
# dense and pruned prompts, short and long texts
_POINTS = [Point(kept=kept, text=text, examples=16) for kept in (20, 5) for text in (24, 64)]


def compiled(model: FrozenModel) -> FrozenModel:
    """The same model, its model compiled at the first call of every kind."""
    module = model.model
    parts = [module, module.get_encoder()] if model.config.is_encoder_decoder else [module]  # type: ignore[operator]
    for part in parts:
        part.compile(dynamic=True)  # type: ignore[no-untyped-call]
    return model


def warm_up(model: FrozenModel) -> float:
    """Seconds until an update and an evaluation at every point have been made once."""
    began = time.perf_counter()
    for point in _POINTS:
        update_seconds(model, point)
        evaluation_seconds(model, point)
    return time.perf_counter() - began


def main(
    model: Annotated[Path | None, typer.Option(help="model folder; a random T5 if none is given")] = None,
    precision: Annotated[Precision, typer.Option(help="of the model's weights")] = "bfloat16",
    repeats: Annotated[int, typer.Option(help="of both, interleaved")] = 5,
    threads: Annotated[int, typer.Option(help="of torch")] = 2,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            save_t5(Path(folder))
        path = str(model or folder)
        sides = {EAGER: load(path, precision=precision), COMPILED: compiled(load(path, precision=precision))}
    first = {name: warm_up(side) for name, side in sides.items()}
    rows, gains = [], []
    for point in _POINTS:
        for name, seconds in (("update", update_seconds), ("evaluation", evaluation_seconds)):
            took = interleaved(
                list(sides), lambda side, seconds=seconds, point=point: seconds(sides[side], point), repeats
            )
            ratio = Spread.of([slow / quick for slow, quick in zip(took[EAGER], took[COMPILED], strict=True)])
            gains.append(median(took[EAGER]) - median(took[COMPILED]))
            cells = [f"{1000 * median(took[side]):.0f}" for side in sides]
            size = f"{name}, {point.kept} + {point.text} tokens"
            rows.append([size, *cells, f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"])
    facts = {
        "command": command("compiled"),
        **machine(threads, "cpu"),
        "model": f"{model.name if model else 'random T5 of small shape'}, {precision}",
        "rows": f"batch 16, one member; medians of {repeats}, interleaved",
    }
    lost, gain = first[COMPILED] - first[EAGER], sum(gains) / len(gains)
    even = f"made up for after {lost / gain:.0f} of them" if gain > 0 else "never made up for"
    warm_up = (
        f"Warm-up: {first[COMPILED]:.0f} s compiled, {first[EAGER]:.0f} s as loaded; at the mean gain above, {even}."
    )
    header = ["ms of one", *sides, "as loaded / compiled"]
    publish("A compiled model", facts, [table(header, rows), warm_up], out)


if __name__ == "__main__":
    typer.run(main)
