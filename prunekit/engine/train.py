"""The one training loop: a cohort through the frozen model, every member with its own order, optimiser and end."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.distributed import evaluate, team
from prunekit.engine.evaluate import Evaluation
from prunekit.engine.optimizer import MemberOptimizer, Plan
from prunekit.engine.order import Order
from prunekit.engine.parts import in_parts
from prunekit.models import Encoded, FrozenModel
from prunekit.pruning.ticket import Ticket, Values
from prunekit.support.seeding import seed_of


@dataclass(frozen=True)
class TrainingData:
    """What a prompt is trained on and chosen on.

    Attributes:
        measure: chosen places [N] on validation -> metrics by name; the first is the one that chooses. Where there are
            none, as of answers that are written, the loss chooses.
    """

    train: Sequence[Encoded]
    validation: Sequence[Encoded]
    measure: Callable[[list[int]], dict[str, float]]


@dataclass(frozen=True)
class LogEntry:
    """One logged number: optimiser updates so far, split, metric name, value."""

    step: int
    split: str
    metric: str
    value: float


@dataclass(frozen=True)
class Checkpoint:
    """Values after `step` updates, and their evaluation on validation: losses, chosen, scores [N], and metrics.

    The evaluation is None where it never came to one.
    """

    step: int
    values: Values
    evaluation: Evaluation | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """What training made of one ticket.

    Attributes:
        best: its best evaluation on validation (ties: the lower loss, then the earliest); where it never came to one,
            the start.
        last: its last evaluation.
        steps: updates made.
        snapshots: values at the steps that were named.
        diverged: what became NaN or infinite, where and when, or None.
        dropped_at: the step at which `cull` ended it.
    """

    ticket: Ticket
    best: Checkpoint
    last: Checkpoint
    steps: int
    snapshots: dict[int, Values]
    log: tuple[LogEntry, ...]
    diverged: str | None
    dropped_at: int | None = None


@dataclass(frozen=True)
class Standing:
    """Where a member stands after an evaluation.

    Attributes:
        loss: of training since the evaluation before, nats; NaN where there was no update since.
        reached: what chooses, as `reached` gives it.
        best: the same, at its best so far.
        waited: evaluations since the best.
    """

    loss: float
    reached: float
    best: float
    waited: int


@dataclass(frozen=True)
class MemberState:
    """A member in the midst of its training, right after an evaluation: all that it takes to go on to the same bytes.

    Its order of examples is none of it, which is a function of seed, round and step.

    Attributes:
        optimizer: what the optimiser remembers, by the number of the parameter and then by name.
        ended: as `Trained`: what diverged, and the step at which `cull` ended it.
    """

    values: Values
    optimizer: Mapping[int, Mapping[str, Any]]
    best: Checkpoint
    last: Checkpoint
    steps: int
    snapshots: Mapping[int, Values]
    log: tuple[LogEntry, ...]
    active: bool
    ended: tuple[str | None, int | None]


@dataclass(frozen=True)
class TrainingState:
    """A cohort in the midst of its training, after `step` updates."""

    step: int
    members: tuple[MemberState, ...]


@dataclass(frozen=True)
class Midway:
    """What a training goes on from, and what becomes of its own state.

    Attributes:
        state: of an earlier training of the same cohort; None to begin anew.
        keep: called after every evaluation with what gives the state, for whoever wants to keep it.
    """

    state: TrainingState | None = None
    keep: Callable[[Callable[[], TrainingState]], None] = lambda state: None


#: (step, standings by member, None for those that ended badly) -> places of those that leave.
Cull = Callable[[int, Sequence[Standing | None]], Collection[int]]


def train(  # noqa: PLR0913 (whoever calls it says how, what is seen of it, and from where it goes on)
    cohort: Sequence[Ticket],
    model: FrozenModel,
    data: TrainingData,
    plan: Plan,
    *,
    snapshots: Sequence[int] = (),
    tick: Callable[[int], None] = lambda step: None,
    width: int | None = None,
    cull: Cull = lambda step, standings: (),
    midway: Midway = Midway(),
) -> list[Trained]:
    """Train every ticket of a cohort; nothing but their own prompts and heads moves.

    Args:
        snapshots: steps (updates made) at which values are copied.
        tick: called with the updates made.
        width: how many go through the model at once, all of one kind of prompt where it is None.
        cull: says after every evaluation which members are trained no further (successive halving).
        midway: where an earlier training of the same cohort stood, and who keeps how far this one is.

    Where this process has joined a group, it reads its part of every batch.
    """
    learners = [_Learner(ticket, plan, model.device, set(snapshots)) for ticket in cohort]
    if midway.state is None:
        _evaluate(learners, model, data, 0, width)
    else:
        for learner, member in zip(learners, midway.state.members, strict=True):
            learner.go_on(member)
    for step in range(midway.state.step if midway.state else 0, plan.train_steps):
        active = [learner for learner in learners if learner.active]
        if not active:
            break
        for group in _groups(active, width):
            _update(group, model, data, plan, step)
        if (step + 1) % plan.evaluate_every == 0 or step + 1 == plan.train_steps:
            _evaluate([learner for learner in active if learner.active], model, data, step + 1, width)
            for index in cull(step + 1, [learner.standing for learner in learners]):
                learners[index].drop(step + 1)
            midway.keep(partial(_state, learners, step + 1))
        tick(step + 1)
    return [learner.trained() for learner in learners]


@dataclass
class _Learner:
    """One member in training: its module, optimiser, records and whether it still learns."""

    ticket: Ticket
    plan: Plan
    device: torch.device
    snapshot_steps: set[int]
    log: list[LogEntry] = field(default_factory=list)
    snapshots: dict[int, Values] = field(default_factory=dict)
    recent: list[float] = field(default_factory=list)
    steps: int = 0
    active: bool = True
    diverged: str | None = None
    dropped_at: int | None = None

    def __post_init__(self) -> None:
        self.member = Member(self.ticket, self.device)
        self.member.masked.requires_grad_(self.plan.train_prompt)
        self.optimizer = MemberOptimizer(self.member, self.plan)
        self.order = Order(self.plan.batch_size, self.ticket.seed, self.ticket.round)
        self.best = self.last = Checkpoint(0, self.member.values())
        self._snapshot()

    def step(self, loss: float) -> None:
        """One update from the gradients as they stand."""
        self.member.freeze()
        norm = nn.utils.clip_grad_norm_(self.member.parameters(), self.plan.clip_norm)  # frozen ones have no gradient
        if not torch.isfinite(norm):
            self.stop(f"the gradient of the prompt became {float(norm)} at step {self.steps + 1}")
            return
        self.optimizer.step(self.steps)
        self.member.freeze()  # weight decay moves what has no gradient too
        self.steps += 1
        self.recent.append(loss)
        self._snapshot()

    def record(self, evaluation: Evaluation, metrics: dict[str, float], step: int) -> None:
        """An evaluation on validation: log it, keep the values if it is the best so far, count patience."""
        loss = float(evaluation.losses.mean())
        if not math.isfinite(loss):
            self.stop(f"the validation loss became {loss} at step {step}")
            return
        if self.recent:
            self.log.append(LogEntry(step, "train", "loss", sum(self.recent) / len(self.recent)))
            self.recent = []
        self.log.append(LogEntry(step, "validation", "loss", loss))
        self.log += [LogEntry(step, "validation", name, value) for name, value in metrics.items()]
        self.last = Checkpoint(step, self.member.values(), evaluation, metrics)
        # what nothing was learned for is shown, but gives way to the first evaluation after an update
        if self.best.step == 0 or _rank(self.last) > _rank(self.best):
            self.best = self.last
        self.active = step == 0 or self._waited < self.plan.patience

    def stop(self, reason: str) -> None:
        """Leave the batch for good, with the last good state."""
        self.diverged, self.active = reason, False

    def drop(self, step: int) -> None:
        """Leave the batch because others did better."""
        self.dropped_at, self.active = step, False

    @property
    def standing(self) -> Standing | None:
        """None for who diverged or was dropped."""
        if self.diverged or self.dropped_at is not None:
            return None
        loss = next((entry.value for entry in reversed(self.log) if entry.split == "train"), math.nan)
        return Standing(loss, reached(self.last), reached(self.best), self._waited)

    def trained(self) -> Trained:
        """The records as they are handed out."""
        log, ends = tuple(self.log), (self.diverged, self.dropped_at)
        return Trained(self.ticket, self.best, self.last, self.steps, self.snapshots, log, *ends)

    def state(self) -> MemberState:
        """All that goes into its further training."""
        records = (self.best, self.last, self.steps, dict(self.snapshots), tuple(self.log), self.active)
        return MemberState(
            self.member.values(), self.optimizer.state(), *records, ended=(self.diverged, self.dropped_at)
        )

    def go_on(self, state: MemberState) -> None:
        """Stand where a training of the same ticket stood."""
        self.member.set(state.values)
        self.optimizer.go_on(state.optimizer)
        self.best, self.last, self.steps = state.best, state.last, state.steps
        self.snapshots, self.log, self.active = dict(state.snapshots), list(state.log), state.active
        self.diverged, self.dropped_at = state.ended

    @property
    def _waited(self) -> int:
        """Evaluations since the best."""
        return (self.last.step - self.best.step) // self.plan.evaluate_every

    def _snapshot(self) -> None:
        if self.steps in self.snapshot_steps:
            self.snapshots[self.steps] = self.member.values()


def _state(learners: Sequence[_Learner], step: int) -> TrainingState:
    return TrainingState(step, tuple(learner.state() for learner in learners))


def _update(learners: Sequence[_Learner], model: FrozenModel, data: TrainingData, plan: Plan, step: int) -> None:
    """One optimiser update of every learner; one whose loss is not finite stops without touching the others."""
    members = [learner.member for learner in learners]
    rows = [learner.order.draw(data.train, step) for learner in learners]
    losses = _dropped_out(learners, rows, model, step) if plan.model_dropout else _in_parts(members, rows, model)
    team().add(losses)
    values = losses.tolist()
    if any(map(math.isfinite, values)):
        team().add_gradients(members)
    for learner, value in zip(learners, values, strict=True):
        if math.isfinite(value):
            learner.step(value)
        else:
            learner.stop(f"the training loss became {value} at step {step + 1}")
        learner.member.zero_grad(set_to_none=True)


def _in_parts(members: Sequence[Member], rows: Sequence[Sequence[Encoded]], model: FrozenModel) -> Tensor:
    """[S], the losses of the rows of this process, whose gradients are added; in parts of like length."""
    share = [team().part(examples) for examples in rows]
    parts = in_parts(share, model, max(int(member.ticket.mask.token.sum()) for member in members))
    return torch.stack([_backward(members, model, part, len(rows[0])) for part in parts]).sum(dim=0)


def _dropped_out(
    learners: Sequence[_Learner], rows: Sequence[Sequence[Encoded]], model: FrozenModel, step: int
) -> Tensor:
    """The same with dropout: each member by itself and all its rows in one draw, whoever else is trained."""
    losses = []
    for learner, examples in zip(learners, rows, strict=True):
        with _dropout(model, learner, step):
            losses.append(_backward([learner.member], model, [examples], len(examples)))
    return torch.cat(losses)


def _backward(members: Sequence[Member], model: FrozenModel, rows: Sequence[Sequence[Encoded]], whole: int) -> Tensor:
    """[S] what rows add to each member's loss, the mean over the `whole` batch; their gradients are added likewise."""
    batch = model.batch(rows, every_choice=False)
    losses = model.losses(prompt_batch(members), batch).sum(dim=1) / whole
    losses.where(losses.isfinite(), 0.0).sum().backward()
    return losses.detach()


