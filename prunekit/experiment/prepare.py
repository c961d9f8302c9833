"""From an experiment's settings to everything a run needs, resolved and checked; nothing is written.

Every mistake a user can make is found here, before the first file and the first update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from prunekit import models
from prunekit.engine import lora, memory
from prunekit.engine.optimizer import Plan
from prunekit.engine.train import TrainingData
from prunekit.experiment import device, prefix, prompt_method, prompt_start, provenance, written_answers
from prunekit.experiment.automatic import resolved
from prunekit.experiment.commits import commits_of
from prunekit.experiment.progress import Working, unseen
from prunekit.experiment.prompt_method import PromptFactory
from prunekit.experiment.settings import SCHEMA, Experiment, TaskSettings
from prunekit.experiment.task_of import task_of
from prunekit.models import Encoded, FrozenModel
from prunekit.prompts.init.source import Initialiser
from prunekit.prompts.mask import Mask, piece_width
from prunekit.pruning.ticket import State, Ticket, Values
from prunekit.runs.paths import Stage
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator
from prunekit.tasks import Example, Splits, Task
from prunekit.tasks.decoding import Decoding
from prunekit.tasks.duplicates import duplicates, sentences
from prunekit.tasks.testbed_tasks import model_path


@dataclass(frozen=True)
class Prepared:
    """An experiment, ready to run.

    Attributes:
        experiment: its settings with every "auto" resolved.
        task: what is asked.
        splits: its examples.
        model: the frozen model.
        training_data: the encoded rows to train on and to choose by.
        test: the encoded test split.
        plan: how prompts are trained.
        initialiser: makes the starting values of round 0.
        reinitialiser: the same without a ticket that values are transferred from.
        prompt_factory: makes a prompt of the method from such values.
        head: that of the ticket that the prompt starts from (--from), if any.
        digests: sha256 of model, data, task, and of the tickets that the prompt is made from.
        content: what model, task and data are, by name, for later uses of the run.
        counts: activation bytes by kind of training step, shared by experiments on the same rows.
        example_ticket: a dense ticket, of the size that all have.
        asked_task: the settings of the task before its data told label words.
        other_model: how the model of the ticket that the prompt starts from differs from this one.
        budget: what was chosen to fit into one, and for which request; no part of the identity.
    """

    experiment: Experiment
    task: Task
    splits: Splits
    model: FrozenModel
    training_data: TrainingData
    test: Sequence[Encoded]
    plan: Plan
    initialiser: Initialiser
    reinitialiser: Initialiser
    prompt_factory: PromptFactory
    head: State | None
    digests: dict[str, str]
    content: provenance.Content
    counts: memory.Counts
    asked_task: TaskSettings
    example_ticket: Ticket | None = None
    other_model: Sequence[str] = ()
    budget: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """Eight hex digits over all that determines round 0; the same for the same content on every machine."""
        settings = self.experiment.model_dump(mode="json")
        left_out = {
            "model": {"name", "revision", "text_cache_mb"},
            # what the task is made of is in its digest
            "task": {"name", "data", "revision", "text", "label", "target", "label_words", "chat", "judge"},
            "prompt": {"init_from", "start_from", "subspace_from"},
            "training": (),
        }
        parts = {key: {k: v for k, v in settings[key].items() if k not in names} for key, names in left_out.items()}
        more = prefix.identity_parts(self.experiment)
        return identity({"schema": SCHEMA, "digests": self.digests, **parts, **more})

    @property
    def name(self) -> str:
        """The run directory's name, `<task>-<model>-<method>-<id8>`."""
        settings = self.experiment
        model = settings.model.name.rstrip("/").rsplit("/", 1)[-1]
        return "-".join(_slug(part) for part in (self.task.name, model, settings.prompt.method, self.id))

    @property
    def width(self) -> int:
        """Most members side by side."""
        width = self.experiment.machine.width
        assert width != "auto", "prepare() settles it"
        return width

    @property
    def stage(self) -> Stage:
        """The pruning's stage, `prune-<id4>`."""
        return Stage.of("prune", identity(self.experiment.pruning.model_dump(mode="json"), 4))

    @property
    def search_settings(self) -> dict[str, Any]:
        """What decides a search's cells."""
        pruning = self.experiment.pruning.model_dump(
            mode="json", include={"score", "score_examples", "rewind", "dropped_as"}
        )
        return pruning | self.experiment.search.model_dump(mode="json")

    @property
    def search_stage(self) -> Stage:
        """The search's stage, `search-<id4>`."""
        return Stage.of("search", identity(self.search_settings, 4))

    @property
    def decoding(self) -> Decoding | None:
        """How answers are written; None where they are chosen."""
        return self.task.decoding if self.task.open else None

    @property
    def commits(self) -> dict[str, str]:
        """The commits of the Hub that "model" and "data" are of, where they are from there."""
        return commits_of(self.model, self.splits)

    @property
    def rows(self) -> list[Sequence[Encoded]]:
        """The encoded splits: train, validation, test."""
        return [self.training_data.train, self.training_data.validation, self.test]

    @property
    def snapshot_steps(self) -> list[int]:
        """The steps of round 0 that can be rewound to: the start and every evaluation."""
        return list(range(0, self.plan.train_steps + 1, self.plan.evaluate_every))

    @property
    def duplicates(self) -> dict[str, int]:
        """Rows that are in several splits or contradict others, by what they are; dealt labels contradict nothing."""
        counts = duplicates(self.splits)
        shuffled = self.experiment.task.labels == "shuffled"
        return {name: count for name, count in counts.items() if not (shuffled and name == "contradicting")}

    @property
    def notes(self) -> list[str]:
        """What stands against the data and against the ticket that the prompt starts from, a line each."""
        lines = [*self.splits.notes, *sentences(self.duplicates, self.splits.sizes)]
        if self.other_model:
            lines.append(f"the ticket to start from was made with another: {provenance.one_line(self.other_model)}")
        return [f"note: {line}" for line in lines]

    def dense(self, seed: int) -> Ticket:
        """The ticket of round 0: a full mask and the starting values of a seed."""
        prompt = self.experiment.prompt
        values = self._start(self.initialiser, "init", seed)
        origin = {
            "task": self.experiment.task.name,
            "model": self.experiment.model.name,
            "model_digest": self.digests["model"],
            "run": self.id,
            "content": self.content,
        } | {f"{name}_revision": commit for name, commit in self.commits.items()}
        return Ticket(
            mask=Mask.full(prompt.tokens, prompt.pieces),
            state=values.state,
            head=values.head if self.head is None else self.head,
            dropped_as=prefix.dense_dropped_as(self.experiment),
            position=self.model.position,
            method=prompt.method,
            seed=seed,
            frozen=prompt.frozen_tokens,
            origin=origin,
        )

    def new_values(self, ticket: Ticket) -> Values:
        """New starting values for a ticket, unlike those of its round 0 and without any transferred ones.

        Its frozen tokens are not new: they are the same in whatever it is compared with.
        """
        values = self._start(self.reinitialiser, "fresh", ticket.seed, ticket.round)
        if not ticket.frozen:
            return values
        parts = (ticket.state["values"][: ticket.frozen], values.state["values"][ticket.frozen :])
        return replace(values, state={**values.state, "values": torch.cat(parts)})

    def _start(self, initialise: Initialiser, *names: object) -> Values:
        settings, draw = self.experiment.prompt, generator(*names)
        values = initialise(draw, (settings.tokens, self.model.width))
        return Values(self.prompt_factory.start(values, draw), self.model.new_head(_fixed_choices(self.task)))


