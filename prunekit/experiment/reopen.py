"""A finished ticket opened again: the settings that it was made under, its model and rows, and what has changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.distributed import answer
from prunekit.engine.evaluate import Evaluation
from prunekit.engine.evaluate import evaluate as evaluate_prompts
from prunekit.engine.write import Written, write
from prunekit.experiment import commits, environment, provenance, settings_io
from prunekit.experiment.call import experiment_of, frozen_model
from prunekit.experiment.prepare import encode
from prunekit.experiment.round_runner import Progress
from prunekit.experiment.settings import Experiment
from prunekit.experiment.task_of import named_task, task_of
from prunekit.models import Encoded, FrozenModel, PromptBatch
from prunekit.pruning.ticket import Ticket
from prunekit.runs.paths import RunKey
from prunekit.runs.reader import RunReader
from prunekit.runs.round_files import locate, open_ticket, starting_ticket
from prunekit.runs.run import Run
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example, Task

#: The sections of a run's settings that its tickets are used under.
SECTIONS = ("model", "task", "prompt", "machine")
SPLITS = ("train", "validation", "test")

# settings that may be paths: what they name can lie in one folder or another
_PATHS = ("model.name", "task.name", "task.data")


@dataclass(frozen=True)
class OpenedTicket:
    """A finished ticket and where it is from.

    Attributes:
        name: what an error calls it.
        run: the run that it lies in, and `key` where there; None of a ticket file or of a ticket in memory.
        settings: those of its run that it is used under, by section; empty where it is of no run.
    """

    ticket: Ticket
    name: str
    run: Run | None = None
    key: RunKey | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def experiment(self, flags: Mapping[str, Any], model: Any = None, task: Any = None) -> Experiment:
        """The settings to use it under: those that it was made under, with the given flags over them."""
        if self.settings:
            return experiment_of(model, task, flags, self.settings)
        origin, answering = self.ticket.origin, dict[str, Any](provenance.ticket_settings(self.ticket))
        answering["position"] = self.ticket.position
        named = {"model": ("model", "model_revision"), "task": ("task", "data_revision")}
        tables = {
            section: _stated(dict(zip(("name", "revision"), map(origin.get, names), strict=True)))
            for section, names in named.items()
        }
        return experiment_of(model, task, answering | _stated(flags), tables)

    @property
    def start(self) -> Ticket | None:
        """The ticket as its training began, None where it is of no run."""
        return None if self.run is None or self.key is None else starting_ticket(self.run, self.key)

    @property
    def content(self) -> provenance.Content:
        """What it was made with, as its run or it itself tells."""
        return provenance.ticket_content(self.ticket) if self.run is None else provenance.run_content(self.run)


@dataclass(frozen=True)
class TicketInUse:
    """A finished ticket with all that it is used on, compared with what it was made with.

    Attributes:
        rows: the examples of the splits that were asked for, by name.
        differences: what is not as it was, where that was allowed.
        content: what model, task and data are, by name.
        start: the ticket as its training began, None where it is of no run.
    """

    ticket: Ticket
    experiment: Experiment
    task: Task
    model: FrozenModel
    rows: Mapping[str, Sequence[Example]]
    differences: Sequence[str]
    content: provenance.Content
    start: Ticket | None

    def answers(self, examples: Sequence[Example]) -> Evaluation:
        """What the model answers with the ticket: losses, choices and scores [N], and what it writes, where it does."""
        decoding = self.task.decoding if self.task.open else None
        prompts, rows = self._encoded(examples)
        return answer(prompts, self.model, rows, decoding)[0]

    def written(self, examples: Sequence[Example]) -> list[tuple[Written, float]]:
        """What the model writes with the ticket to open questions, and the log-probability of each answer's tokens."""
        prompts, rows = self._encoded(examples)
        (answers,) = write(prompts, self.model, rows, self.task.decoding)
        targets = [replace(row, choices=(text.ids,), gold=0) for row, text in zip(rows, answers, strict=True)]
        scores = evaluate_prompts(prompts, self.model, targets).scores[0].tolist()
        return list(zip(answers, scores, strict=True))

    def _encoded(self, examples: Sequence[Example]) -> tuple[PromptBatch, list[Encoded]]:
        """The ticket's prompt and the examples' rows, as the model takes them."""
        with torch.no_grad():
            prompts = prompt_batch([Member(self.ticket, self.model.device)])
        return prompts, encode(self.model, self.task, examples, len(self.ticket.mask.token))