def _groups(learners: Sequence[_Learner], width: int | None) -> Iterator[Sequence[_Learner]]:
    """As many at once as go through the model together: of one kind of prompt."""
    for _, alike in groupby(learners, key=lambda learner: type(learner.member.masked.prompt)):
        group = list(alike)
        step = width or len(group)
        yield from (group[start : start + step] for start in range(0, len(group), step))


def _evaluate(
    learners: Sequence[_Learner], model: FrozenModel, data: TrainingData, step: int, width: int | None
) -> None:
    for group in _groups(learners, width) if learners else ():
        with torch.no_grad():
            prompts = prompt_batch([learner.member for learner in group])
        result = evaluate(prompts, model, data.validation)
        for index, learner in enumerate(group):
            member = Evaluation(result.losses[index], result.chosen[index], result.scores[index])
            learner.record(member, data.measure(member.chosen.tolist()), step)


def rank(metrics: Mapping[str, float], loss: float) -> tuple[float, float]:
    """What the better of two evaluations has more of: the primary metric where there is one, then minus the loss."""
    return next(iter(metrics.values()), -loss), -loss


def reached(checkpoint: Checkpoint) -> float:
    """What chooses among tickets, more is better: the primary metric on validation, or minus the loss."""
    return _rank(checkpoint)[0]


def _rank(checkpoint: Checkpoint) -> tuple[float, float]:
    assert checkpoint.evaluation is not None, "only what came to an evaluation is ranked"
    return rank(checkpoint.metrics, float(checkpoint.evaluation.losses.mean()))


@contextmanager
def _dropout(model: FrozenModel, learner: _Learner, step: int) -> Iterator[None]:
    """The model's own dropout for one pass; its random numbers are named like all others."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_of("dropout", learner.ticket.seed, learner.ticket.round, step))
        model.model.train()
        try:
            yield
        finally:
            model.model.eval()
