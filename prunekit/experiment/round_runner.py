"""The rounds of a run, cohort by cohort: finished ones are loaded, others trained, evaluated, scored, committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import NamedTuple, Protocol

import torch

from prunekit.engine import memory
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.direction_probe import DirectionProbe
from prunekit.engine.distributed import answer
from prunekit.engine.evaluate import Evaluation
from prunekit.engine.gradient_scores import NOT_FINITE, all_scores, scoring_batches
from prunekit.engine.optimizer import Plan
from prunekit.engine.probe import TicketProbe
from prunekit.engine.train import Checkpoint, Cull, Midway, Trained, reached, train
from prunekit.experiment import environment, prefix
from prunekit.experiment.prepare import Prepared
from prunekit.experiment.pruned_levels import pruned_levels
from prunekit.experiment.request_timer import RequestTimer
from prunekit.experiment.round_watch import RoundWatch, TimeLeft
from prunekit.experiment.training_in_progress import TrainingInProgress
from prunekit.models import Batch, Encoded
from prunekit.prompts import methods
from prunekit.pruning.controls import CONTROLS
from prunekit.pruning.lottery import RoundResult
from prunekit.pruning.scores import Score, Scores
from prunekit.pruning.ticket import Ticket
from prunekit.runs import round_files, round_record
from prunekit.runs.paths import SCORES, RunKey, Stage
from prunekit.runs.round_record import RoundRecord
from prunekit.runs.run import Files, Run
from prunekit.support.errors import ArtifactError
from prunekit.support.terminal import Tick
from prunekit.tasks.drawn import drawn


class Progress(Protocol):
    """Where a run reports lines of text and the progress of long work."""

    def say(self, line: str) -> None:
        """Print one line."""

    def track(self, title: str, total: int, unit: str = "updates") -> AbstractContextManager[Tick]:
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
        cull: makes, from the cohort's run keys, the rule by which members are dropped while they train; all members
            are then trained and committed as one cohort.
    """

    title: str
    plan: Plan
    snapshots: Sequence[int] = ()
    test: bool = True
    score: bool = True
    cull: Callable[[Sequence[RunKey]], Cull] | None = None


@dataclass(frozen=True)
class TrainedMember(RoundResult):
    """A trained ticket with all that is written about it.

    Attributes:
        trained: its training.
        kept_at: the checkpoint whose values were kept.
        validation_answers: what is written about its evaluation on validation, at the kept values.
        test: its one evaluation on the test split, None where it had none.
        importance: scores of every kind, empty where it has none.
        timing: seconds and rates.
    """

    trained: Trained
    kept_at: Checkpoint
    validation_answers: Evaluation | None
    test: Evaluation | None
    importance: Mapping[str, Scores]
    timing: dict[str, float]


class _Measurement(NamedTuple):
    """Test evaluation and scores of a finished ticket, or why there are none; what it wrote to validation, if so."""

    validation: Evaluation | None
    test: Evaluation | None
    importance: Mapping[str, Scores]
    diverged: str | None


