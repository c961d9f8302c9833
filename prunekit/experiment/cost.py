"""What trainings cost, from how fast a few updates were: minutes by part, and what they are spent on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prunekit.experiment.dry_run import Part
from prunekit.experiment.pace import Pace
from prunekit.experiment.prepare import Prepared


@dataclass(frozen=True)
class Workload:
    """How much each ticket is trained, and on how many examples.

    Attributes:
        steps: optimiser updates at most.
        every: updates between evaluations.
        patience: evaluations without a better one before a ticket stops.
        train: examples; so validation and test.
    """

    steps: int
    every: int
    patience: int
    train: int
    validation: int
    test: int

    @classmethod
    def of(cls, prepared: Prepared) -> Workload:
        """That of an experiment."""
        plan, sizes = prepared.plan, [len(rows) for rows in prepared.rows]
        return cls(plan.train_steps, plan.evaluate_every, plan.patience, *sizes)

    def least(self) -> Workload:
        """The same where every ticket does best at its first evaluation, and stops as early as it may."""
        return replace(self, steps=min(self.steps, (self.patience + 1) * self.every))

    def evaluations(self, share: float) -> int:
        """How often a ticket that makes this share of the updates is evaluated on validation, the start included."""
        return 1 + round(share * -(-self.steps // self.every))


@dataclass(frozen=True)
class Cost:
    """Minutes of a part, by what they are spent on."""

    training: float
    evaluation: float
    scoring: float

    @property
    def minutes(self) -> float:
        """All of them."""
        return self.training + self.evaluation + self.scoring


def costs(parts: Sequence[Part], workload: Workload, pace: Pace) -> list[Cost]:
    """What is left of each part costs, where no ticket stops early.

    Tickets side by side take as long as one after another: what counts is how much goes through the model.
    """
    return [_cost(part, workload, pace) for part in parts]


def _cost(part: Part, workload: Workload, pace: Pace) -> Cost:
    share = pace.shortened(part.prompt_tokens) if part.row_tokens is None else pace.share(part.row_tokens)
    each = part.left * share / 60
    examples = workload.validation * workload.evaluations(part.share) + workload.test * part.tested
    answers = (workload.validation + workload.test) * part.tested
    return Cost(
        training=each * workload.steps * part.share * pace.update,
        evaluation=each * (examples * pace.evaluation + answers * pace.writing),
        scoring=each * workload.train * part.scored * pace.scoring,
    )