def prepare(
    experiment: Experiment,
    model: FrozenModel | None = None,
    like: Prepared | None = None,
    working: Working = unseen,
) -> Prepared:
    """Load model, task and data; resolve and check every setting.

    Args:
        experiment: the settings, some of them "auto".
        model: the result of `model_of` for the same model and machine settings, where it is loaded already.
        like: an experiment prepared on that model before; its rows are reused where task and prompt length are equal.
        working: is shown what goes on.

    Raises:
        ConfigError: in one line; nothing has been written.
        DataError: in one line; nothing has been written.
    """
    experiment = prompt_start.sized(experiment)
    reused = like if like and _has_same_rows(like, experiment, model) else None
    with working(f"reading {experiment.task.name}"):
        task, splits = (reused.task, reused.splits) if reused else task_of(experiment)
    experiment = prompt_start.worded(experiment, task)
    if model is None:
        with working(f"loading {experiment.model.name}{_size(experiment.model.name)} and trying a prompt on it"):
            model = model_of(experiment)
            models.check_gradient(model)
    elif reused is None:
        models.check_gradient(model)
    asked_task = experiment.task
    experiment = resolved(_with_words(experiment, task), model, len(splits.train))
    parts = (splits.train, splits.validation, splits.test)
    with working(f"encoding {sum(map(len, parts)):,} examples"):
        rows = reused.rows if reused else [encode(model, task, part, experiment.prompt.tokens) for part in parts]
    with working("taking the fingerprint of the weights"):
        prepared = _assembled(experiment, asked_task, model, task, splits, rows, reused)
    _check(prepared)
    with working("measuring how much memory an update takes"):
        return _with_machine(prepared, reused)


