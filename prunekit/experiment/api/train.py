"""What `prune`, `search` and `tune` share: tasks one after another on one model, and how long they may take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit import export
from prunekit.engine import memory
from prunekit.experiment import cost, dry_run, tracking
from prunekit.experiment.api.run import Run
from prunekit.experiment.baselines import measure as baselines
from prunekit.experiment.budget import Budget, Trainings, check_minutes, fitted, trainings_of
from prunekit.experiment.call import check_tokenizer, experiment_of, frozen_model
from prunekit.experiment.dry_run import Part, Verb
from prunekit.experiment.pace import Pace, measured, members_at_once
from prunekit.experiment.prepare import Prepared, prepare
from prunekit.experiment.progress import Silent, progress_of
from prunekit.experiment.pruned_levels import pruned_levels
from prunekit.experiment.round_runner import Progress
from prunekit.experiment.run import directory_of, run, search, with_whole_cohorts
from prunekit.experiment.settings import Experiment
from prunekit.experiment.suffix_hint import suffix_hint
from prunekit.models import FrozenModel
from prunekit.runs.paths import DENSE, SETTINGS
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ConfigError, DivergedError
from prunekit.support.terminal import Screen
from prunekit.tasks import Task

# that a line lists
_MOST_LABELS = 8


@dataclass(frozen=True)
class TrainingOptions:
    """How a verb that trains is called, beside its settings.

    Attributes:
        out: folder that holds runs, or one run.
        controls: also train what the tickets are compared with.
        tolerance: how far below dense a ticket may be, in units of the primary metric; also the margin of equivalence.
        track: who else is shown the numbers: "tensorboard", "module:class", or a Tracker.
        quiet: report no progress.
        minutes: that all may take; rounds, updates and examples that are not set are chosen to fit.
    """

    out: Path | str = "runs"
    controls: bool = False
    tolerance: float = 0.01
    track: str | tracking.Tracker | None = None
    quiet: bool = False
    minutes: float | None = None

    def __post_init__(self) -> None:
        check_minutes(self.minutes)

    @property
    def tracker(self) -> tracking.Tracker | None:
        """Whoever `track` names."""
        return tracking.tracker(self.track) if isinstance(self.track, str) else self.track


def train(verb: Verb, experiments: Sequence[Experiment], options: TrainingOptions) -> Iterator[Run]:
    """Run every experiment, or finish those that were interrupted; each run as soon as it is finished.

    All are prepared before the first is trained.

    Raises:
        ConfigError: in one line, before anything is written.
        DataError: in one line, before anything is written.
    """
    progress, tracker = progress_of(options.quiet), options.tracker
    for prepared in _all_prepared(verb, experiments, options, progress):
        introduce(prepared, Path(options.out), progress)
        yield _trained(verb, prepared, options, progress, tracker)


def train_one(verb: Verb, model: Any, tokenizer: Any, task: Any, settings: dict[str, Any]) -> Run:
    """One experiment of keyword settings, on a model that is loaded or named.

    Args:
        settings: flags, and the fields of `TrainingOptions`.
    """
    check_tokenizer(model, tokenizer)
    names = TrainingOptions.__dataclass_fields__.keys()
    options = TrainingOptions(**{name: value for name, value in settings.items() if name in names})
    experiment = experiment_of(model, task, {name: value for name, value in settings.items() if name not in names})
    progress, tracker = progress_of(options.quiet), options.tracker
    with frozen_model(model, tokenizer, experiment) as frozen:
        prepared = _prepared(verb, experiment, options, progress, frozen)
        introduce(prepared, Path(options.out), progress)
        return _trained(verb, prepared, options, progress, tracker)


@dataclass(frozen=True)
class Forecast:
    """What is left of one experiment, and at most for how long.

    Attributes:
        run: its directory.
        parts: a row for each kind of ticket and each base line: title, tokens, pieces, tickets, left, training,
            evaluation, scoring, minutes.
        minutes: all of them at most, where no ticket stops early.
        least_minutes: all of them where every ticket stops as early as it may.
        reading_minutes: those of reading texts once, where they are cached.
        memory_mb: of the whole process, about.
        source: what the estimate is from.
    """

    run: Path
    parts: pd.DataFrame
    minutes: float
    least_minutes: float
    reading_minutes: float
    memory_mb: float
    source: str

    @property
    def left(self) -> int:
        """Tickets and base lines that are not finished."""
        return int(self.parts["left"].sum())

    @property
    def facts(self) -> dict[str, Any]:
        """The same by name."""
        return {**vars(self), "run": self.run.name, "parts": self.parts.to_dict("records"), "left": self.left}


def forecast(verb: Verb, experiments: Sequence[Experiment], options: TrainingOptions) -> Iterator[Forecast]:
    """What `train` would do with the same arguments; nothing is written."""
    progress = progress_of(options.quiet)
    for prepared in _all_prepared(verb, experiments, options, progress):
        introduce(prepared, Path(options.out), progress)
        with progress.working("timing a few updates"):
            yield _forecast(prepared, verb, options)


def _forecast(prepared: Prepared, verb: Verb, options: TrainingOptions) -> Forecast:
    directory = directory_of(prepared, Path(options.out))
    parts = _parts(prepared, directory, verb, options)
    pace = measured(prepared) if any(part.left for part in parts) else Pace(0.0, 0.0)
    workload = cost.Workload.of(prepared)
    spent = cost.costs(parts, workload, pace)
    rows = [
        {"title": part.title, "tokens": part.tokens, "pieces": part.pieces, "tickets": part.tickets, "left": part.left}
        | {**asdict(each), "minutes": each.minutes}
        for part, each in zip(parts, spent, strict=True)
    ]
    reading = pace.reading / 60
    return Forecast(
        run=directory,
        parts=pd.DataFrame(rows),
        minutes=reading + sum(each.minutes for each in spent),
        least_minutes=reading + sum(each.minutes for each in cost.costs(parts, workload.least(), pace)),
        reading_minutes=reading,
        memory_mb=_memory_mb(prepared),
        source=f"updates of {pace.rows} rows at once, timed now on {prepared.experiment.machine.threads} thread(s)",
    )


def _parts(prepared: Prepared, directory: Path, verb: Verb, options: TrainingOptions) -> list[Part]:
    """What would be trained, of whole cohorts, and the base lines of the seeds that are asked for."""
    trained = with_whole_cohorts(prepared, Path(options.out))
    tickets = dry_run.parts(trained, verb, options.controls)
    if not (directory / SETTINGS).is_file():
        return [*tickets, *baselines.parts(prepared)]
    run = Snapshot(directory)
    return [*dry_run.with_finished(tickets, run, trained, verb), *baselines.parts(prepared, run)]


def _memory_mb(prepared: Prepared) -> float:
    """What the process holds, and what a cohort's update keeps besides."""
    update = max(prepared.counts.values(), default=0) * members_at_once(prepared)
    return memory.peak_memory_mb() + update / 2**20


