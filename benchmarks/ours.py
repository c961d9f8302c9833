"""The protocol by prunekit's own library calls."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch

from benchmarks.measure import Stopwatch
from benchmarks.presets import Job, Rows, auto_rate, starting_values
from benchmarks.protocol import EVALUATE, RoundResult, Start
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.gradient_scores import gradient_scores, scoring_batches
from prunekit.engine.optimizer import Plan
from prunekit.engine.train import Trained, TrainingData, train
from prunekit.models import Position, PromptBatch, load
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.prompts.mask import Mask
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket
from prunekit.tasks import Example


class Ours:
    """prunekit: a frozen model in eval mode, `remove`, cohorts over the ratios.

    Attributes:
        precision: "float32" or "bfloat16", of the model's weights; prompts, heads and optimiser are float32.
        position: "first", where PEFT puts the prompt and where it reads an encoder's answer; "suffix" or "prefix-kv" of
            a decoder. A prefix starts as the keys and values of the words whose embeddings others start as.
    """

    scores_many_at_once = True

    def __init__(self, job: Job, stopwatch: Stopwatch, precision: Any, position: Position = "first") -> None:
        self.job, self.stopwatch = job, stopwatch
        self.model = load(job.model, precision=precision, device=job.device, position=position)
        self.training_data = TrainingData([], [], lambda chosen: {})

    def encode(self, rows: Rows) -> None:
        """Every text once."""
        encoded = {}
        for split, part in rows.items():
            examples = [
                Example(index, "{text}", {"text": row["text"]}, tuple(row["choices"]), (row["label"],))
                for index, row in enumerate(part)
            ]
            encoded[split] = self.model.encode(examples, own_choices=False, prompt_tokens=self.job.prompt_tokens)
        gold = [row["label"] for row in rows["validation"]]

        def measure(chosen: list[int]) -> dict[str, float]:
            return {"accuracy": sum(map(int.__eq__, chosen, gold)) / len(gold)}

        self.training_data = TrainingData(encoded["train"], encoded["validation"], measure)

    def start(self) -> Start:
        """The job's starting prompt as a member holds it, and the model's own zero head."""
        head = self.model.new_head(len(self.training_data.train[0].choices))
        start = Start(Mask.full(self.job.prompt_tokens, self.job.pieces), self.job.start(), head)
        if isinstance(self.model, PrefixDecoder):
            start = replace(start, mask=Mask.full(self.job.prompt_tokens, self.model.shape.cells))
            start = replace(start, values=starting_values(self.model, self.job.seed, self.job.prompt_tokens))
        held = Member(self._ticket(start), self.model.device).values()
        return replace(start, values=held.state["values"])

    def train(self, starts: Sequence[Start], steps: int, phase: str) -> list[RoundResult]:
        """All as one cohort, `job.width` at a time through the model."""
        cohort, width = [self._ticket(start) for start in starts], self.job.width or None
        with self.stopwatch(phase), self._watched():
            trained = train(cohort, self.model, self.training_data, self.plan(steps), width=width)
        return [_learned(member) for member in trained]

    def train_alone(self, start: Start, steps: int, phase: str) -> RoundResult:
        """A cohort of one; what `train` evaluates in any case is one training row, before and after."""
        moments: list[float] = []
        rows = self.training_data.train
        data = TrainingData(rows, rows[:1], lambda chosen: {"none": 0.0})
        plan = replace(self.plan(steps), evaluate_every=steps)
        with self.stopwatch(phase):
            (trained,) = train(
                [self._ticket(start)], self.model, data, plan, tick=lambda step: moments.append(time.perf_counter())
            )
        return replace(_learned(trained), moments=tuple(moments))

    def loss(self, start: Start, count: int) -> float:
        """As training reads the rows: the gold answer alone."""
        batch = self.model.batch([self.training_data.train[:count]], every_choice=False)
        with torch.no_grad():
            return float(self.model.losses(self._prompts(start), batch).mean())

    def accuracy(self, start: Start) -> float:
        """By the evaluation that `train` makes."""
        with self.stopwatch(EVALUATE), torch.no_grad():
            answers = evaluate(self._prompts(start), self.model, self.training_data.validation)
        return self.training_data.measure(answers.chosen[0].tolist())["accuracy"]

    def score(self, start: Start) -> Scores:
        """One pass, texts of like length together."""
        batches = scoring_batches(self.model, self.training_data.train)
        return gradient_scores([self._ticket(start)], self.model, batches)[0]

    def ids(self) -> Iterable[Sequence[int]]:
        """Token ids of the training texts."""
        return [example.text for example in self.training_data.train]

    def plan(self, steps: int) -> Plan:
        """The job's settings as prunekit takes them."""
        job = self.job
        return Plan(
            train_steps=steps,
            evaluate_every=job.evaluate_every,
            patience=steps,
            batch_size=job.batch_size,
            learning_rate=auto_rate(self.model) if isinstance(self.model, PrefixDecoder) else job.learning_rate,
            head_learning_rate=job.head_learning_rate,
            weight_decay=job.weight_decay,
            warmup_fraction=job.warmup_fraction,
            clip_norm=job.clip_norm,
        )

    def _ticket(self, start: Start) -> Ticket:
        act: Any = "hide" if self.model.position == "prefix-kv" else "remove"
        values, place = {"values": start.values}, self.model.position
        return Ticket(start.mask, values, start.head, seed=self.job.seed, position=place, dropped_as=act)

    def _prompts(self, start: Start) -> PromptBatch:
        return prompt_batch([Member(self._ticket(start), self.model.device)])

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """The evaluations inside a training, timed as such."""
        with mock.patch("prunekit.engine.train.evaluate", self.stopwatch.wrap(EVALUATE, evaluate)):
            yield


def _learned(trained: Trained) -> RoundResult:
    if trained.diverged is not None:
        raise RuntimeError(trained.diverged)
    entries = [entry for entry in trained.log if entry.split == "validation"]
    values = trained.last.values
    head = None if values.head is None else {name: torch.as_tensor(value) for name, value in values.head.items()}
    return RoundResult(
        values=values.state["values"],
        head=head,
        accuracies=tuple(entry.value for entry in entries if entry.metric == "accuracy"),
        losses=tuple(entry.value for entry in entries if entry.metric == "loss"),
        updates=trained.steps,
    )
