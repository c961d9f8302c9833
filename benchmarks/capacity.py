"""How much machine a study takes: measured costs of one ticket, and a study of a thousand runs played through.

    python -m benchmarks.capacity [--models DIR] [--repeats 3] [--out benchmarks/results/capacity.md]

Measured here: an update against model, S and T; memory; bytes on the wire and on disk; what it costs to start a worker
and to make an experiment ready. All in CPU seconds of one thread, which others at work on the machine hardly change and
which is the time of a worker that has a core of its own. Simulated from that: 8 tasks x 3 models x 7 methods x 6 seeds
on 1, 8 and 64 workers, by the rule by which the engines hand out jobs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.measure import machine
from benchmarks.page import command, publish, table
from benchmarks.scaling import Point
from prunekit.engine import memory
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.optimizer import Plan
from prunekit.engine.train import TrainingData, train
from prunekit.experiment.prepare import prepare
from prunekit.experiment.progress import Silent
from prunekit.experiment.run import run
from prunekit.experiment.settings import Experiment
from prunekit.experiment.sweep.plan import spread
from prunekit.models import FrozenModel, load
from prunekit.tasks.testbed import MODEL_PATH

TASKS, METHODS, SEEDS = 8, 7, 6
WORKERS = (1, 8, 64)
# of the study: rounds with the dense one, updates of each, evaluations of each, rows of one evaluation
ROUNDS, UPDATES, EVALUATIONS, ROWS = 4, 300, 11, 400
_BATCH = 16
_MEMBERS, _TEXTS = (1, 2, SEEDS, 2 * SEEDS, 4 * SEEDS), (16, 64)
# updates after which the values of one member of a narrow and of a wide cohort are compared
_PACKED_UPDATES = 20


@dataclass(frozen=True)
class Model:
    """A model of the page.

    Attributes:
        name: on the page.
        model: the frozen model.
        ready: seconds to load it and prepare an experiment of it in a process that runs.
    """

    name: str
    model: FrozenModel
    ready: float

    @property
    def parameters(self) -> int:
        """Weights of the frozen model."""
        return sum(weight.numel() for weight in self.model.model.parameters())


def load_models(folder: Path | None) -> list[Model]:
    """The embedded model, and the folders of others where there are any; float32, on the CPU."""
    paths = [
        MODEL_PATH,
        *(
            sorted(folder_of_model for folder_of_model in folder.iterdir() if folder_of_model.is_dir())
            if folder
            else []
        ),
    ]
    loaded = []
    for path in paths:
        started = time.process_time()
        model = load(str(path), precision="float32")
        model.digest()
        name = "testbed" if path == MODEL_PATH else path.name
        loaded.append(Model(name, model, time.process_time() - started))
    return sorted(loaded, key=lambda model: model.parameters)


def update_table(models: Sequence[Model], repeats: int) -> list[list[str]]:
    """Milliseconds of an update per ticket, by S and T, and the memory that it takes."""
    rows = []
    for model in models:
        for text in _TEXTS:
            cells = [f"{_update(model, members, text, repeats) / members * 1000:.1f}" for members in _MEMBERS]
            rows.append([model.name, f"{model.parameters / 1e6:.1f} M", str(text), *cells, _memory(model, text)])
    return rows


def _update(model: Model, members: int, text: int, repeats: int) -> float:
    """Seconds of one update of a cohort."""
    point = Point(text=text, members=members)
    rows, ticks = point.rows(model.model), []
    data = TrainingData(rows, rows[:1], lambda chosen: {"accuracy": 0.0})
    plan = Plan(repeats + 2, repeats + 2, repeats + 2, _BATCH, learning_rate=1e-3, head_learning_rate=1e-3)
    tickets = point.cohort(model.model)
    train(tickets, model.model, data, plan, tick=lambda step: ticks.append(time.process_time()))
    # the first follows an evaluation, and the last is followed by one
    return median(after - before for before, after in pairwise(ticks[:-1]))


def _evaluation(model: Model, members: int, text: int) -> float:
    """Seconds of evaluating a cohort on one example."""
    point = Point(text=text, members=members)
    rows, cohort = point.rows(model.model), point.cohort(model.model)
    started = time.process_time()
    with torch.no_grad():
        evaluate(prompt_batch([Member(ticket) for ticket in cohort]), model.model, rows)
    return (time.process_time() - started) / len(rows)


def round_seconds(model: Model, members: int, repeats: int) -> float:
    """Seconds of one round of a cohort in the study, without what is beside training: texts of 64 tokens."""
    update, evaluation = _update(model, members, 64, repeats), _evaluation(model, members, 64)
    return UPDATES * update + EVALUATIONS * ROWS * evaluation


def _memory(model: Model, text: int) -> str:
    point = Point(text=text)
    ticket, rows = point.cohort(model.model)[0], point.rows(model.model)
    kept = memory.activation_bytes(ticket, model.model, rows, _BATCH)
    return f"{kept / 2**20:.0f}"


def packing_differences(models: Sequence[Model]) -> list[list[str]]:
    """How far a ticket's values are from those that it comes to in a cohort twice as wide, relative to the largest."""
    rows = []
    for model in models:
        narrow, wide = _values(model, SEEDS), _values(model, 2 * SEEDS)
        rows.append([model.name, f"{float((narrow - wide).abs().max() / narrow.abs().max()):.0e}"])
    return rows


