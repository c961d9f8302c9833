"""From an experiment's settings to everything a run needs, resolved and checked; nothing is written.

Every mistake a user can make is found here, before the first file and the first update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from prunekit import backbones, inits
from prunekit.backbones import Backbone, Encoded
from prunekit.cohort import Values
from prunekit.config import SCHEMA, Experiment, TrainingSettings, identity
from prunekit.errors import ConfigError
from prunekit.masks import Mask, piece_width
from prunekit.prompts import DirectPrompt
from prunekit.randomness import generator
from prunekit.schedule import Keep, Schedule
from prunekit.tasks import Example, Splits, Task, load_splits, load_task
from prunekit.testbed import MODEL_PATH
from prunekit.tickets import Ticket
from prunekit.training import Lessons, Plan

# learning_rate = "auto" for AdamW, in units of the RMS of the model's embeddings; Adafactor's is the published one
_AUTO_RATE = 0.2
_ADAFACTOR_RATE = 0.3


@dataclass(frozen=True)
class Prepared:
    """An experiment, ready to run.

    experiment: its settings with every "auto" resolved.  report: the encoded report split.  keeps: what each round
    after the dense one keeps.  digests: sha256 of backbone, data and task.
    """

    experiment: Experiment
    task: Task
    splits: Splits
    backbone: Backbone
    lessons: Lessons
    report: Sequence[Encoded]
    plan: Plan
    keeps: tuple[Keep, ...]
    digests: dict[str, str]

    @property
    def id(self) -> str:
        """Eight hex digits over all that determines round 0; the same for the same content on every machine."""
        settings = self.experiment.model_dump(mode="json")
        named = {"model": {"name", "revision"}, "task": {"name", "data", "revision"}, "prompt": (), "training": ()}
        parts = {key: {k: v for k, v in settings[key].items() if k not in left} for key, left in named.items()}
        return identity({"schema": SCHEMA, "digests": self.digests, **parts})

    @property
    def name(self) -> str:
        """The run directory's name, `<task>-<model>-<method>-<id8>`."""
        settings = self.experiment
        model = settings.model.name.rstrip("/").rsplit("/", 1)[-1]
        return "-".join(_slug(part) for part in (self.task.name, model, settings.prompt.method, self.id))

    @property
    def stage(self) -> str:
        """The pruning's sub-directory, `prune-<id4>`."""
        return f"prune-{identity(self.experiment.pruning.model_dump(mode='json'), 4)}"

    @property
    def snapshot_steps(self) -> list[int]:
        """The steps of round 0 that can be rewound to: the start and every evaluation."""
        return list(range(0, self.plan.train_steps + 1, self.plan.evaluate_every))

    def dense(self, seed: int) -> Ticket:
        """The ticket of round 0: a full mask and the starting values of a seed."""
        prompt = self.experiment.prompt
        values = self._start("init", seed)
        origin = {
            "task": self.experiment.task.name,
            "model": self.experiment.model.name,
            "backbone": self.digests["backbone"],
            "run": self.id,
        }
        return Ticket(
            mask=Mask.full(prompt.tokens, prompt.pieces),
            state=values.state,
            head=values.head,
            place=self.backbone.place,
            method=prompt.method,
            seed=seed,
            origin=origin,
        )

    def fresh(self, ticket: Ticket) -> Values:
        """New starting values for a ticket, other than those of its round 0."""
        return self._start("fresh", ticket.seed, ticket.round)

    def _start(self, *names: object) -> Values:
        prompt = self.experiment.prompt
        values = _initialiser(self)(generator(*names), (prompt.tokens, self.backbone.width))
        return Values(DirectPrompt(values).state_dict(), self.backbone.new_head(_fixed_choices(self.task)))


def prepare(experiment: Experiment) -> Prepared:
    """Load model, task and data; resolve and check every setting.

    Raises: ConfigError or DataError, each one line; nothing has been written.
    """
    task, splits = task_of(experiment)
    backbone = backbone_of(experiment)
    experiment = _resolved(experiment, backbone, len(splits.train))
    prepared = Prepared(
        experiment=experiment,
        task=task,
        splits=splits,
        backbone=backbone,
        lessons=Lessons(
            train=_encoded(backbone, task, splits.train, experiment),
            selection=_encoded(backbone, task, splits.selection, experiment),
            measure=lambda chosen: task.score(splits.selection, chosen),
        ),
        report=_encoded(backbone, task, splits.report, experiment),
        plan=_plan(experiment),
        keeps=_keeps(experiment),
        digests={"backbone": backbone.digest(), "data": splits.digest, "task": task.digest()},
    )
    _check(prepared)
    return prepared


def encode(backbone: Backbone, task: Task, examples: Sequence[Example], prompt_tokens: int) -> list[Encoded]:
    """Token ids of a task's examples, beside a prompt of P = `prompt_tokens`."""
    return backbone.encode(examples, own_choices=_fixed_choices(task) is None, prompt_tokens=prompt_tokens)


def move(prepared: Prepared, experiment: Experiment) -> Prepared:
    """The same run under other machine settings: device and threads are put in force."""
    _use_threads(experiment)
    _to_device(prepared.backbone, experiment.machine.device)
    return replace(prepared, experiment=experiment)


