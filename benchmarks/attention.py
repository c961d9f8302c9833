"""Fused against plain attention in bfloat16, on a CPU: why `load` chooses the plain kind there.

python -m benchmarks.attention --model PATH [--threads 2] [--repeats 5] [--out page.md]
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.measure import Spread, interleaved, machine
from benchmarks.page import command, publish, table
from benchmarks.scaling import Point, evaluation_seconds, update_seconds
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.models import FrozenModel, load
from prunekit.support.seeding import generator

PLAIN, FUSED = "eager", "sdpa"


def gradient(model: FrozenModel, point: Point) -> torch.Tensor:
    """Of the prompt of one member on one batch [P, H]."""
    member = Member(point.cohort(model)[0], model.device)
    for weight in member.head.values():  # a zero head would hide the prompt
        weight.data = torch.randn(weight.shape, generator=generator("head"))
    model.losses(prompt_batch([member]), model.batch([point.rows(model)], every_choice=False)).sum().backward()
    (values,) = member.masked.prompt.parameters()
    assert values.grad is not None
    return values.grad


def main(
    model: Annotated[Path, typer.Option(help="model folder")],
    text: Annotated[int, typer.Option(help="T, tokens of every text")] = 32,
    repeats: Annotated[int, typer.Option(help="of both kinds, interleaved")] = 5,
    threads: Annotated[int, typer.Option(help="of torch")] = 2,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    torch.set_num_threads(threads)
    frozen, exact = load(str(model), precision="bfloat16"), load(str(model), precision="float32")
    point = Point(text=text, examples=16)
    truth = gradient(exact, point)

    def under(kind: str) -> FrozenModel:
        frozen.model.set_attn_implementation(kind)
        return frozen

    rows = []
    for name, seconds in (("one update", update_seconds), ("one evaluation", evaluation_seconds)):
        took = interleaved([PLAIN, FUSED], lambda kind, seconds=seconds: seconds(under(kind), point), repeats)
        ratio = Spread.of([slow / quick for slow, quick in zip(took[FUSED], took[PLAIN], strict=True)])
        cells = [f"{1000 * median(took[kind]):.0f}" for kind in (PLAIN, FUSED)]
        rows.append([f"{name}, ms", *cells, f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"])
    away = [float((gradient(under(kind), point) - truth).norm() / truth.norm()) for kind in (PLAIN, FUSED)]
    rows.append(["gradient's distance from float32's", *[f"{share:.1%}" for share in away], ""])
    facts = {
        "command": command("attention"),
        **machine(threads, "cpu"),
        "model": f"{model.name}, bfloat16",
        "rows": f"T = {text}, B = 16, P = {point.prompt}; medians of {repeats}, interleaved",
    }
    publish(
        "Plain and fused attention in bfloat16",
        facts,
        [table(["", "plain", "fused", "fused / plain"], rows)],
        out,
    )


if __name__ == "__main__":
    typer.run(main)
