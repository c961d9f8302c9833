"""How fast a machine is at one task on one model: a few updates and evaluations are timed, and thrown away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.train import train
from prunekit.experiment.prepare import Prepared
from prunekit.models import Encoded, FrozenModel
from prunekit.pruning.ticket import Ticket

# seconds that one timing may take; a slower machine is timed on fewer rows at once
_PATIENCE = 1.5
# updates or evaluations of a timing, and where they are quick: the first warms up
_TIMES, _MOST_TIMES = 3, 12
# rows of the first try, and of a batch of evaluation (`engine.evaluate`)
_FEW, _MANY = 2, 128


@dataclass(frozen=True)
class Pace:
    """Seconds that things take, for one ticket of a cohort that is trained side by side.

    Attributes:
        update: one optimiser update of the dense prompt, on a batch of average length.
        evaluation: reading the answers to one example.
        scoring: the slopes of one training example.
        reading: reading all texts once, where they are cached behind a suffix; else 0.
        text_tokens: mean length of an example's row, without the prompt.
        prompt_tokens: of the dense prompt.
        rows: rows that went through the model at once in the timed update.
    """

    update: float
    evaluation: float
    scoring: float = 0.0
    reading: float = 0.0
    text_tokens: float = 1.0
    prompt_tokens: int = 0
    rows: int = 0

    def shortened(self, tokens: int) -> float:
        """By how much a prompt that keeps fewer tokens is quicker: rows take as long as they are."""
        return (self.text_tokens + tokens) / (self.text_tokens + self.prompt_tokens)


def measured(prepared: Prepared) -> Pace:
    """The pace of an experiment, of the length of its texts and as many tickets side by side as will be.

    Time is taken to grow with the tokens that go through the model, padding included. What is timed is as large as will
    be trained where that is quick, and as large as fits in a second where it is not.
    """
    rows = sorted(prepared.training_data.train, key=lambda row: row.length)
    tokens = prepared.experiment.prompt.tokens
    members = members_at_once(prepared)
    size = min(prepared.plan.batch_size, len(rows))
    tickets, batch, seconds = _timed_update(prepared, rows, members, size)
    token_seconds = seconds / (tickets * _padded(batch, tokens))
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    whole = [part for part in batches if len(part) == size] or batches
    reading, evaluation = _timed_evaluation(prepared, members)
    return Pace(
        update=token_seconds * fmean(_padded(part, tokens) for part in whole),
        evaluation=evaluation,
        scoring=token_seconds * fmean(_padded(part, tokens) / len(part) for part in batches),
        reading=reading,
        text_tokens=fmean(row.length for row in rows),
        prompt_tokens=tokens,
        rows=tickets * len(batch),
    )


def members_at_once(prepared: Prepared) -> int:
    """Tickets that go through the model side by side."""
    return min(prepared.width, max(len(prepared.experiment.seeds), 2))


def _timed_update(
    prepared: Prepared, rows: Sequence[Encoded], members: int, size: int
) -> tuple[int, Sequence[Encoded], float]:
    """How many tickets were trained on which rows, and seconds of one update of them all."""
    batch = _middle(rows, min(_FEW, size))
    seconds = _update_seconds([prepared.dense(0)], prepared, batch)
    affordable = int(len(batch) * _PATIENCE / (_TIMES * seconds))
    if affordable <= len(batch):
        return 1, batch, seconds
    tickets = members if affordable >= members * size else 1
    batch = _middle(rows, min(size, affordable))
    times = min(_MOST_TIMES, max(_TIMES, _TIMES * affordable // (tickets * len(batch))))
    return tickets, batch, _update_seconds([prepared.dense(seed) for seed in range(tickets)], prepared, batch, times)


def _update_seconds(
    tickets: Sequence[Ticket], prepared: Prepared, batch: Sequence[Encoded], times: int = _TIMES
) -> float:
    """Seconds of one update: of those between the first, which warms up, and the last, after which is evaluated."""
    data = replace(prepared.training_data, train=batch, validation=batch[:1], measure=lambda chosen: {"none": 0.0})
    plan = replace(prepared.plan, train_steps=times, evaluate_every=times, batch_size=len(batch), patience=times)
    ends: list[float] = []
    train(tickets, prepared.model, data, plan, tick=lambda step: ends.append(time.perf_counter()))
    return max(1e-6, median(after - before for before, after in pairwise(ends[:-1])))


def _timed_evaluation(prepared: Prepared, members: int) -> tuple[float, float]:
    """Seconds of reading all texts (0 where they are not cached), and of one ticket's answer to one example."""
    model, examples = prepared.model, sorted(prepared.training_data.validation, key=lambda row: row.length)
    few = _middle(examples, min(_FEW, len(examples)))
    first, seconds = _evaluation_seconds([prepared.dense(0)], model, few)
    affordable = int(len(few) * _PATIENCE / (_TIMES * seconds))
    many = _middle(examples, max(1, min(_MANY // members, affordable // members, len(examples))))
    if len(many) > len(few):
        tickets = [prepared.dense(seed) for seed in range(members)]
        first, seconds = _evaluation_seconds(tickets, model, many)
        seconds, few = seconds / members, many
    texts = sum(len(part) for part in prepared.rows) / len(few)
    reading = max(0.0, first - seconds) * texts if getattr(model, "caches_texts", False) else 0.0
    longer = fmean(row.length for row in examples) / max(1.0, fmean(row.length for row in few))
    return reading * longer, seconds / len(few) * longer


def _evaluation_seconds(tickets: Sequence[Ticket], model: FrozenModel, rows: Sequence[Encoded]) -> tuple[float, float]:
    """Seconds of a first evaluation, and of the quickest of those after it."""
    prompts = prompt_batch([Member(ticket, model.device) for ticket in tickets])
    seconds = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        evaluate(prompts, model, rows)
        seconds.append(time.perf_counter() - started)
    return seconds[0], max(1e-6, min(seconds[1:]))


def _middle(rows: Sequence[Encoded], count: int) -> Sequence[Encoded]:
    """So many rows of average length, of rows that are sorted by it."""
    start = (len(rows) - count) // 2
    return rows[start : start + count]


def _padded(batch: Sequence[Encoded], prompt_tokens: int) -> int:
    """Tokens that a batch takes through the model, padding included."""
    return len(batch) * (max(row.length for row in batch) + prompt_tokens)