def _size(name: str) -> str:
    """Such as " (257 MB)" of a local folder; "" of a name on the Hub."""
    size = sum(file.stat().st_size for file in Path(name).glob("*.safetensors"))
    return f" ({size / 1e6:.0f} MB)" if size else ""


def _has_same_rows(like: Prepared, experiment: Experiment, model: FrozenModel | None) -> bool:
    """Whether the encoded rows of a prepared experiment are those of this one."""
    before = (like.model, like.asked_task, like.experiment.prompt.tokens)
    return before == (model, experiment.task, experiment.prompt.tokens)


def _assembled(
    experiment: Experiment,
    asked_task: TaskSettings,
    model: FrozenModel,
    task: Task,
    splits: Splits,
    rows: Sequence[Sequence[Encoded]],
    reused: Prepared | None,
) -> Prepared:
    """The resolved experiment with all that its prompts are made and trained with."""
    source = prompt_start.source(experiment.prompt, model)
    train, validation, test = rows
    initialiser, reinitialiser, factory = _prompt_parts(experiment, model, task, rows, source, reused)
    model_digest, content = (reused.digests["model"], reused.content) if reused else _identified(model, task, splits)
    return Prepared(
        experiment=experiment,
        task=task,
        splits=splits,
        model=model,
        training_data=TrainingData(train, validation, measure=_measure(task, splits.validation)),
        test=test,
        plan=Plan(**experiment.training.model_dump(exclude={"keep"}), model_dropout=experiment.model.model_dropout),
        initialiser=initialiser,
        reinitialiser=reinitialiser,
        prompt_factory=factory,
        head=prompt_start.head(experiment.prompt, source, model.new_head(_fixed_choices(task))),
        digests={
            "model": model_digest,
            "data": splits.digest,
            "task": task.digest(),
            **prompt_start.digests(experiment.prompt, source),
            **factory.digests,
            **({"chat_template": identity(model.tokenizer.get_chat_template(), 16)} if task.chat else {}),
        },
        counts=reused.counts if reused else {},
        content=content,
        asked_task=asked_task,
        other_model=provenance.differences(provenance.ticket_model_content(source), content) if source else (),
    )


def _prompt_parts(
    experiment: Experiment,
    model: FrozenModel,
    task: Task,
    rows: Sequence[Sequence[Encoded]],
    source: Ticket | None,
    reused: Prepared | None,
) -> tuple[Initialiser, Initialiser, PromptFactory]:
    """Initialiser, reinitialiser and factory of the prompts; those of `reused` where prompts start alike."""
    if reused and _starts_alike(reused.experiment, experiment):
        return reused.initialiser, reused.reinitialiser, reused.prompt_factory
    longest = reused.prompt_factory.options.input_tokens if reused else _longest(experiment, rows)
    factory = prompt_method.prompt_factory(experiment.prompt, model, rows[0], longest)
    initialiser = prompt_start.initialiser(experiment.prompt, model, task, source)
    return initialiser, prompt_start.initialiser(experiment.prompt, model, task), factory


