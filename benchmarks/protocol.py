"""The protocol itself, written once for all sides: dense training, scores, token ratios, piece ratios, retraining."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.measure import Stopwatch, peak, reset_peak
from benchmarks.presets import Job, Rows
from prunekit.prompts.mask import Mask
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Scores

# what a side's `train` names its updates, by the kind of training
DENSE, RETRAIN, EVALUATE, SCORE, ENCODE = "dense", "retrain", "evaluate", "score", "encode"


@dataclass(frozen=True)
class Start:
    """What a training starts from: a mask, prompt values [P, H], and a head's weight [C, H] and bias [C], or None."""

    mask: Mask
    values: Tensor
    head: dict[str, Tensor] | None


@dataclass(frozen=True)
class RoundResult:
    """What a training made.

    Attributes:
        values: as in Start.
        head: as in Start.
        accuracies: of each evaluation, the first before any update (a loss is None where the side makes none).
        losses: of each evaluation, the first before any update (a loss is None where the side makes none).
        updates: how many were made.
        moments: when each of them ended, where there were no evaluations between them.
    """

    values: Tensor
    head: dict[str, Tensor] | None
    accuracies: tuple[float, ...]
    losses: tuple[float | None, ...]
    updates: int
    moments: tuple[float, ...] = ()


class Side(Protocol):
    """One way to do the work. Everything a side does is timed by phase by its stopwatch.

    Attributes:
        scores_many_at_once: whether `score` reads many rows in a pass.
    """

    stopwatch: Stopwatch
    scores_many_at_once: bool

    def encode(self, rows: Rows) -> None:
        """Turn the texts of both splits into token ids, in place of those before."""

    def start(self) -> Start:
        """The dense prompt as the side's own model holds it before training, and a zero head."""

    def train(self, starts: Sequence[Start], steps: int, phase: str) -> list[RoundResult]:
        """Train every start for `steps` updates, evaluated before, and every `evaluate_every` updates."""

    def train_alone(self, start: Start, steps: int, phase: str) -> RoundResult:
        """Train one start without any evaluation; its values after the last update."""

    def loss(self, start: Start, count: int) -> float:
        """The mean loss of the first `count` training rows."""

    def accuracy(self, start: Start) -> float:
        """The share of the validation rows that are answered right."""

    def score(self, start: Start) -> Scores:
        """Mean |dL/dgamma| of tokens and pieces over the training rows."""

    def ids(self) -> Iterable[Sequence[int]]:
        """Token ids of the training texts, without padding."""


@dataclass(frozen=True)
class Outcome:
    """What one side made of one job.

    Attributes:
        seconds: by phase.
        calls: by phase.
        accuracies: by prompt, such as "dense" and "10 tokens x 8 pieces", after its last update.
        start_loss: on validation before any update.
        start_digest: of the starting values and the training rows as the side had them.
        rows_digest: of the starting values and the training rows as the side had them.
        held_mib: memory before the protocol, and the most during it.
        peak_mib: memory before the protocol, and the most during it.
    """

    seconds: dict[str, float]
    calls: dict[str, int]
    accuracies: dict[str, float]
    updates: int
    evaluations: int
    start_loss: float | None
    start_digest: str
    rows_digest: str
    held_mib: float
    peak_mib: float
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def begun(side: Side, job: Job, warm_up: Callable[[Side, Start], object]) -> tuple[Start, float]:
    """A side with all rows encoded: its start, and the MiB that it holds.

    Args:
        warm_up: is done on one batch before: what libraries import and set up at first use is no one's cost.
    """
    rows = job.rows()
    side.encode({split: part[: job.batch_size] for split, part in rows.items()})
    warm_up(side, side.start())
    side.stopwatch.reset()
    held = reset_peak(job.device)
    with side.stopwatch(ENCODE):
        side.encode(rows)
    return side.start(), held


def perform(side: Side, job: Job) -> Outcome:
    """The whole protocol by one side."""
    start, held = begun(side, job, _warm_up)
    dense = side.train([start], job.dense_steps, DENSE)[0]
    with side.stopwatch(SCORE):
        scores = side.score(Start(start.mask, dense.values, dense.head))
    results = {"dense": dense}
    tokens = [prune_mask(start.mask, scores, Keep(count, job.pieces)) for count in job.keep_tokens]
    results |= _retrained(side, job, tokens, dense)
    best = max(tokens, key=lambda mask: (results[label(mask)].accuracies[-1], -mask.tokens))
    pieces = [prune_mask(best, scores, Keep(best.tokens, count)) for count in job.keep_pieces]
    results |= _retrained(side, job, pieces, dense)
    return Outcome(
        seconds=dict(side.stopwatch.seconds),
        calls=dict(side.stopwatch.calls),
        accuracies={name: learned.accuracies[-1] for name, learned in results.items()},
        updates=sum(learned.updates for learned in results.values()),
        evaluations=sum(len(learned.accuracies) for learned in results.values()),
        start_loss=dense.losses[0],
        start_digest=values_digest(start.values),
        rows_digest=rows_digest(side),
        held_mib=held,
        peak_mib=peak(job.device),
    )


def values_digest(values: Tensor) -> str:
    """sha256 of prompt values."""
    return hashlib.sha256(values.float().cpu().numpy().tobytes()).hexdigest()


def rows_digest(side: Side) -> str:
    """sha256 of the training rows as a side has them."""
    return hashlib.sha256(repr(sorted(map(tuple, side.ids()))).encode()).hexdigest()


def label(mask: Mask) -> str:
    """How a pruned prompt is named in the results."""
    pieces = int(mask.piece.sum(dim=1).max())
    return f"{mask.tokens} tokens x {pieces} pieces"


def signed_slopes(values: Tensor, gradient: Tensor, pieces: int) -> tuple[Tensor, Tensor]:
    """dL/dgamma [P] and dL/dzeta [P, K] of one example, from the prompt's values and gradient [P, H]."""
    piece = (values * gradient).unflatten(1, (pieces, -1)).sum(-1)
    return piece.sum(-1), piece


def zero_head(choices: int, width: int) -> dict[str, Tensor]:
    """The head that every side starts from."""
    return {"weight": torch.zeros(choices, width), "bias": torch.zeros(choices)}


def _warm_up(side: Side, start: Start) -> None:
    """One update, evaluation and score."""
    side.train([start], 1, DENSE)
    side.score(start)


def _retrained(side: Side, job: Job, masks: Sequence[Mask], dense: RoundResult) -> dict[str, RoundResult]:
    """Every mask retrained from the dense prompt's trained values, by name."""
    starts = [Start(mask, dense.values, dense.head) for mask in masks]
    learned = side.train(starts, job.retrain_steps, RETRAIN)
    return {label(mask): result for mask, result in zip(masks, learned, strict=True)}
