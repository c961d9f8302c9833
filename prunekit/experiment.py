"""The one place that wires the parts together: an experiment in, a run directory out."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch

from prunekit import records
from prunekit.cohort import Member, soft
from prunekit.config import Experiment, MachineSettings
from prunekit.evaluation import Evaluation, evaluate
from prunekit.importance import Kind, all_scores
from prunekit.lottery import Learned, Round, find_tickets
from prunekit.prepare import Prepared, move
from prunekit.pruning import Scores
from prunekit.records import Outcome
from prunekit.runs import SETTINGS, Files, Run
from prunekit.tickets import Ticket
from prunekit.training import Checkpoint, Trained, train

_SCORING_BATCH = 32


class Watch(Protocol):
    """Whoever looks on: lines of text, and the progress of long work."""

    def say(self, line: str) -> None:
        """One line."""

    def track(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Work of `total` steps; call what comes back with the steps done."""


@dataclass(frozen=True)
class Finished(Learned):
    """A learned ticket with all that is written about it.

    trained: its training.  kept_at: the checkpoint whose values were kept.  report: its one look at the report split,
    None where it diverged.  importance: scores of every kind, empty where it diverged.  timing: seconds and rates.
    """

    trained: Trained
    kept_at: Checkpoint
    report: Evaluation | None
    importance: Mapping[Kind, Scores]
    timing: dict[str, float]


def run(prepared: Prepared, out: Path, watch: Watch, *, prune: bool = True) -> Run:
    """Run an experiment, or finish one that was interrupted: what is done already is loaded, not done again.

    out: the folder that holds runs.  prune: with False, only the dense round is done.

    Raises: PrunekitError in one line; everything finished before it stays on disk and valid.
    """
    directory = Run.at(out, prepared.name, prepared.id)
    with directory.locked():
        prepared, cohorts = _settle(directory, prepared, watch)
        if prune:
            directory.write_stage(prepared.stage, prepared.experiment.pruning.model_dump(mode="json"))
        for cohort in cohorts:
            _run_cohort(directory, prepared, cohort, watch, prune)
        directory.write_results()
    return directory


def _settle(directory: Run, prepared: Prepared, watch: Watch) -> tuple[Prepared, list[list[int]]]:
    """Write the settings, or impose those of the run that is there; returns the cohorts that hold the asked seeds.

    Cohorts, device and threads are settled once: another batch shape would round otherwise, and training amplifies
    that. Seeds that are new form new cohorts.
    """
    experiment = prepared.experiment
    cohorts: list[list[int]] = []
    if (directory.path / SETTINGS).exists():
        known = directory.settings()
        cohorts = known["cohorts"]
        machine = MachineSettings.model_validate(known["machine"])
        if machine != experiment.machine:
            watch.say(f"resuming as the run began: {machine.device}, {machine.threads} threads, width {machine.width}")
        experiment = experiment.model_copy(update={"machine": machine})
        prepared = move(prepared, experiment)
    known_seeds = {seed for cohort in cohorts for seed in cohort}
    new = [seed for seed in experiment.seeds if seed not in known_seeds]
    width = experiment.machine.width
    cohorts += [new[start : start + width] for start in range(0, len(new), width)]
    if new:
        directory.write_settings(_settings(prepared, cohorts))
        directory.write_environment(_environment())
    return prepared, [cohort for cohort in cohorts if set(cohort) & set(experiment.seeds)]


def _run_cohort(directory: Run, prepared: Prepared, seeds: Sequence[int], watch: Watch, prune: bool) -> None:
    """All rounds of one cohort; each is committed as soon as it is finished."""
    pruning = prepared.experiment.pruning
    keeps = prepared.keeps if prune else ()
    after = list(_finished(directory, prepared, seeds, len(keeps)))
    if after:
        watch.say(f"seeds {_listed(seeds)}: rounds 0 to {after[-1].number} are done, loaded from {directory.path}")
    rounds = find_tickets(
        [prepared.dense(seed) for seed in seeds],
        keeps,
        lambda tickets: _learn(tickets, prepared, watch),
        rewind=pruning.rewind,
        absent=pruning.absent,
        fresh=prepared.fresh,
        after=after,
    )
    for turn in rounds:
        files = [
            Files(ticket.seed, records.content(_outcome(prepared, ticket, learned)), learned.timing)
            for ticket, learned in zip(turn.tickets, turn.learned, strict=True)
            if isinstance(learned, Finished)
        ]
        stage = prepared.stage if turn.number else ""
        directory.commit(stage, turn.number, [ticket.seed for ticket in turn.tickets], files)
        _announce(turn, prepared, watch)


def _finished(directory: Run, prepared: Prepared, seeds: Sequence[int], rounds: int) -> Iterator[Round]:
    """The rounds of a cohort that are on disk, from round 0 on."""
    alive = list(seeds)
    kind = prepared.experiment.pruning.score
    for number in range(rounds + 1):
        stage = prepared.stage if number else ""
        if not alive or not directory.done(stage, alive, number):
            return
        tickets, learned = zip(*(records.load(directory, stage, seed, number, kind) for seed in alive), strict=True)
        yield Round(number, tickets, learned)
        alive = [ticket.seed for ticket, one in zip(tickets, learned, strict=True) if one.scores is not None]


