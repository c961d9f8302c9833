"""A training step of a prefix of keys and values: PEFT's PREFIX_TUNING with the Trainer, against prunekit.

    python -m benchmarks.prefix_training --model MODEL [--prompt 32] [--repeats 5] [--threads 2] [--out page.md]

Both train P tokens on the same rows of T random ids, whose last one is the answer, B to a step, by AdamW in float32.
Each repeat of a side is a process of its own, so that the peak of its memory is its own; the sides take turns. Let
nothing else run meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.measure import Spread, machine, peak, reset_peak
from benchmarks.page import command, publish, table
from prunekit.support.seeding import generator

PEER, OURS = "PEFT with Trainer", "prunekit"
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Work:
    """What both sides do in a repeat.

    Attributes:
        prompt: P.
        text: T, the answer included.
        batch: B.
        steps: updates, of which the first counts for none.
    """

    model: str
    prompt: int
    text: int
    batch: int
    steps: int
    threads: int

    def rows(self, vocabulary: int) -> Tensor:
        """Int[steps x B, T], drawn alike for both sides."""
        size = (self.steps * self.batch, self.text)
        return torch.randint(5, vocabulary, size, generator=generator("prefix rows"))


@dataclass(frozen=True)
class Result:
    """Median seconds of a step, and memory in MiB: the most during training, and before it."""

    seconds: float
    peak_mib: float
    held_mib: float


def by_peer(work: Work) -> Result:
    """PEFT and the Trainer as their guides show."""
    import peft
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    clock: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """When each step ended."""

        def on_step_end(self, *arguments: Any, **more: Any) -> None:
            """Called by the Trainer."""
            clock.append(time.perf_counter())

    model = AutoModelForCausalLM.from_pretrained(work.model, dtype=torch.float32)
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=work.prompt)
    adapted = peft.get_peft_model(model, config)
    ids = work.rows(model.config.vocab_size)
    labels = torch.full_like(ids, -100)
    labels[:, -1] = ids[:, -1]
    columns = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    rows = Dataset.from_dict({name: values.tolist() for name, values in columns.items()})
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=work.steps, per_device_train_batch_size=work.batch, learning_rate=1e-2,
            save_strategy="no", logging_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        trainer = Trainer(model=adapted, args=arguments, train_dataset=rows, callbacks=[Clock()])
        trainer.remove_callback(PrinterCallback)
        return _measured(clock, trainer.train)


def by_us(work: Work) -> Result:
    """The cohort of one that `prunekit tune` trains."""
    from prunekit.engine.optimizer import Plan
    from prunekit.engine.train import TrainingData, train
    from prunekit.models import Encoded, load
    from prunekit.prompts.mask import Mask
    from prunekit.pruning.ticket import Ticket

    clock: list[float] = []
    bone = load(work.model, position="prefix-kv")
    rows = work.rows(bone.embedding_rows).tolist()
    examples = [Encoded(number, tuple(row[:-1]), ((row[-1],),), 0) for number, row in enumerate(rows)]
    values = 0.1 * torch.randn(work.prompt, bone.width, generator=generator("prefix"))
    start = Ticket(Mask.full(work.prompt, 1), {"values": values}, None, position="prefix-kv", dropped_as="hide")
    data = TrainingData(examples, examples[:1], lambda chosen: {"none": 0.0})
    plan = Plan(work.steps, work.steps, work.steps, work.batch, learning_rate=1e-2, head_learning_rate=1e-2)
    return _measured(
        clock, lambda: train([start], bone, data, plan, tick=lambda step: clock.append(time.perf_counter()))
    )


def _measured(clock: Sequence[float], run: Callable[[], object]) -> Result:
    """A training whose steps end at the times of `clock`; what follows the last one belongs to no step."""
    held = reset_peak()
    run()
    steps = [after - before for before, after in pairwise(clock)]
    return Result(median(steps), peak(), held)


SIDES = {PEER: by_peer, OURS: by_us}


def in_a_process(side: str, work: Work) -> Result:
    """One repeat of a side.

    Raises:
        RuntimeError: with the end of its output where it failed.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(work.threads), "TQDM_DISABLE": "1"}
    words = [sys.executable, "-W", "ignore", "-m", "benchmarks.prefix_training", side, json.dumps(asdict(work))]
    process = subprocess.run(words, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise RuntimeError(f"{side} failed:\n{process.stderr[-4000:]}")
    return Result(**json.loads(process.stdout.splitlines()[-1]))


def page_table(results: dict[str, list[Result]]) -> str:
    """A row for each side."""
    lines = []
    for side, of_side in results.items():
        seconds = Spread.of([result.seconds for result in of_side])
        ratios = Spread.of([slow.seconds / quick.seconds for slow, quick in zip(results[PEER], of_side, strict=True)])
        added = Spread.of([result.peak_mib - result.held_mib for result in of_side])
        lines.append([
            side, f"{1000 * seconds.median:.0f}", f"{1000 * seconds.low:.0f} to {1000 * seconds.high:.0f}",
            f"{ratios.median:.2f} [{ratios.low:.2f}, {ratios.high:.2f}]",
            f"{median(result.peak_mib for result in of_side):.0f}", f"{added.median:.0f}",
        ])  # fmt: skip
    return table(
        ["side", "ms a step", "range", "PEFT / this, pair by pair", "peak MiB", "MiB that training adds"], lines
    )


def main(
    model: Annotated[str, typer.Option(help="a decoder")],
    prompt: Annotated[int, typer.Option(help="P, tokens of the prefix")] = 32,
    text: Annotated[int, typer.Option(help="T, tokens of a row, the answer included")] = 32,
    batch: Annotated[int, typer.Option(help="B, rows of a step")] = 16,
    steps: Annotated[int, typer.Option(help="updates of a repeat")] = 6,
    repeats: Annotated[int, typer.Option(help="of both sides, by turns")] = 5,
    threads: Annotated[int, typer.Option(help="of torch")] = 2,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    work = Work(model, prompt, text, batch, steps, threads)
    turns = [{side: in_a_process(side, work) for side in SIDES} for _ in range(repeats)]
    results = {side: [turn[side] for turn in turns] for side in SIDES}
    facts = {
        "command": command("prefix_training"),
        **machine(threads, "cpu"),
        "model": f"{Path(model).name}, float32",
        "work": f"P = {prompt}, T = {text}, B = {batch}; medians of {steps - 1} steps, {repeats} repeats by turns",
    }
    publish("Training a prefix of keys and values", facts, [page_table(results)], out)


def _worker(side: str, work: str) -> None:
    """One repeat, printed as JSON."""
    settings = Work(**json.loads(work))
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    print(json.dumps(asdict(SIDES[side](settings))))


if __name__ == "__main__":
    _worker(*sys.argv[1:]) if sys.argv[1:2] and sys.argv[1] in SIDES else typer.run(main)