def check_ended(runs: Sequence[Run], seeds: Sequence[Sequence[int]]) -> None:
    """Whether every training of these stages came to its end.

    Args:
        runs: each with the stage that was asked for.
        seeds: of each run, those that were asked for.

    Raises:
        DivergedError: naming the first that did not; what the others reached is kept.
    """
    tables = [run.results[run.results["seed"].isin(asked)] for run, asked in zip(runs, seeds, strict=True)]
    results = pd.concat(tables)
    stopped = results[results["status"] == "diverged"]
    if len(stopped):
        first = stopped.iloc[0]
        raise DivergedError(
            f"{len(stopped)} training(s) stopped, the first is seed {first['seed']} in round {first['round']}: "
            f"{first['reason']}; try a smaller --learning-rate"
        )


def introduce(prepared: Prepared, out: Path, progress: Progress) -> None:
    """Say what is about to be done in the folder `out`, and what stands against it, in a few lines."""
    settings, splits = prepared.experiment, prepared.splits
    seeds = with_whole_cohorts(prepared, out).experiment.seeds
    as_begun = " (trained together, as the run was begun)" if len(seeds) > len(settings.seeds) else ""
    prompt, plan = settings.prompt, prepared.plan
    progress.say(
        f"{prepared.task.name} on {settings.model.name}: {prompt.tokens} prompt tokens x {prompt.pieces} pieces, "
        f"placed {prepared.model.position}, seeds {', '.join(map(str, seeds))}{as_begun}"
    )
    progress.say(
        f"train {len(splits.train)}, validation {len(splits.validation)}, test {len(splits.test)} examples; "
        f"{plan.train_steps} updates of {plan.batch_size} per round, {plan.optimizer} at {plan.learning_rate}, "
        f"evaluated every {plan.evaluate_every}, patience {plan.patience}"
    )
    if prepared.task.labels_file is not None:
        progress.say(_labels_line(prepared.task))
    if settings.task.labels == "shuffled":
        progress.say("the answers of train and validation are shuffled, those of test are true: a null of training")
    for note in (*prepared.notes, *prepared.prompt_factory.notes):
        progress.say(note)
    try:
        export.check_exportable(prepared.dense(0), prepared.model)
    except ConfigError as error:
        progress.say(f"note: {error}")
    if (hint := suffix_hint(prepared)) is not None:
        progress.say(f"note: {hint}")
    cut = sum(example.cut for example in prepared.training_data.train)
    if cut:
        progress.say(f"{cut} of {len(splits.train)} training texts were cut to {_longest_text(prepared)}")
    target_cut = sum(example.target_cut for example in prepared.training_data.train)
    if target_cut:
        most = prepared.task.decoding.max_tokens
        progress.say(f"{target_cut} of {len(splits.train)} targets were cut to {most} tokens (max_target_tokens)")


