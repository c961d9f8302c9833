"""What `prune`, `search` and `tune` share: tasks one after another on one model, and how long they may take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from prunekit import export
from prunekit.engine import memory
from prunekit.experiment import dry_run, tracking
from prunekit.experiment.api.run import Run
from prunekit.experiment.call import experiment_of, frozen_model
from prunekit.experiment.prepare import Prepared, prepare
from prunekit.experiment.progress import progress_of
from prunekit.experiment.round_runner import Progress
from prunekit.experiment.run import directory_of, run, search
from prunekit.experiment.settings import Experiment
from prunekit.runs.paths import DENSE
from prunekit.support.errors import ConfigError, DivergedError
from prunekit.tasks import Task

Verb = Literal["tune", "prune", "search"]
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
    """

    out: Path | str = "runs"
    controls: bool = False
    tolerance: float = 0.01
    track: str | tracking.Tracker | None = None
    quiet: bool = False

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
    for prepared in _all_prepared(experiments):
        introduce(prepared, progress)
        yield _trained(verb, prepared, options, progress, tracker)


def train_one(verb: Verb, model: Any, tokenizer: Any, task: Any, settings: dict[str, Any]) -> Run:
    """One experiment of keyword settings, on a model that is loaded or named.

    Args:
        settings: flags, and the fields of `TrainingOptions`.
    """
    names = TrainingOptions.__dataclass_fields__.keys()
    options = TrainingOptions(**{name: value for name, value in settings.items() if name in names})
    experiment = experiment_of(model, task, {name: value for name, value in settings.items() if name not in names})
    progress, tracker = progress_of(options.quiet), options.tracker
    with frozen_model(model, tokenizer, experiment) as frozen:
        prepared = prepare(experiment, frozen)
        introduce(prepared, progress)
        return _trained(verb, prepared, options, progress, tracker)


@dataclass(frozen=True)
class Forecast:
    """What one experiment would train, and at most for how long.

    Attributes:
        run: name of its directory.
        parts: a row for each kind of ticket: title, tokens, pieces, tickets, share, minutes.
    """

    run: str
    parts: pd.DataFrame
    minutes: float
    memory_mb: float

    @property
    def facts(self) -> dict[str, Any]:
        """The same by name."""
        return {
            "run": self.run,
            "parts": self.parts.to_dict("records"),
            "minutes": self.minutes,
            "memory_mb": self.memory_mb,
        }


def forecast(verb: Verb, experiments: Sequence[Experiment], options: TrainingOptions) -> Iterator[Forecast]:
    """What `train` would do with the same arguments; nothing is written."""
    progress = progress_of(options.quiet)
    for prepared in _all_prepared(experiments):
        introduce(prepared, progress)
        parts = dry_run.parts(prepared, verb, options.controls)
        minutes = dry_run.minutes(prepared, parts)
        rows = [asdict(part) | {"minutes": spent} for part, spent in zip(parts, minutes, strict=True)]
        yield Forecast(prepared.name, pd.DataFrame(rows), sum(minutes), memory.peak_memory_mb())


def check_ended(runs: Sequence[Run]) -> None:
    """Whether every training came to its end.

    Raises:
        DivergedError: naming the first that did not; what the others reached is kept.
    """
    results = pd.concat([run.directory.results() for run in runs])
    stopped = results[results["status"] == "diverged"]
    if len(stopped):
        first = stopped.iloc[0]
        raise DivergedError(
            f"{len(stopped)} training(s) stopped, the first is seed {first['seed']} in round {first['round']}: "
            f"{first['reason']}; try a smaller --learning-rate"
        )


def introduce(prepared: Prepared, progress: Progress) -> None:
    """Say what is about to be done, and what stands against it, in a few lines."""
    settings, splits = prepared.experiment, prepared.splits
    prompt, plan = settings.prompt, prepared.plan
    progress.say(
        f"{prepared.task.name} on {settings.model.name}: {prompt.tokens} prompt tokens x {prompt.pieces} pieces, "
        f"placed {prepared.model.position}, seeds {', '.join(map(str, settings.seeds))}"
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
    cut = sum(example.cut for example in prepared.training_data.train)
    if cut:
        limit = settings.model.max_input_tokens
        progress.say(f"{cut} of {len(splits.train)} training texts were cut to {limit} tokens (--max-input-tokens)")


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


def _all_prepared(experiments: Sequence[Experiment]) -> list[Prepared]:
    """All tasks at once, on one model: what is wrong with the last is said before the first is trained."""
    prepared: list[Prepared] = []
    for experiment in experiments:
        latest = prepare(experiment, prepared[0].model if prepared else None)
        if any(experiment.task.name == earlier.experiment.task.name for earlier in prepared):
            raise ConfigError(
                f"--task names {latest.task.name} twice; a task's seeds would count as units of themselves"
            )
        prepared.append(latest)
    return prepared