def _values(model: Model, members: int) -> torch.Tensor:
    """The first member's prompt after some updates of a cohort."""
    point = Point(text=_TEXTS[0], members=members)
    rows = point.rows(model.model)
    data = TrainingData(rows, rows[:1], lambda chosen: {"accuracy": 0.0})
    rate = 0.2 * model.model.embedding_rms  # the one that "auto" gives
    plan = Plan(_PACKED_UPDATES, _PACKED_UPDATES, _PACKED_UPDATES, _BATCH, learning_rate=rate, head_learning_rate=3e-3)
    return train(point.cohort(model.model), model.model, data, plan)[0].last.values.state["values"]


def on_the_wire(models: Sequence[Model]) -> list[list[str]]:
    """Bytes that an update of a cohort of six gives into a sum over processes (torchrun)."""
    rows = []
    for model in models:
        numbers = SEEDS * 20 * model.model.width + SEEDS
        rows.append([model.name, str(model.model.width), f"{numbers}", f"{4 * numbers / 1024:.0f} kB"])
    return rows


def on_disk_and_in_time(folder: Path) -> dict[str, float]:
    """A run of the embedded model with next to no training: bytes per ticket, CPU seconds per round of two seeds."""
    settings = {
        "task": {"train_examples": 256, "validation_examples": ROWS, "test_examples": ROWS},
        "training": {"train_steps": 2, "evaluate_every": 2},
        "pruning": {"rounds": ROUNDS - 1},
        "machine": {"threads": 1},
        "seeds": 2,
    }
    prepared = prepare(Experiment.model_validate(settings))
    started = time.process_time()
    finished_run = run(prepared, folder, Silent())
    spent = time.process_time() - started
    tickets = finished_run.tickets()
    size = sum(path.stat().st_size for path in finished_run.path.rglob("*") if path.is_file())
    return {"bytes": size / len(tickets), "beside": 2 * spent / len(tickets), "width": prepared.model.width}


def start_seconds(repeats: int) -> float:
    """CPU seconds until a new process has imported what a worker needs."""
    code = "import time, prunekit.experiment.run, prunekit.experiment.prepare; print(time.process_time())"
    command = [sys.executable, "-c", code]
    outputs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(repeats)]
    return median(map(float, outputs))


@dataclass(frozen=True)
class Study:
    """A study as jobs.

    Attributes:
        title: how it is cut into jobs.
        seconds: of each job, in the order in which jobs go out.
    """

    title: str
    seconds: list[float]


def studies(models: Sequence[Model], beside: float, repeats: int) -> list[Study]:
    """The thousand runs as cohorts of six seeds, and as single seeds. beside: seconds of a round outside training."""
    whole, single = [], []
    for model in models:
        fixed, runs = model.ready + ROUNDS * beside, TASKS * METHODS
        whole += [fixed + ROUNDS * round_seconds(model, SEEDS, repeats)] * runs
        single += [fixed + ROUNDS * round_seconds(model, 1, repeats)] * (runs * SEEDS)
    return [Study("cohorts of 6 seeds", whole), Study("one seed a job", single)]