def _longest_text(prepared: Prepared) -> str:
    """How long a text may be, and what says so."""
    model, asked = prepared.model, prepared.experiment.model.max_input_tokens
    answers = (example.length - len(example.text) for example in prepared.training_data.train)
    beside = 0 if model.answer_place(False) == "apart" else max(answers)
    if model.most_positions - prepared.experiment.prompt.tokens - beside < asked:
        return f"fit the {model.most_positions} positions that the model has"
    return f"{asked} tokens (--max-input-tokens)"


def _labels_line(task: Task) -> str:
    """How labels of own data are answered, the first few of them."""
    pairs = [f'{label} = "{word}"' for label, word in zip(task.labels or (), task.choices or (), strict=False)]
    more = f" and {len(pairs) - _MOST_LABELS} more" if len(pairs) > _MOST_LABELS else ""
    return f"labels and their words: {', '.join(pairs[:_MOST_LABELS])}{more} (--label-words gives others)"


def _trained(
    verb: Verb,
    prepared: Prepared,
    options: TrainingOptions,
    progress: Progress,
    tracker: tracking.Tracker | None,
) -> Run:
    out = Path(options.out)
    with tracking.with_tracker(progress, directory_of(prepared, out), tracker) as tracked:
        if verb == "search":
            directory, stage = search(prepared, out, tracked, controls=options.controls), prepared.search_stage
        else:
            prune = verb == "prune"
            directory = run(prepared, out, tracked, prune=prune, controls=options.controls)
            stage = prepared.stage if prune else DENSE
    return Run(directory.path, stage, options.tolerance)


def _all_prepared(
    verb: Verb, experiments: Sequence[Experiment], options: TrainingOptions, progress: Silent | Screen
) -> list[Prepared]:
    """All tasks at once, on one model: what is wrong with the last is said before the first is trained."""
    prepared: list[Prepared] = []
    share = replace(options, minutes=options.minutes and options.minutes / len(experiments))
    for experiment in experiments:
        latest = _prepared(verb, experiment, share, progress, prepared[0].model if prepared else None)
        if any(experiment.task.name == earlier.experiment.task.name for earlier in prepared):
            raise ConfigError(
                f"--task names {latest.task.name} twice; a task's seeds would count as units of themselves"
            )
        prepared.append(latest)
    return prepared


def _prepared(
    verb: Verb,
    experiment: Experiment,
    options: TrainingOptions,
    progress: Silent | Screen,
    model: FrozenModel | None = None,
) -> Prepared:
    """An experiment, cut to fit into its minutes where there is such a budget."""
    if verb != "tune":
        pruned_levels(experiment, verb)  # refuses a score that cannot prune them, before anything is loaded
    if options.minutes is None:
        return prepare(experiment, model, working=progress.working)
    budget = Budget(verb, options.controls, options.minutes)
    uncut = prepare(experiment, model, working=progress.working)

    def trainings() -> Trainings:
        with progress.working("timing a few updates"):
            return trainings_of(verb, options.controls, uncut, measured(uncut))

    choice = fitted(budget, experiment, Path(options.out), uncut, trainings, progress.say)
    prepared = prepare(choice.on(experiment), uncut.model, working=progress.working)
    return replace(prepared, budget=choice.facts(budget.request(experiment, uncut)))