def opened(ticket: Ticket | Path | str) -> OpenedTicket:
    """A ticket in memory, or that of a ticket file or of a finished round's directory.

    Raises:
        ArtifactError: where a path is neither, or damaged.
    """
    if isinstance(ticket, Ticket):
        return OpenedTicket(ticket, "this ticket", settings=getattr(ticket, "run_settings", {}))
    location = locate(Path(ticket))
    if location is None:
        return OpenedTicket(open_ticket(Path(ticket)), str(ticket))
    run, key = location
    return OpenedTicket(open_ticket(Path(ticket)), str(ticket), run, key, settings_for_use(run))


def settings_for_use(run: RunReader) -> dict[str, Any]:
    """What a run's tickets are used under where nothing else is said, by section."""
    settings = commits.pinned(run.settings())
    return {section: settings[section] for section in SECTIONS}


@contextmanager
def in_use(
    source: OpenedTicket,
    flags: Mapping[str, Any],
    splits: Sequence[str],
    *,
    progress: Progress,
    allow_changed: bool,
    model: Any = None,
    tokenizer: Any = None,
    task: Any = None,
) -> Iterator[TicketInUse]:
    """A finished ticket under its own settings with the given flags over them, its model and these splits loaded.

    What differs from what it was made with is said where it is allowed, and where it can be no more than rounding.

    Args:
        model: a loaded model with its `tokenizer`, or a name; None for the ticket's own.

    Raises:
        ConfigError: in one line with all differences where they are not allowed, or the ticket cannot be used.
    """
    experiment = source.experiment(flags, model, task)
    if splits:
        task, parts = task_of(experiment)
        rows = {name: parts.parts[name] for name in splits}
    else:
        task, rows = named_task(experiment.task), {}
    with frozen_model(model, tokenizer, experiment) as frozen:
        check_fit(source.ticket, frozen)
        content = provenance.content(frozen, task, rows)
        differences = check_unchanged(
            source, content, progress, allow_changed=allow_changed, device=experiment.machine.device
        )
        for line in commits.notes(source.run, experiment, task) if source.run else ():
            progress.say(line)
        yield TicketInUse(source.ticket, experiment, task, frozen, rows, differences, content, source.start)


def check_unchanged(
    source: OpenedTicket,
    content: provenance.Content,
    progress: Progress,
    *,
    allow_changed: bool,
    device: str = "cpu",
    ignored: Collection[str] = (),
) -> list[str]:
    """In what a use differs from what a ticket was made with; it is said.

    Args:
        content: what is used now.
        ignored: fields of `answering` that may differ.

    Raises:
        ConfigError: where it differs and that is not allowed.
    """
    differences = provenance.check(source.name, source.content, content, allow_changed=allow_changed, ignored=ignored)
    if differences:
        progress.say(f"note: not what it was made with, and used all the same: {provenance.one_line(differences)}")
    if source.run is not None and source.key is not None:
        for line in environment.notes(source.run, [source.key], device):
            progress.say(line)
    return differences


def check_fit(ticket: Ticket, model: FrozenModel) -> None:
    """Whether a ticket can be used on a model.

    Raises:
        ConfigError: where its prompt or its head is of another width.
    """
    with torch.no_grad():
        width = ticket.prompt()()[0].shape[-1]
    if width != model.width:
        raise ConfigError(f"the ticket is {width} wide, the model's embeddings {model.width}")
    if ticket.head is not None and (wide := ticket.head["weight"].shape[1]) != model.hidden_width:
        raise ConfigError(f"the ticket's head is {wide} wide, the model's states {model.hidden_width}")


def changed_settings(run: RunReader, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The given flags of model and task that are other than a run's own, by dotted name.

    A model, task or data of the same name that lies in another folder is the same.
    """
    before, now = (
        settings_io.experiment(None, stated, settings_for_use(run)).model_dump(mode="json")
        for stated in ({}, _stated(flags))
    )
    return {
        f"{section}.{name}": value
        for section in ("model", "task")
        for name, value in now[section].items()
        if not _same(f"{section}.{name}", before[section].get(name), value)
    }


def _same(setting: str, before: Any, now: Any) -> bool:
    if setting in _PATHS and before and now:
        return Path(before).name == Path(now).name
    return bool(before == now)


def _stated(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}