class RoundRunner:
    """Trains and commits the rounds of one run.

    Attributes:
        directory: the run.
        prepared: its experiment.
        progress: where lines and progress go.
        loaded: how many members were finished before.
        left: how long all takes yet, where it is known what all is.
    """

    def __init__(self, directory: Run, prepared: Prepared, progress: Progress) -> None:
        self.directory, self.prepared, self.progress = directory, prepared, progress
        self.loaded, self.left = 0, TimeLeft()
        self._requests = RequestTimer(prepared.model)

    def learn(self, members: Mapping[RunKey, Ticket], spec: RoundSpec) -> dict[RunKey, RoundResult]:
        """Train every member, in cohorts; each cohort is committed as soon as it is finished, or loaded if it was."""
        results: dict[RunKey, RoundResult] = {}
        cohorts = [packing_order(members)] if spec.cull else pack_cohorts(members, self.prepared.width)
        for number, cohort in enumerate(cohorts, start=1):
            if self.directory.done(cohort):
                results |= {key: self._load(key, members[key]) for key in cohort}
                continue
            part = f" ({number} of {len(cohorts)})" if len(cohorts) > 1 else ""
            tickets = [members[key] for key in cohort]
            trained = self._train(cohort, tickets, replace(spec, title=spec.title + part))
            contents = [
                round_record.content(self._round_record(ticket, member))
                for ticket, member in zip(tickets, trained, strict=True)
            ]
            self._record(cohort)
            self.directory.commit(
                [Files(*row) for row in zip(cohort, contents, (member.timing for member in trained), strict=True)]
            )
            self.directory.forget_training()
            results |= dict(zip(cohort, trained, strict=True))
        return results

    def finish(self, chosen: Mapping[RunKey, RunKey]) -> None:
        """Evaluate tickets that were chosen among others on the test split, and score them.

        Args:
            chosen: new run key -> the run key of the finished round that it copies.
        """
        tickets = {key: self.finished(source) for key, source in chosen.items()}
        for cohort in pack_cohorts(tickets, self.prepared.width):
            if self.directory.done(cohort):
                self.loaded += len(cohort)
                continue
            started = time.perf_counter()
            finished = [tickets[key] for key in cohort]
            measurements = self._measure(finished, test=True, score=True)
            timing = {"seconds": time.perf_counter() - started, "members": len(cohort)}
            of_requests = self._requests.of(finished)
            splits, task = self.prepared.splits, self.prepared.task
            files = []
            for key, measured, of_request in zip(cohort, measurements, of_requests, strict=True):
                evaluation = round_record.TestEvaluation(task, splits, *measured)
                content = round_record.chosen(self.directory, chosen[key], evaluation)
                files.append(Files(key, content, timing | of_request))
            self._record(cohort)
            self.directory.commit(files)

    def scores(self, finished: Sequence[Ticket]) -> list[dict[str, Scores]]:
        """Every score of finished tickets by name, on the training examples."""
        model, train = self.prepared.model, self.prepared.training_data.train
        with self.progress.track("scoring", len(train), "examples") as tick:
            return all_scores(finished, model, _ticking(scoring_batches(model, train), tick))

    def finder_scores(self, key: RunKey, stage: Stage) -> Scores | None:
        """What the score that prunes says of a finished round, found in the stage or measured and written there.

        None where it is not finite.
        """
        place = RunKey(stage.scored, key.seed, key.round)
        finder = self.prepared.experiment.pruning.finder
        if self.directory.done([place]):
            return round_files.load_scores(self.directory, place)[finder.name]
        started = time.perf_counter()
        probe = self._probe(key, stage)
        with self.progress.track(f"scoring by {finder.name}", 1, "prompts") as tick:
            scores = finder.score(probe)
            tick(1)
        if not (torch.isfinite(scores.token).all() and torch.isfinite(scores.piece).all()):
            self.progress.say(f"seed {key.seed} stopped: {NOT_FINITE}")
            return None
        content = {SCORES: round_record.packed_scores({finder.name: scores})}
        self._record([place])
        self.directory.commit([Files(place, content, {"seconds": time.perf_counter() - started})])
        self.progress.say(_cost_line(key, finder, probe, scores))
        return scores

    def _probe(self, key: RunKey, stage: Stage) -> TicketProbe:
        """Of a finished round, on the training examples, at the levels at which anything is pruned."""
        prepared, experiment = self.prepared, self.prepared.experiment
        ticket = self.finished(key)
        rows = drawn(prepared.training_data.train, experiment.pruning.score_examples)
        start = round_files.starting_ticket(self.directory, key)
        keep = None if stage.verb == "search" else experiment.keeps()[key.round]
        if experiment.unit(stage.verb) == "directions":
            return DirectionProbe(ticket, prepared.model, rows, start=start, keep=keep)
        levels = pruned_levels(experiment, stage.verb)
        return TicketProbe(ticket, prepared.model, rows, levels, start=start, keep=keep)

    def finished(self, key: RunKey) -> Ticket:
        """The ticket of a finished round: its mask and the values that were kept."""
        return round_files.finished_ticket(self.directory, key)

    def _record(self, cohort: Sequence[RunKey]) -> None:
        """Write down versions and machine that the rounds of a cohort are made with."""
        environment.record(self.directory, cohort, self.prepared.experiment.machine.device)

    def _load(self, key: RunKey, ticket: Ticket) -> RoundResult:
        kind = self.prepared.experiment.pruning.finder.name
        saved, result = round_files.load(self.directory, key, kind, self.prepared.task.chosen_by)
        if saved != ticket:
            raise ArtifactError(
                f"{self.directory.folder(key)}: made from another ticket than the rounds before it give; delete it "
                "and run again"
            )
        self.loaded += 1
        return result

    def _train(self, cohort: Sequence[RunKey], tickets: Sequence[Ticket], spec: RoundSpec) -> list[TrainedMember]:
        """Train a cohort, then evaluate it on the test split once and score it, as the spec says."""
        prepared = self.prepared
        started = time.perf_counter()
        kept = self._in_progress(cohort, tickets, spec)
        state = kept.load(self.progress.say)
        with self.progress.track(spec.title, spec.plan.train_steps) as tick:
            watch = RoundWatch(tick, spec.plan, prepared.task.chosen_by, len(tickets), self.left)
            watch.skip(state.step if state else 0)
            trained = train(
                tickets,
                prepared.model,
                prepared.training_data,
                spec.plan,
                snapshots=spec.snapshots,
                tick=watch.tick,
                width=self.prepared.width,
                cull=watch.hearing(spec.cull(cohort) if spec.cull else None),
                midway=Midway(state, kept.keep),
            )
            watch.end()
        started -= kept.seconds
        training_seconds = time.perf_counter() - started
        kept_at = [member.last if prepared.experiment.training.keep == "last" else member.best for member in trained]
        sound = [index for index, member in enumerate(trained) if member.diverged is None and member.dropped_at is None]
        finished = [tickets[index].at(kept_at[index].values) for index in sound]
        measurements = dict(zip(sound, self._measure(finished, test=spec.test, score=spec.score), strict=True))
        for index, measured in measurements.items():
            trained[index] = replace(trained[index], diverged=measured.diverged)
        timing = self._timing(trained, training_seconds, time.perf_counter() - started)
        of_requests = self._requests.of(tickets) if spec.test else [{}] * len(tickets)
        kind = prepared.experiment.pruning.finder.name
        nothing = _Measurement(None, None, {}, None)
        return [
            TrainedMember(
                kept=kept_at[index].values,
                validation=reached(kept_at[index]) if index in sound and member.diverged is None else None,
                scores=measurements[index].importance.get(kind) if index in measurements else None,
                snapshots=member.snapshots,
                trained=member,
                kept_at=kept_at[index],
                validation_answers=measurements.get(index, nothing).validation or kept_at[index].evaluation,
                test=measurements.get(index, nothing).test,
                importance=measurements.get(index, nothing).importance,
                timing=timing | of_requests[index],
            )
            for index, member in enumerate(trained)
        ]

    def _in_progress(self, cohort: Sequence[RunKey], tickets: Sequence[Ticket], spec: RoundSpec) -> TrainingInProgress:
        """What is kept of a cohort's training; other versions would go on to other last digits."""
        made_with = environment.current(self.prepared.experiment.machine.device)
        facts = dict(plan=asdict(spec.plan), snapshots=list(spec.snapshots), culls=spec.cull is not None)
        width = self.prepared.width
        return TrainingInProgress(self.directory, cohort, tickets, **facts, width=width, made_with=made_with)

    def _measure(self, finished: Sequence[Ticket], *, test: bool, score: bool) -> list[_Measurement]:
        """Test evaluation and scores of finished tickets; one with a number that is not finite counts as diverged."""
        nothing: list[Evaluation | None] = [None] * len(finished)
        writes = test and bool(finished) and self.prepared.task.open
        validation = (
            self._answers(finished, "validation", self.prepared.training_data.validation) if writes else nothing
        )
        evaluations = self._answers(finished, "test", self.prepared.test) if finished and test else nothing
        importance = self.scores(finished) if finished and score else [{} for _ in finished]
        measurements = []
        for chosen_on, evaluation, scores in zip(validation, evaluations, importance, strict=True):
            if evaluation is not None and not torch.isfinite(evaluation.losses).all():
                measurements.append(_Measurement(None, None, {}, "a loss on the test split became NaN or infinite"))
            elif score and not scores:
                measurements.append(_Measurement(None, None, {}, NOT_FINITE))
            else:
                measurements.append(_Measurement(chosen_on, evaluation, scores, None))
        return measurements

    def _answers(
        self, finished: Sequence[Ticket], title: str, examples: Sequence[Encoded]
    ) -> Sequence[Evaluation | None]:
        model = self.prepared.model
        with torch.no_grad():
            prompts = prompt_batch([Member(ticket, model.device) for ticket in finished])
        with self.progress.track(title, len(examples), "examples") as tick:
            return answer(prompts, model, examples, self.prepared.decoding, tick)

    def _round_record(self, ticket: Ticket, member: TrainedMember) -> RoundRecord:
        """What is written about one member's round."""
        prepared = self.prepared
        splits, task = prepared.splits, prepared.task
        return RoundRecord(
            ticket=ticket,
            trained=member.trained,
            kept_at=member.kept_at,
            importance=member.importance,
            task=task,
            splits=splits,
            validation=member.validation_answers,
            test=member.test,
            majority={"validation": task.majority(splits.validation), "test": task.majority(splits.test)},
            pruned_by=prepared.experiment.pruning.finder_name if ticket.round else None,
            run=prepared.id,
            cache=prefix.cache_facts(ticket, prepared.model),
        )

    def _timing(self, trained: Sequence[Trained], training_seconds: float, seconds: float) -> dict[str, float]:
        """Of the whole cohort: it goes through the model as one."""
        examples = sum(member.steps for member in trained) * self.prepared.plan.batch_size
        return {
            "seconds": seconds,
            "training_seconds": training_seconds,
            "examples_per_second": examples / training_seconds,
            "peak_memory_mb": memory.peak_memory_mb(),
            "members": len(trained),
        }