def _with_machine(prepared: Prepared, reused: Prepared | None) -> Prepared:
    """The experiment with the width that the memory allows."""
    alike = reused if reused and _starts_alike(reused.experiment, prepared.experiment) else None
    ticket = alike.example_ticket if alike and alike.example_ticket else prepared.dense(0)
    update = device.Update(
        ticket, prepared.model, prepared.training_data.train, prepared.plan.batch_size, prepared.counts
    )
    machine = device.resolve_width(prepared.experiment.machine, update)
    experiment = prepared.experiment.model_copy(update={"machine": machine})
    return replace(prepared, experiment=experiment, example_ticket=ticket)


def _starts_alike(experiment: Experiment, other: Experiment) -> bool:
    """Whether prompts start alike, and from nothing that lies in files, which may change meanwhile."""
    prompt = experiment.prompt
    from_files = prompt.init_from or prompt.start_from or prompt.subspace_from
    where = ("device", "threads")  # what is measured is rounded otherwise on another machine
    alike = all(getattr(experiment.machine, name) == getattr(other.machine, name) for name in where)
    return not from_files and prompt == other.prompt and alike


def _longest(experiment: Experiment, rows: Sequence[Sequence[Encoded]]) -> int:
    """Tokens of the longest input there will be."""
    return max(experiment.model.max_input_tokens, *(row.length for part in rows for row in part))


def encode(model: FrozenModel, task: Task, examples: Sequence[Example], prompt_tokens: int) -> list[Encoded]:
    """Token ids of a task's examples, beside a prompt of P = `prompt_tokens`; the model is tried at their length.

    Raises:
        ConfigError: where a token has no embedding in the model, or the model cannot read rows so long.
    """
    encoded = model.encode(examples, own_choices=_fixed_choices(task) is None, prompt_tokens=prompt_tokens)
    models.find_traits(model, prompt_tokens + max((row.length for row in encoded), default=0))
    return encoded


def move(prepared: Prepared, experiment: Experiment) -> Prepared:
    """The same run under other machine settings: device and threads are put in force.

    What the method measured is measured again, since another device or number of threads rounds otherwise.
    """
    device.apply(experiment.machine)
    device.move_model(prepared.model, experiment.machine)
    if experiment.machine.checkpointing and not prepared.experiment.machine.checkpointing:
        memory.recompute_activations(prepared.model)
    if experiment.machine == prepared.experiment.machine:
        return replace(prepared, experiment=experiment)
    longest = prepared.prompt_factory.options.input_tokens
    factory = prompt_method.prompt_factory(experiment.prompt, prepared.model, prepared.training_data.train, longest)
    return replace(prepared, experiment=experiment, prompt_factory=factory)


def model_of(experiment: Experiment) -> FrozenModel:
    """The model that an experiment names, on its device.

    Raises:
        DataError: where there is no such model.
        ConfigError: where model or device cannot be used as asked.
    """
    device.apply(experiment.machine)
    settings = experiment.model
    model = models.load(
        model_path(settings.name),
        revision=settings.revision,
        position=settings.position,
        ranking=settings.ranking,
        max_input_tokens=settings.max_input_tokens,
        precision=settings.quantize or settings.precision,
        device=experiment.machine.device_map or device.device(experiment.machine),
        text_cache_mb=settings.text_cache_mb,
    )
    if experiment.machine.checkpointing or model.spread:  # else all layers that were fetched would stay
        memory.recompute_activations(model)
    return model