def _learn(tickets: Sequence[Ticket], prepared: Prepared, watch: Watch) -> list[Learned]:
    """Train a cohort, look at the report split once, score what was kept."""
    began = time.perf_counter()
    number = tickets[0].round
    with watch.track(f"round {number}", prepared.plan.train_steps) as tick:
        trained = train(
            tickets,
            prepared.backbone,
            prepared.lessons,
            prepared.plan,
            snapshots=prepared.snapshot_steps if number == 0 else (),
            tick=tick,
        )
    training = time.perf_counter() - began
    kept_at = [one.last if prepared.experiment.training.keep == "last" else one.best for one in trained]
    sound = [place for place, one in enumerate(trained) if one.diverged is None]
    kept = [
        replace(tickets[place], state=kept_at[place].values.state, head=kept_at[place].values.head) for place in sound
    ]
    reports = dict(zip(sound, _report(kept, prepared), strict=True)) if kept else {}
    importance = dict(zip(sound, _score(kept, prepared), strict=True)) if kept else {}
    timing = _timing(trained, prepared, training, time.perf_counter() - began)
    return [
        Finished(
            kept=kept_at[place].values,
            scores=importance[place][prepared.experiment.pruning.score] if place in importance else None,
            snapshots=one.snapshots,
            trained=one,
            kept_at=kept_at[place],
            report=reports.get(place),
            importance=importance.get(place, {}),
            timing=timing,
        )
        for place, one in enumerate(trained)
    ]


def _report(kept: Sequence[Ticket], prepared: Prepared) -> list[Evaluation]:
    with torch.no_grad():
        prompts = soft([Member(ticket, prepared.backbone.device) for ticket in kept])
    result = evaluate(prompts, prepared.backbone, prepared.report)
    return [Evaluation(*row) for row in zip(result.losses, result.chosen, result.scores, strict=True)]


def _score(kept: Sequence[Ticket], prepared: Prepared) -> list[dict[Kind, Scores]]:
    """Every kind of importance on the training examples."""
    backbone = prepared.backbone
    rows = sorted(prepared.lessons.train, key=lambda example: (example.length, example.index))
    chunks = (rows[start : start + _SCORING_BATCH] for start in range(0, len(rows), _SCORING_BATCH))
    return all_scores(kept, backbone, (backbone.batch([chunk], every_choice=False) for chunk in chunks))


def _outcome(prepared: Prepared, ticket: Ticket, learned: Finished) -> Outcome:
    """What is written about one member's round."""
    splits, task = prepared.splits, prepared.task
    report = {} if learned.report is None else task.score(splits.report, learned.report.chosen.tolist())
    return Outcome(
        ticket=ticket,
        trained=learned.trained,
        kept_at=learned.kept_at,
        importance=learned.importance,
        selection=splits.selection,
        report=splits.report,
        report_evaluation=learned.report,
        report_metrics=report,
        majority={"selection": task.majority(splits.selection), "report": task.majority(splits.report)},
        pruned_by=prepared.experiment.pruning.score if ticket.round else None,
        run=prepared.id,
    )


def _timing(trained: Sequence[Trained], prepared: Prepared, training: float, whole: float) -> dict[str, float]:
    """Of the whole cohort: it goes through the model as one."""
    examples = sum(one.steps for one in trained) * prepared.plan.batch_size
    return {
        "seconds": whole,
        "training_seconds": training,
        "examples_per_second": examples / training,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "members": len(trained),
    }


def _announce(turn: Round, prepared: Prepared, watch: Watch) -> None:
    """One line per finished round, and one per member that diverged."""
    metric = prepared.task.metrics[0]
    mask = turn.tickets[0].mask
    pieces = int(mask.piece.sum(dim=1).max())
    done = [one for one in turn.learned if isinstance(one, Finished) and one.report is not None]
    reached = [one.kept_at.metrics[metric] for one in done]
    line = f"round {turn.number}: {mask.tokens} tokens x {pieces} pieces"
    if reached:
        line += f", selection {metric} {sum(reached) / len(reached):.3f} (mean of {len(reached)})"
    watch.say(line)
    for ticket, one in zip(turn.tickets, turn.learned, strict=True):
        if isinstance(one, Finished) and one.trained.diverged:
            watch.say(f"seed {ticket.seed} stopped in round {turn.number}: {one.trained.diverged}")


def _settings(prepared: Prepared, cohorts: list[list[int]]) -> dict[str, Any]:
    """What `experiment.toml` holds; pruning is a stage's own."""
    facts: dict[str, Any] = prepared.experiment.model_dump(mode="json", exclude={"pruning", "seeds"})
    splits = prepared.splits
    sizes = {"train": len(splits.train), "selection": len(splits.selection), "report": len(splits.report)}
    return {
        "id": prepared.id,
        "seeds": sorted(seed for cohort in cohorts for seed in cohort),
        "cohorts": cohorts,
        "metric": prepared.task.metrics[0],
        **facts,
        "digests": prepared.digests,
        "examples": sizes,
        "origin": dict(splits.origin),
    }


def _environment() -> dict[str, Any]:
    packages = ("prunekit", "torch", "transformers", "datasets", "numpy", "pandas", "safetensors", "scikit-learn")
    return {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": platform.machine(),
        "packages": {name: version(name) for name in packages},
    }


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


__all__ = ["Experiment", "Finished", "Watch", "run"]