def _ticking(batches: Iterable[Batch], tick: Callable[[int], None]) -> Iterator[Batch]:
    """The batches; `tick` hears how many examples of them have been used."""
    completed = 0
    for batch in batches:
        yield batch
        completed += batch.size
        tick(completed)


def _cost_line(key: RunKey, finder: Score, probe: TicketProbe, scores: Scores) -> str:
    """What a score cost, and what it says of itself."""
    cost = f"{probe.passes.epochs:g} epochs of {probe.examples} examples"
    facts = "".join(f", {name.replace('_', ' ')} {value:.5g}" for name, value in scores.facts.items())
    return f"seed {key.seed}, round {key.round}: {finder.name}, {cost}{facts}"


_PACKED_AS = {control.name: control.packed_as or control.name for control in CONTROLS}


def pack_cohorts(members: Mapping[RunKey, Ticket], width: int) -> list[list[RunKey]]:
    """Cohorts of at most `width`: members of one kind of prompt and with as many tokens side by side.

    So few rows are padding. A function of the members alone, so that a resumed run cuts them alike.
    """
    alike = [list(keys) for _, keys in groupby(packing_order(members), key=lambda key: _kind(members[key]))]
    return [keys[start : start + width] for keys in alike for start in range(0, len(keys), width)]


def packing_order(members: Mapping[RunKey, Ticket]) -> list[RunKey]:
    """Members by kind of prompt, the longest first."""

    def order(key: RunKey) -> tuple[str, int, RunKey]:
        stage = key.stage.top.inside(_PACKED_AS.get(key.stage.arm, key.stage.arm))
        return _kind(members[key]), -members[key].mask.tokens, key._replace(stage=stage)

    return sorted(members, key=order)


def _kind(ticket: Ticket) -> str:
    return methods.kind(ticket.method, ticket.state).__name__