def task_of(experiment: Experiment) -> tuple[Task, Splits]:
    """The task that an experiment names, and its three splits.

    Raises: ConfigError or DataError where task or data cannot be used as asked.
    """
    settings = experiment.task
    task = load_task(settings.name, settings.data)
    splits = load_splits(
        task,
        data=settings.data,
        revision=settings.revision,
        train_examples=settings.train_examples,
        selection_examples=settings.selection_examples,
        report_examples=settings.report_examples,
        data_seed=settings.data_seed,
    )
    return task, splits


def backbone_of(experiment: Experiment) -> Backbone:
    """The backbone that an experiment names, on its device.

    Raises: DataError where there is no such model; ConfigError where model or device cannot be used as asked.
    """
    _use_threads(experiment)
    model = experiment.model
    backbone = backbones.load(
        str(MODEL_PATH) if model.name == "testbed" else model.name,
        revision=model.revision,
        place=model.place,
        ranking=model.ranking,
        max_input_tokens=model.max_input_tokens,
        precision=model.precision,
    )
    _to_device(backbone, experiment.machine.device)
    return backbone


def _use_threads(experiment: Experiment) -> None:
    if experiment.machine.threads is not None:
        torch.set_num_threads(experiment.machine.threads)


def _to_device(backbone: Backbone, device: str) -> None:
    try:
        backbone.model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {device}: {str(error).splitlines()[0]}; use cpu, or a device that is there"
        ) from error


def _resolved(experiment: Experiment, backbone: Backbone, examples: int) -> Experiment:
    """The experiment with every "auto" replaced by its value."""
    training = experiment.training
    ten_epochs = 10 * -(-examples // training.batch_size)
    steps = min(600, max(100, ten_epochs)) if training.train_steps == "auto" else training.train_steps
    every = max(1, steps // 10) if training.evaluate_every == "auto" else training.evaluate_every
    rate = training.learning_rate
    if rate == "auto":
        rate = _ADAFACTOR_RATE if training.optimizer == "adafactor" else _auto_rate(backbone)
    found = {"train_steps": steps, "evaluate_every": every, "learning_rate": rate}
    threads = experiment.machine.threads or torch.get_num_threads()
    return experiment.model_copy(
        update={
            "model": experiment.model.model_copy(update={"place": backbone.place}),
            "training": TrainingSettings.model_validate(training.model_dump() | found),
            "machine": experiment.machine.model_copy(update={"threads": threads}),
        }
    )


def _auto_rate(backbone: Backbone) -> float:
    """Three digits, so that no machine's rounding of a mean makes it another run."""
    return float(f"{_AUTO_RATE * backbone.embedding_rms:.3g}")


def _plan(experiment: Experiment) -> Plan:
    settings: dict[str, Any] = experiment.training.model_dump(exclude={"keep"})
    return Plan(**settings, backbone_dropout=experiment.model.backbone_dropout)


def _keeps(experiment: Experiment) -> tuple[Keep, ...]:
    pruning, prompt = experiment.pruning, experiment.prompt
    schedule = Schedule.geometric(pruning.rounds, pruning.keep_tokens, pruning.keep_pieces)
    return schedule.keeps(prompt.tokens, prompt.pieces)


def _check(prepared: Prepared) -> None:
    """What only shows once model and settings are together."""
    settings = prepared.experiment
    piece_width(prepared.backbone.width, settings.prompt.pieces)
    steps = prepared.snapshot_steps
    if isinstance(settings.pruning.rewind, int) and settings.pruning.rewind not in steps:
        raise ConfigError(
            f"rewind = {settings.pruning.rewind}: the dense round keeps its values at steps "
            f"{', '.join(map(str, steps))}; choose one of them, or set evaluate_every"
        )
    _initialiser(prepared)


def _initialiser(prepared: Prepared) -> inits.Initialiser:
    settings, backbone = prepared.experiment.prompt, prepared.backbone
    vocabulary = inits.from_vocabulary(backbone.embed, backbone.ordinary_ids())

    def ids(text: str) -> list[int]:
        found: list[int] = backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    match settings.init:
        case "vocabulary":
            return vocabulary
        case "uniform":
            return inits.uniform()
        case "text":
            if settings.init_text is None:
                raise ConfigError('init = "text" needs --init-text, the words to start from')
            return inits.from_text(backbone.embed, ids(settings.init_text))
        case "labels":
            if prepared.task.choices is None:
                raise ConfigError(f'init = "labels": the answers of task "{prepared.task.name}" differ per example')
            return inits.from_labels(backbone.embed, [ids(word) for word in prepared.task.choices], vocabulary)


def _encoded(backbone: Backbone, task: Task, examples: Sequence[Example], experiment: Experiment) -> list[Encoded]:
    return encode(backbone, task, examples, experiment.prompt.tokens)


def _fixed_choices(task: Task) -> int | None:
    """C where the task's answers are always the same, None where they are each example's own."""
    return None if task.choices is None else len(task.choices)


def _slug(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._") else "-" for c in text).strip(".-") or "x"
