"""How fast a machine is at one task on one model: a few updates and evaluations are timed, and thrown away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.train import train
from prunekit.engine.write import write
from prunekit.experiment.prepare import Prepared
from prunekit.models import Encoded, FrozenModel
from prunekit.models.decoder import Decoder
from prunekit.pruning.ticket import Ticket

# seconds that a timing may take; a slower machine is timed on fewer rows at once
_PATIENCE = 1.5
# a timing goes on until it has taken so many seconds or been done so often; a single pass of a large model is enough
_ENOUGH, _MOST_TIMES = 0.4, 12
# rows of the first try, and of a batch of evaluation (`engine.evaluate`)
_FEW, _MANY = 2, 128
# answers that are written side by side to be timed
_WRITTEN = 8


@dataclass(frozen=True)
class Pace:
    """Seconds that things take, for one ticket of a cohort that is trained side by side.

    Attributes:
        update: one optimiser update of the dense prompt, on a batch of average length.
        evaluation: reading the answers to one example.
        scoring: the slopes of one training example.
        reading: reading all texts once, where they are cached behind a suffix; else 0.
        text_tokens: mean tokens of an example's row that go through the layers in an update, without the prompt.
        prompt_tokens: of the dense prompt that do; of a prefix none does.
        prompt_rows: in what part of the rows: all, or fewer where the prompt is read once for several.
        rows: rows that went through the model at once in the timed update.
        writing: writing one answer of as many tokens as it may have; 0 where answers are chosen.
    """

    update: float
    evaluation: float
    scoring: float = 0.0
    reading: float = 0.0
    text_tokens: float = 1.0
    prompt_tokens: int = 0
    prompt_rows: float = 1.0
    rows: int = 0
    writing: float = 0.0

    def shortened(self, tokens: int) -> float:
        """By how much a prompt that keeps fewer tokens is quicker."""
        return self.share(self.text_tokens + self.prompt_rows * min(tokens, self.prompt_tokens))

    def share(self, row_tokens: float) -> float:
        """Of what was measured, the time of rows of so many tokens: they take as long as they are."""
        return row_tokens / (self.text_tokens + self.prompt_rows * self.prompt_tokens)


def measured(prepared: Prepared) -> Pace:
    """The pace of an experiment, of the length of its texts and as many tickets side by side as will be.

    Time is taken to grow with the tokens that go through the model, padding included, from what a pass takes at least.
    Timed are a few rows, and then as many as will be trained, or as fit into some seconds.
    """
    rows = sorted(prepared.training_data.train, key=lambda row: row.length)
    tokens, members = prepared.experiment.prompt.tokens, members_at_once(prepared)
    size = min(prepared.plan.batch_size, len(rows))
    seconds, timed_rows = _timed_update(prepared, rows, members, size)
    batches = [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)]
    update = fmean(seconds.at(members * _padded(batch, prepared)) for batch in batches) / members
    texts, whole = (fmean(prepared.model.tokens_read(row, count) for row in rows) for count in (0, tokens))
    spared = prepared.model.tokens_spared(size, tokens) / size
    reading, evaluation = _timed_evaluation(prepared, members)
    return Pace(
        update=update,
        evaluation=evaluation,
        scoring=update / size * whole / (whole - spared),  # each example has a prompt of its own there
        reading=reading,
        text_tokens=texts,
        prompt_tokens=round(whole - texts),
        prompt_rows=1 - spared / tokens,
        rows=timed_rows,
        writing=_timed_writing(prepared, members) if prepared.task.open else 0.0,
    )


class _Line(NamedTuple):
    """Seconds by size: what a pass takes at least, and what each unit adds."""

    least: float
    each: float

    @classmethod
    def through(cls, small: tuple[float, float], large: tuple[float, float]) -> _Line:
        """From two timings (size, seconds): a pass takes nothing at least, or up to half of the larger one."""
        (size, seconds), most = large, large[1] / large[0]
        each = (seconds - small[1]) / (size - small[0]) if size > small[0] else most
        each = min(most, max(each, most / 2))
        return cls(seconds - each * size, each)

    def at(self, size: float) -> float:
        return self.least + self.each * size


class _EnoughError(Exception):
    """All that was to be timed has been."""


def members_at_once(prepared: Prepared) -> int:
    """Tickets that go through the model side by side."""
    return min(prepared.width, max(len(prepared.experiment.seeds), 2))


def _timed_update(prepared: Prepared, rows: Sequence[Encoded], members: int, size: int) -> tuple[_Line, int]:
    """Seconds of an update by the tokens that it takes through the model, and how many rows were timed at once."""
    few = _middle(rows, min(_FEW, size))
    small = _padded(few, prepared), _update_seconds([prepared.dense(0)], prepared, few)
    affordable = int(len(few) * _PATIENCE / small[1])
    tickets = members if affordable >= members * size else 1
    many = _middle(rows, min(size, max(2 * _FEW, affordable)))
    seconds = _update_seconds([prepared.dense(seed) for seed in range(tickets)], prepared, many)
    return _Line.through(small, (tickets * _padded(many, prepared), seconds)), tickets * len(many)


def _update_seconds(tickets: Sequence[Ticket], prepared: Prepared, batch: Sequence[Encoded]) -> float:
    """Median seconds of an update on a batch; the first one only where there is no other, since it warms up."""
    ends: list[float] = []

    def evaluated(chosen: list[int]) -> dict[str, float]:
        ends[:] = [time.perf_counter()]  # of the last member: training begins
        return {"none": 0.0}

    def tick(step: int) -> None:
        ends.append(time.perf_counter())
        if ends[-1] - ends[0] >= _ENOUGH or step == _MOST_TIMES:
            raise _EnoughError

    data = replace(prepared.training_data, train=batch, validation=batch[:1], measure=evaluated)
    steps = _MOST_TIMES + 1  # the last one would be evaluated
    plan = replace(prepared.plan, train_steps=steps, evaluate_every=steps, batch_size=len(batch))
    with suppress(_EnoughError):
        train(tickets, prepared.model, data, plan, tick=tick)
    seconds = [after - before for before, after in pairwise(ends)]
    return max(1e-6, median(seconds[1:] or seconds))


def _timed_evaluation(prepared: Prepared, members: int) -> tuple[float, float]:
    """Seconds of reading all texts (0 where they are not cached), and of one ticket's answer to one example."""
    model, examples = prepared.model, sorted(prepared.training_data.validation, key=lambda row: row.length)
    few = _middle(examples, min(_FEW, len(examples)))
    _, seconds = _evaluation_seconds([prepared.dense(0)], model, few)
    affordable = int(len(few) * _PATIENCE / seconds)
    tickets = members if affordable >= members else 1
    many = _middle(examples, min(len(examples), max(1, _MANY // tickets), max(4 * _FEW, affordable) // tickets))
    if isinstance(model, Decoder):  # the few brought texts that the many are read with
        model.forget_texts()
    first, again = _evaluation_seconds([prepared.dense(seed) for seed in range(tickets)], model, many)
    whole = max(1, min(_MANY, members * len(examples)))
    each = _Line.through((len(few), seconds), (tickets * len(many), again)).at(whole) / whole
    longer = fmean(row.length for row in examples) / max(1.0, fmean(row.length for row in many))
    if not isinstance(model, Decoder) or not model.caches_texts:
        return 0.0, each * longer
    texts = sum(map(len, prepared.rows)) / max(1, len(model.texts))
    return max(0.0, first - again) * texts * longer, each * longer


def _timed_writing(prepared: Prepared, members: int) -> float:
    """Seconds of one ticket's answer of the most tokens, from the first few of them, written side by side."""
    model, whole = prepared.model, prepared.task.decoding
    rows = _middle(sorted(prepared.training_data.validation, key=lambda row: row.length), _WRITTEN)
    prompts = prompt_batch([Member(prepared.dense(seed), model.device) for seed in range(members)])
    tokens = min(2 * _FEW, whole.max_tokens)
    seconds = 0.0
    for _ in range(2):  # the first also tries the model, and reads the texts
        started = time.perf_counter()
        write(prompts, model, rows, replace(whole, max_tokens=tokens))
        seconds = time.perf_counter() - started
    return seconds * whole.max_tokens / (tokens * members * len(rows))


def _evaluation_seconds(tickets: Sequence[Ticket], model: FrozenModel, rows: Sequence[Encoded]) -> tuple[float, float]:
    """Seconds of a first evaluation, which reads the texts, and of the quickest of those that do not."""
    prompts = prompt_batch([Member(ticket, model.device) for ticket in tickets])
    least = 2 if getattr(model, "caches_texts", False) else 1
    seconds: list[float] = []
    while len(seconds) < least or (sum(seconds) < _ENOUGH and len(seconds) < _MOST_TIMES):
        started = time.perf_counter()
        evaluate(prompts, model, rows)
        seconds.append(time.perf_counter() - started)
    return seconds[0], max(1e-6, min(seconds[1:] or seconds))


def _middle(rows: Sequence[Encoded], count: int) -> Sequence[Encoded]:
    """So many rows of average length, of rows that are sorted by it."""
    start = (len(rows) - count) // 2
    return rows[start : start + count]


def _padded(batch: Sequence[Encoded], prepared: Prepared) -> int:
    """Tokens that a batch of updates takes through the model, padding included."""
    model, tokens = prepared.model, prepared.experiment.prompt.tokens
    rows = len(batch) * max(model.tokens_read(row, tokens) for row in batch)
    return rows - model.tokens_spared(len(batch), tokens)
