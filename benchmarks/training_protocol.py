"""A training and nothing else: one prompt, so many epochs, no evaluation before its end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from benchmarks.measure import peak
from benchmarks.presets import Job
from benchmarks.protocol import DENSE, SCORE, Side, begun, rows_digest, values_digest


@dataclass(frozen=True)
class TrainingOutcome:
    """What one side made of a training.

    Attributes:
        seconds: by phase; texts that are kept are read in "dense". "score" is there where a side scores many training
            rows in a pass.
        update_seconds: of each update but the first.
        accuracy: on validation, after the last update.
        first_loss: mean over the first batch's worth of training rows, before any update.
        start_digest: of the starting values as the side had them.
        rows_digest: of the training rows as the side had them.
        held_mib: memory before the training.
        peak_mib: the most during it.
    """

    seconds: dict[str, float]
    update_seconds: list[float]
    updates: int
    accuracy: float
    first_loss: float
    start_digest: str
    rows_digest: str
    held_mib: float
    peak_mib: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def perform_training(side: Side, job: Job) -> TrainingOutcome:
    """`job.epochs` epochs by one side; scores, accuracy and first loss are found when the peak has been read."""
    start, held = begun(side, job, lambda side, start: side.train_alone(start, 1, DENSE))
    learned = side.train_alone(start, job.epochs * job.epoch_steps, DENSE)
    most = peak(job.device)
    end = replace(start, values=learned.values, head=learned.head)
    if side.scores_many_at_once:
        with side.stopwatch(SCORE):
            side.score(end)
    return TrainingOutcome(
        accuracy=side.accuracy(end),
        first_loss=side.loss(start, job.batch_size),
        seconds=dict(side.stopwatch.seconds),
        update_seconds=[after - before for before, after in pairwise(learned.moments)],
        updates=learned.updates,
        start_digest=values_digest(start.values),
        rows_digest=rows_digest(side),
        held_mib=held,
        peak_mib=most,
    )