def _identified(model: FrozenModel, task: Task, splits: Splits) -> tuple[str, provenance.Content]:
    """The model's digest, and what model, task and data are by name."""
    identity = model.identity()
    return identity.digest, provenance.content(model, task, splits.parts, model=identity)


def _with_words(experiment: Experiment, task: Task) -> Experiment:
    """The experiment with the label words that its data told, so that the run can be used without the data."""
    if task.labels_file is None or task.labels is None or task.choices is None:
        return experiment
    words = dict(zip(task.labels, task.choices, strict=True))
    return experiment.model_copy(update={"task": experiment.task.model_copy(update={"label_words": words})})


def _measure(task: Task, validation: Sequence[Example]) -> Callable[[list[int]], dict[str, float]]:
    """Metrics of chosen answers; none where they are written, which would take too long while a prompt is trained."""
    return (lambda chosen: {}) if task.open else lambda chosen: task.score(validation, chosen)


def _check_frozen(settings: Experiment) -> None:
    """Refuse frozen tokens of other methods than direct, and counts that keep nothing, or nothing else."""
    frozen, fewest = settings.prompt.frozen_tokens, min((keep.tokens for keep in settings.keeps()), default=2**63)
    if frozen and settings.prompt.method != "direct":
        raise ConfigError(
            f"frozen_tokens = {frozen}: tokens of method {settings.prompt.method} share numbers; use --method direct"
        )
    if frozen and frozen >= min(settings.prompt.tokens, fewest):
        raise ConfigError(
            f"frozen_tokens = {frozen}: nothing else would be trained, or kept, of {settings.prompt.tokens} prompt "
            "tokens; use fewer, or more --keep-tokens"
        )


def check_directions(settings: Experiment, width: int, asked: str) -> None:
    """Refuse to prune directions of prompts that are no plain vectors of full rank P, all of them trained.

    Args:
        asked: the setting that asks for it, such as "keep_rank = 2".

    Raises:
        ConfigError: with the reason and what to use.
    """
    prompt = settings.prompt
    if prompt.method != "direct":
        raise ConfigError(
            f"{asked}: directions are pruned of plain vectors, not of {prompt.method}; use --method direct"
        )
    if prompt.frozen_tokens:
        raise ConfigError(f"{asked}: every token has some of each direction; leave out --frozen-tokens")
    if prompt.tokens > width:
        raise ConfigError(
            f"{asked}: {prompt.tokens} prompt tokens have no more than {width} directions, as wide as the embeddings "
            f"are; use --prompt-tokens {width} or fewer"
        )


def _check(prepared: Prepared) -> None:
    """Refuse settings that this model cannot follow."""
    prefix.check(prepared.experiment, prepared.model)
    settings = prepared.experiment
    if prepared.task.open:
        written_answers.check(prepared.experiment, prepared.model, prepared.task, prepared.splits.validation[:1])
    if settings.baselines.ceiling == "lora":
        lora.check_peft()
    _check_frozen(settings)
    if settings.pruning.keep_rank is not None:
        check_directions(settings, prepared.model.width, f"keep_rank = {settings.pruning.keep_rank}")
    piece_width(prepared.model.width, settings.prompt.pieces)
    if settings.pruning.dropped_as == "hide" and not prepared.model.can_hide:
        raise ConfigError(
            "dropped_as = hide: this model does not follow attention_mask, so that it would read dropped tokens; use "
            "--dropped-as remove or zero"
        )
    steps = prepared.snapshot_steps
    if isinstance(settings.pruning.rewind, int) and settings.pruning.rewind not in steps:
        raise ConfigError(
            f"rewind = {settings.pruning.rewind}: the dense round keeps its values at steps "
            f"{', '.join(map(str, steps))}; choose one of them, or set evaluate_every"
        )


def _fixed_choices(task: Task) -> int | None:
    """C where the task's answers are always the same, None where they are each example's own."""
    return None if task.choices is None or task.open else len(task.choices)


def _slug(text: str) -> str:
    """A plain part of a directory's name, short enough that three of them and the id make one."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._") else "-" for c in text[:60]).strip(".-") or "x"
