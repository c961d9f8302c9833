"""Cohorts at work on a run: what is done already is loaded; the rest is trained, judged, scored and committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch

from prunekit.engine import memory
from prunekit.engine.cohort import Member, soft
from prunekit.engine.distributed import evaluate
from prunekit.engine.evaluate import Evaluation
from prunekit.engine.gradient_scores import NOT_FINITE, Kind, all_scores, scoring_batches
from prunekit.engine.optimizer import Plan
from prunekit.engine.train import Checkpoint, Cull, Trained, train
from prunekit.experiment import environment
from prunekit.experiment.prepare import Prepared
from prunekit.pruning.lottery import RoundResult
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket
from prunekit.runs import round_files, round_record
from prunekit.runs.paths import RunKey
from prunekit.runs.round_record import RoundRecord
from prunekit.runs.run import Files, Run
from prunekit.support.errors import ArtifactError


class Progress(Protocol):
    """Whoever looks on: lines of text, and the progress of long work."""

    def say(self, line: str) -> None:
        """One line."""

    def track(self, title: str, total: int, unit: str = "updates") -> AbstractContextManager[Callable[[int], None]]:
        """Work of `total` steps, each a `unit`; call what comes back with the steps done."""


@dataclass(frozen=True)
class RoundSpec:
    """What is done with a cohort.

    Attributes:
        title: for the progress bar.
        plan: how it is trained.
        snapshots: steps whose values are kept.
        test: whether the test split is looked at.
        score: whether importance is measured.
        cull: makes, from the cohort's places, the rule by which members are dropped while they train; the whole cohort
            is then trained and committed as one.
    """

    title: str
    plan: Plan
    snapshots: Sequence[int] = ()
    test: bool = True
    score: bool = True
    cull: Callable[[Sequence[RunKey]], Cull] | None = None


@dataclass(frozen=True)
class TrainedMember(RoundResult):
    """A learned ticket with all that is written about it.

    Attributes:
        trained: its training.
        kept_at: the checkpoint whose values were kept.
        test: its one look at the test split, None where it had none.
        importance: scores of every kind, empty where it has none.
        timing: seconds and rates.
    """

    trained: Trained
    kept_at: Checkpoint
    test: Evaluation | None
    importance: Mapping[Kind, Scores]
    timing: dict[str, float]


class _Judged(NamedTuple):
    """The look at the test split and all scores of a finished ticket, or why there are none."""

    test: Evaluation | None
    importance: Mapping[Kind, Scores]
    diverged: str | None


class RoundRunner:
    """The turns of one run. `loaded` counts the members that were done before."""

    def __init__(self, directory: Run, prepared: Prepared, watch: Progress) -> None:
        self.directory, self.prepared, self.watch = directory, prepared, watch
        self.loaded = 0

    def learn(self, members: Mapping[RunKey, Ticket], turn: RoundSpec) -> dict[RunKey, RoundResult]:
        """Train every member, in cohorts; each cohort is committed as soon as it is finished, or loaded if it was."""
        width = len(members) if turn.cull else self.prepared.width
        learned: dict[RunKey, RoundResult] = {}
        cohorts = packed(members, width)
        for number, cohort in enumerate(cohorts, start=1):
            if self.directory.done(cohort):
                learned |= {key: self._load(key, members[key]) for key in cohort}
                continue
            part = f" ({number} of {len(cohorts)})" if len(cohorts) > 1 else ""
            tickets = [members[key] for key in cohort]
            done = self._train(cohort, tickets, replace(turn, title=turn.title + part))
            contents = [
                round_record.content(self._outcome(ticket, one)) for ticket, one in zip(tickets, done, strict=True)
            ]
            self._record(cohort)
            self.directory.commit(
                [Files(*row) for row in zip(cohort, contents, (one.timing for one in done), strict=True)]
            )
            learned |= dict(zip(cohort, done, strict=True))
        return learned

    def finish(self, chosen: Mapping[RunKey, RunKey]) -> None:
        """Look at the test split with tickets that were chosen among others, and score them.

        Args:
            chosen: new place -> the place of the finished round that it is a copy of.
        """
        tickets = {new: self.finished(old) for new, old in chosen.items()}
        for cohort in packed(tickets, self.prepared.width):
            if self.directory.done(cohort):
                self.loaded += len(cohort)
                continue
            began = time.perf_counter()
            kept = [tickets[key] for key in cohort]
            judged = self._judged(kept, test=True, score=True)
            timing = {"seconds": time.perf_counter() - began, "members": len(cohort)}
            splits, task = self.prepared.splits, self.prepared.task
            files = []
            for key, (test, scores, diverged) in zip(cohort, judged, strict=True):
                metrics = {} if test is None else task.score(splits.test, test.chosen.tolist())
                looked = round_record.TestEvaluation(splits.test, test, metrics, scores, diverged)
                content = round_record.chosen(self.directory, chosen[key], looked)
                files.append(Files(key, content, timing))
            self._record(cohort)
            self.directory.commit(files)

    def scores(self, kept: Sequence[Ticket]) -> list[dict[Kind, Scores]]:
        """Every kind of importance of finished tickets, on the training examples."""
        model = self.prepared.model
        return all_scores(kept, model, scoring_batches(model, self.prepared.lessons.train))

    def finished(self, key: RunKey) -> Ticket:
        """The ticket of a finished round: its mask and the values that were kept."""
        return round_files.finished_ticket(self.directory, key)

    def _record(self, cohort: Sequence[RunKey]) -> None:
        """Under which versions and on which machine the rounds of a cohort are made."""
        environment.record(self.directory, cohort, self.prepared.experiment.machine.device)

    def _load(self, key: RunKey, ticket: Ticket) -> RoundResult:
        kind = self.prepared.experiment.pruning.score
        found, learned = round_files.load(self.directory, key, kind, self.prepared.task.metrics[0])
        if found != ticket:
            raise ArtifactError(
                f"{self.directory.folder(key)}: made from another ticket than the rounds before it give; delete it "
                "and run again"
            )
        self.loaded += 1
        return learned

    def _train(self, cohort: Sequence[RunKey], tickets: Sequence[Ticket], turn: RoundSpec) -> list[TrainedMember]:
        """Train a cohort; look at the test split once, score what was kept, where the turn asks for it."""
        prepared = self.prepared
        began = time.perf_counter()
        with self.watch.track(turn.title, turn.plan.train_steps) as tick:
            trained = train(
                tickets,
                prepared.model,
                prepared.lessons,
                turn.plan,
                snapshots=turn.snapshots,
                tick=tick,
                width=self.prepared.width,
                cull=turn.cull(cohort) if turn.cull else lambda step, standings: (),
            )
        training = time.perf_counter() - began
        kept_at = [one.last if prepared.experiment.training.keep == "last" else one.best for one in trained]
        sound = [key for key, one in enumerate(trained) if one.diverged is None and one.dropped_at is None]
        kept = [tickets[key].at(kept_at[key].values) for key in sound]
        judged = dict(zip(sound, self._judged(kept, test=turn.test, score=turn.score), strict=True))
        for key, found in judged.items():
            trained[key] = replace(trained[key], diverged=found.diverged)
        timing = self._timing(trained, training, time.perf_counter() - began)
        kind, metric = prepared.experiment.pruning.score, prepared.task.metrics[0]
        return [
            TrainedMember(
                kept=kept_at[key].values,
                validation=kept_at[key].metrics[metric] if key in sound and one.diverged is None else None,
                scores=judged[key].importance.get(kind) if key in judged else None,
                snapshots=one.snapshots,
                trained=one,
                kept_at=kept_at[key],
                test=judged[key].test if key in judged else None,
                importance=judged[key].importance if key in judged else {},
                timing=timing,
            )
            for key, one in enumerate(trained)
        ]

    def _judged(self, kept: Sequence[Ticket], *, test: bool, score: bool) -> list[_Judged]:
        """What is measured of finished tickets. One for which anything is not finite ends here; the others go on."""
        reports = self._test(kept) if kept and test else [None] * len(kept)
        importance = self.scores(kept) if kept and score else [{} for _ in kept]
        found = []
        for one, scores in zip(reports, importance, strict=True):
            if one is not None and not torch.isfinite(one.losses).all():
                found.append(_Judged(None, {}, "a loss on the test split became NaN or infinite"))
            elif score and not scores:
                found.append(_Judged(None, {}, NOT_FINITE))
            else:
                found.append(_Judged(one, scores, None))
        return found

    def _test(self, kept: Sequence[Ticket]) -> list[Evaluation]:
        model = self.prepared.model
        with torch.no_grad():
            prompts = soft([Member(ticket, model.device) for ticket in kept])
        result = evaluate(prompts, model, self.prepared.test)
        return [Evaluation(*row) for row in zip(result.losses, result.chosen, result.scores, strict=True)]

    def _outcome(self, ticket: Ticket, learned: TrainedMember) -> RoundRecord:
        """What is written about one member's round."""
        prepared = self.prepared
        splits, task = prepared.splits, prepared.task
        test = {} if learned.test is None else task.score(splits.test, learned.test.chosen.tolist())
        return RoundRecord(
            ticket=ticket,
            trained=learned.trained,
            kept_at=learned.kept_at,
            importance=learned.importance,
            validation=splits.validation,
            test=splits.test,
            test_evaluation=learned.test,
            test_metrics=test,
            majority={"validation": task.majority(splits.validation), "test": task.majority(splits.test)},
            pruned_by=prepared.experiment.pruning.score if ticket.round else None,
            run=prepared.id,
        )

    def _timing(self, trained: Sequence[Trained], training: float, whole: float) -> dict[str, float]:
        """Of the whole cohort: it goes through the model as one."""
        examples = sum(one.steps for one in trained) * self.prepared.plan.batch_size
        return {
            "seconds": whole,
            "training_seconds": training,
            "examples_per_second": examples / training,
            "peak_memory_mb": memory.peak_memory_mb(),
            "members": len(trained),
        }


# Members of one length stand in the order that their controls' first names gave. It decides how sums are rounded, so
# another order would end in other last bits.
_ORDER = {"reinit": "fresh", "short-prompt": "length", "complement": "reversed"}


def packed(members: Mapping[RunKey, Ticket], width: int) -> list[list[RunKey]]:
    """Cohorts of at most `width`: members with as many tokens side by side, so that few rows are padding.

    A function of the members alone, so that a resumed run cuts them alike.
    """

    def order(key: RunKey) -> tuple[int, RunKey]:
        stage = key.stage.top.inside(_ORDER.get(key.stage.arm, key.stage.arm))
        return -members[key].mask.tokens, key._replace(stage=stage)

    ordered = sorted(members, key=order)
    return [ordered[start : start + width] for start in range(0, len(ordered), width)]
