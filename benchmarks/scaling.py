"""What a training update and an evaluation cost against prompt, text, examples, members and density.

    python -m benchmarks.scaling [--model PATH] [--precision bfloat16] [--repeats 5] [--only kept] [--out page.md]

Rows are random ids of exactly T tokens, so that only the named size changes. The default model is a random T5.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks import arithmetic
from benchmarks.measure import Fit, Spread, Stopwatch, fit_exponent, interleaved, machine
from benchmarks.page import command, publish, table
from benchmarks.presets import save_t5
from benchmarks.protocol import zero_head
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.optimizer import Plan
from prunekit.engine.train import TrainingData, train
from prunekit.models import Encoded, FrozenModel, load
from prunekit.models.load import Precision
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.seeding import generator

_BATCH = 16
_PIECES = 16
# updates timed at a time; the first is left out, and so is the last, which an evaluation follows
_UPDATES = 5
# SST-2's sentences on MiniLM: their mean is 26 tokens in the 256 that train, 25 in the 872 of validation
_SENTENCE = 26
# a dense prompt's training in peer_protocol's minilm-sst2: updates, and rows that are evaluated
_TRAINING = 64, 3 * 872
_SHAPE = dict(vocab_size=2048, d_model=256, d_kv=64, d_ff=1024, num_layers=4, num_heads=4)


@dataclass(frozen=True)
class Point:
    """One place to measure at: P prompt tokens, T text tokens, N examples, S members, and how many tokens are kept."""

    prompt: int = 20
    text: int = 32
    examples: int = 64
    members: int = 1
    kept: int = 20

    def cohort(self, model: FrozenModel) -> list[Ticket]:
        """S tickets with small random values, which keep their first tokens."""
        token = torch.arange(self.prompt) < self.kept
        mask = Mask(token, token[:, None].repeat(1, _PIECES))
        head = zero_head(2, model.hidden_width) if model.answers_by_head else None
        tickets = []
        for seed in range(self.members):
            values = torch.randn(self.prompt, model.width, generator=generator("scaling", seed))
            tickets.append(
                Ticket(mask, {"values": values * model.embedding_rms}, head, seed=seed, position=model.position)
            )
        return tickets

    def rows(self, model: FrozenModel) -> list[Encoded]:
        """N rows of T random ids, two answers of two ids each."""
        answers = ((), ()) if model.answers_by_head else ((5, 1), (6, 1))
        high = min(1000, int(model.config.vocab_size))
        draws = torch.randint(5, high, (self.examples, self.text), generator=generator("rows", self.text))
        return [Encoded(index, tuple(ids), answers, index % 2) for index, ids in enumerate(draws.tolist())]


@dataclass(frozen=True)
class Series:
    """Points along one size, from small to large.

    Attributes:
        fitted: whether cost ~ size ** exponent is asked for; else the cost relative to the last point is.
    """

    name: str
    sizes: tuple[int, ...]
    points: tuple[Point, ...]
    fitted: bool = True


def series(scale: float = 1.0) -> list[Series]:
    """What is measured; `scale` < 1 leaves out the largest sizes."""

    def cut(*sizes: int) -> tuple[int, ...]:
        return sizes[: max(3, round(scale * len(sizes)))]

    prompts, texts, counts, members = (
        cut(10, 20, 40, 80, 160),
        cut(16, 32, 64, 128, 256),
        cut(*_doubled(32)),
        cut(1, 2, 4, 8),
    )
    kept_20, kept_100 = (2, 5, 10, 20), (10, 50, 100)
    short = Point(text=_SENTENCE)
    return [
        Series("P, prompt tokens", prompts, tuple(Point(prompt=size, kept=size) for size in prompts)),
        Series("T, text tokens", texts, tuple(Point(text=size) for size in texts)),
        Series("N, examples (an epoch)", counts, tuple(Point(examples=size) for size in counts)),
        Series("S, members", members, tuple(Point(members=size) for size in members)),
        Series("tokens kept of 20", kept_20, tuple(replace(short, kept=size) for size in kept_20), fitted=False),
        Series(
            "tokens kept of 100",
            kept_100,
            tuple(replace(short, prompt=100, kept=size) for size in kept_100),
            fitted=False,
        ),
    ]


def update_seconds(model: FrozenModel, point: Point) -> float:
    """Seconds of one update of the cohort, the median of a few."""
    rows = point.rows(model)
    ticks: list[float] = []
    data = TrainingData(rows, rows[:1], lambda chosen: {"accuracy": 0.0})
    plan = Plan(_UPDATES, _UPDATES, _UPDATES, _BATCH, learning_rate=1e-3, head_learning_rate=1e-3)
    train(point.cohort(model), model, data, plan, tick=lambda step: ticks.append(time.perf_counter()))
    return median(after - before for before, after in pairwise(ticks[:-1]))


def evaluation_seconds(model: FrozenModel, point: Point) -> float:
    """Seconds of one evaluation of the cohort on the N examples."""
    rows = point.rows(model)
    with torch.no_grad():
        prompts = prompt_batch([Member(ticket, model.device) for ticket in point.cohort(model)])
    stopwatch = Stopwatch(model.device.type)
    with stopwatch("evaluate"):
        evaluate(prompts, model, rows)
    return stopwatch.total


def epoch_work(model: FrozenModel, point: Point) -> float | None:
    """FLOP of one training epoch of one member by the model's shape, or None for a model whose shape is not counted."""
    answers = [] if model.answers_by_head else [2]
    try:
        return arithmetic.row(model.config, point.text + point.kept, answers).training * point.examples
    except NotImplementedError:
        return None