def study_table(studies: Sequence[Study], start: float, handing: float) -> list[list[str]]:
    """Hours, speed-up and share of workers at work, by number of workers."""
    rows = []
    for study in studies:
        alone = spread(study.seconds, 1, start=start, handing=handing)
        for order, seconds in (("as given", study.seconds), ("longest first", sorted(study.seconds, reverse=True))):
            for workers in WORKERS:
                spent = spread(seconds, workers, start=start, handing=handing)
                gain = alone / spent
                rows.append([study.title, str(len(seconds)), order, str(workers), f"{spent / 3600:.2f}", f"{gain:.1f}",
                             f"{gain / workers:.0%}"])  # fmt: skip
    return rows


def main(
    models_in: Annotated[
        Path | None, typer.Option("--models", help="folder of model folders; default: testbed alone")
    ] = None,
    repeats: Annotated[int, typer.Option(help="of every measurement; medians are shown")] = 3,
    handing: Annotated[float, typer.Option(help="seconds that an engine needs to hand out one job")] = 0.01,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure, simulate, print the page."""
    torch.set_num_threads(1)
    models = load_models(models_in)
    start = start_seconds(repeats)
    with tempfile.TemporaryDirectory() as folder:
        small = on_disk_and_in_time(Path(folder))
    jobs = studies(models, small["beside"], repeats)
    facts = {"command": command("capacity"), **machine(1, "cpu"), **_facts(models, small, start, repeats)}
    parts = [*_measured(models, repeats), *_simulated(models, jobs, start, handing)]
    publish("What a study takes", facts, parts, out)


def _facts(models: Sequence[Model], small: dict[str, float], start: float, repeats: int) -> dict[str, str]:
    """How and where it was measured, and the costs beside training."""
    loading = ", ".join(f"{model.ready:.1f} s for {model.name}" for model in models)
    return {
        "unless named": f"CPU seconds, one thread, float32, batch {_BATCH}, P = 20; medians of {repeats}",
        "busy": f"{os.getloadavg()[0]:.0f} processes wanted a core when it ended",
        "a new worker": f"{start:.1f} s until it has imported what it needs, then {loading}",
        "on disk": f"{small['bytes'] / 1024:.0f} kB per ticket of the testbed (P = 20, H = {small['width']:.0f})",
        "beside training": f"{small['beside']:.2f} s per round of two seeds on the testbed: scoring, test, writing",
    }


def _measured(models: Sequence[Model], repeats: int) -> list[str]:
    """The tables of measured costs."""
    columns = ["model", "weights", "T", *[f"S = {members}" for members in _MEMBERS], "MB a member"]
    return [
        "## Milliseconds of an update, per ticket, and memory that it keeps for its backward pass",
        table(columns, update_table(models, repeats)),
        f"## Experiments packed into one cohort: {SEEDS} members beside {SEEDS} others, "
        f"after {_PACKED_UPDATES} updates",
        "What packing gains is the step from S = 6 to S = 12 and 24 above. What it costs: a ticket's values depend on "
        "who is beside it, by as much of its largest value as this:",
        table(["model", "apart"], packing_differences(models)),
        "## Numbers that an update of six members sums over processes (torchrun)",
        table(["model", "H", "numbers", "bytes"], on_the_wire(models)),
    ]


def _simulated(models: Sequence[Model], jobs: Sequence[Study], start: float, handing: float) -> list[str]:
    """The tables of the simulated study."""
    columns = ["jobs are", "jobs", "order", "workers", "hours", "times as fast", "at work"]
    return [
        f"## {TASKS} tasks x {len(models)} models x {METHODS} methods x {SEEDS} seeds, simulated",
        f"{ROUNDS} rounds of {UPDATES} updates and {EVALUATIONS} evaluations of {ROWS} rows each; every worker has "
        "a core of its own, as quick as the one measured here.",
        table(columns, study_table(jobs, start, handing)),
        limits(jobs, start),
    ]


def limits(studies: Sequence[Study], start: float) -> str:
    """Where more workers stop helping, and why."""
    lines = []
    for study in studies:
        longest, total = max(study.seconds), sum(study.seconds)
        lines.append(
            f"- {study.title}: no number of workers ends before the longest job, {longest / 60:.1f} minutes; that is "
            f"{total / longest:.0f} workers' worth of the whole, beyond which more stand still."
        )
    lines.append(f"- A worker pays {start:.1f} s once; jobs shorter than that are better left to fewer workers.")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