def measured(model: FrozenModel, line: Series, repeats: int) -> str:
    """The rows of one series, as a table."""
    points = dict(zip(map(str, line.sizes), line.points, strict=True))
    costs = {}
    for name, seconds in (("update", update_seconds), ("evaluation", evaluation_seconds)):
        costs[name] = interleaved(list(points), partial(_at, seconds, model, points), repeats)
    if line.name.startswith("N"):  # an epoch's cost: its updates
        for size, values in costs["update"].items():
            costs["update"][size] = [value * points[size].examples / _BATCH for value in values]
    if not line.fitted:
        costs[f"a training: {_TRAINING[0]} updates, {_TRAINING[1]} rows evaluated"] = _trainings(costs, points)
    rows = [[name, *[f"{1000 * median(by_size[size]):.1f}" for size in points]] for name, by_size in costs.items()]
    for row, by_size in zip(rows, costs.values(), strict=True):
        row.append(_exponent(line.sizes, by_size) if line.fitted else _relative(by_size))
    work = [epoch_work(model, point) for point in line.points]
    if all(work):
        whole = [value * point.members for value, point in zip(work, line.points, strict=True) if value]
        last = _text(fit_exponent(line.sizes, whole)) if line.fitted else f"{whole[0] / whole[-1]:.2f}"
        rows.append(["arithmetic of an epoch, GFLOP", *[f"{value / 1e9:.1f}" for value in whole], last])
    header = [f"ms by {line.name}", *points, "exponent [95 %]" if line.fitted else "first / last"]
    return table(header, rows)


def main(
    model: Annotated[Path | None, typer.Option(help="model folder; a random T5 if none is given")] = None,
    precision: Annotated[Precision, typer.Option(help="of the model's weights")] = "float32",
    repeats: Annotated[int, typer.Option(help="of every point, interleaved")] = 5,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one")] = "cpu",
    threads: Annotated[int, typer.Option(help="of torch")] = 2,
    scale: Annotated[float, typer.Option(help="below 1: without the largest sizes")] = 1.0,
    only: Annotated[str, typer.Option(help="the series with this in their name")] = "",
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure every series and print the page."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            save_t5(Path(folder), **_SHAPE)
        frozen_model = load(str(model or folder), precision=precision, device=device)
    facts = {
        "command": command("scaling"),
        **machine(threads, device),
        "model": f"{model.name if model else 'random T5 ' + str(_SHAPE)}, {precision}",
        "unless named": f"{Point()}, batch {_BATCH}; medians of {repeats}",
        "density": f"texts of {_SENTENCE} tokens, the mean of SST-2's sentences",
    }
    parts = []
    for line in (line for line in series(scale) if only in line.name):
        parts.append(measured(frozen_model, line, repeats))
        print(parts[-1], file=sys.stderr, flush=True)
    publish("What an update and an evaluation cost", facts, parts, out)


def _at(
    seconds: Callable[[FrozenModel, Point], float], model: FrozenModel, points: Mapping[str, Point], size: str
) -> float:
    return seconds(model, points[size])


def _trainings(costs: Mapping[str, Mapping[str, list[float]]], points: Mapping[str, Point]) -> dict[str, list[float]]:
    """Seconds of a whole training, from those of its parts, repeat by repeat."""
    updates, rows = _TRAINING
    return {
        size: [
            updates * update + rows / point.examples * evaluation
            for update, evaluation in zip(costs["update"][size], costs["evaluation"][size], strict=True)
        ]
        for size, point in points.items()
    }


def _exponent(sizes: Sequence[int], by_size: dict[str, list[float]]) -> str:
    pairs = [(size, value) for size in sizes for value in by_size[str(size)]]
    return _text(fit_exponent([size for size, _ in pairs], [value for _, value in pairs]))


def _text(fit: Fit) -> str:
    return f"{fit.exponent:.2f} [{fit.low:.2f}, {fit.high:.2f}]"


def _relative(by_size: dict[str, list[float]]) -> str:
    first, *_, last = by_size.values()
    spread = Spread.of([earlier / later for earlier, later in zip(first, last, strict=True)])
    return f"{spread.median:.2f} [{spread.low:.2f}, {spread.high:.2f}]"


def _doubled(first: int) -> list[int]:
    return [first * 2**power for power in range(5)]


if __name__ == "__main__":
    typer.run(main)
