"""Where a prompt's values start, from its settings: an initialiser, or a finished ticket.

`init_from` is prompt transfer: a ticket of another task, as long as the new prompt. `start_from` goes on from a ticket:
the new prompt is what it kept, its head included.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from prunekit.experiment import prefix
from prunekit.experiment.settings import Experiment, PromptSettings
from prunekit.models import FrozenModel
from prunekit.prompts.init.source import Initialiser, Source, build
from prunekit.prompts.init.values import from_array, from_rows
from prunekit.pruning.ticket import State, Ticket
from prunekit.runs.round_files import open_ticket
from prunekit.runs.ticket_file import ticket_bytes
from prunekit.support.errors import ConfigError
from prunekit.tasks import Task


def sized(experiment: Experiment) -> Experiment:
    """The experiment with the length of its prompt taken from the ticket that `start_from` names, if it names one.

    Raises:
        ArtifactError: where it is no ticket.
        ConfigError: where other settings contradict it.
    """
    settings = experiment.prompt
    if settings.start_from is None:
        return experiment
    if settings.init_from is not None or settings.method != "direct":
        raise ConfigError("--from starts at a ticket's own vectors; leave out --init-from and --method")
    kept = open_ticket(Path(settings.start_from)).mask.tokens
    if "tokens" in settings.model_fields_set and settings.tokens != kept:
        raise ConfigError(f"--from {settings.start_from}: keeps {kept} tokens; leave out --prompt-tokens")
    return experiment.model_copy(update={"prompt": settings.model_copy(update={"tokens": kept})})


def worded(experiment: Experiment, task: Task) -> Experiment:
    """The experiment with the words of `init = text`: the task's written instruction, where none are given."""
    settings = experiment.prompt
    if settings.init != "text" or settings.init_text is not None or not task.instruction:
        return experiment
    return experiment.model_copy(update={"prompt": settings.model_copy(update={"init_text": task.instruction})})


def source(settings: PromptSettings, model: FrozenModel) -> Ticket | None:
    """The finished ticket that `init_from` or `start_from` names, checked against model and settings; None without.

    Raises:
        ArtifactError: where it is no ticket.
        ConfigError: where it does not fit.
    """
    name = settings.init_from or settings.start_from
    if name is None:
        return None
    ticket = open_ticket(Path(name))
    tokens, width = _values(ticket)[0].shape
    if width != model.width:
        flag = "--init-from" if settings.init_from else "--from"
        raise ConfigError(f"{flag} {name}: {width} wide, the model's embeddings {model.width}")
    if settings.start_from is not None:
        if ticket.position != model.position:
            raise ConfigError(f"--from {name}: stands {ticket.position}; add --position {ticket.position}")
        return ticket
    if tokens != settings.tokens:
        raise ConfigError(
            f"--init-from {settings.init_from}: a prompt of {tokens} tokens, this one has {settings.tokens}; "
            f"add --prompt-tokens {tokens}"
        )
    return ticket


def initialiser(settings: PromptSettings, model: FrozenModel, task: Task, origin: Ticket | None = None) -> Initialiser:
    """What draws starting values [P, H].

    A ticket that `start_from` names gives all values itself.

    Args:
        origin: prompt transfer (XPrompt, Table 7): its surviving tokens start as it left them, dropped pieces of theirs
            at zero; where it dropped a token, a new one is drawn. A head is not carried over: it answers another
            question.

    Raises:
        ConfigError: where the settings lack what they ask for.
    """
    drawn = _drawn(settings, model, task)
    if origin is None:
        return drawn
    if settings.start_from is None:
        return from_rows(*_values(origin), drawn)
    values, kept = _values(prefix.start_of(origin, model, settings.start_from))
    return from_array(values[kept].float())


def digests(settings: PromptSettings, origin: Ticket | None) -> dict[str, str]:
    """What the ticket that a prompt starts from adds to a run's identity."""
    name = "start_from" if settings.start_from else "init_from"
    return {} if origin is None else {name: hashlib.sha256(ticket_bytes(origin)).hexdigest()}


def head(settings: PromptSettings, origin: Ticket | None, fresh: State | None) -> State | None:
    """The head that a ticket named by `start_from` brings along, or None.

    Args:
        fresh: what a new head of the task looks like.

    Raises:
        ConfigError: where the ticket's is of another size.
    """
    if origin is None or settings.start_from is None:
        return None
    sizes = [None if tensors is None else tuple(tensors["weight"].shape) for tensors in (origin.head, fresh)]
    if sizes[0] != sizes[1]:
        raise ConfigError(
            f"--from {settings.start_from}: its head has shape {sizes[0]}, this task and model need {sizes[1]}; "
            "use --init-from, which leaves heads behind"
        )
    return origin.head


def _drawn(settings: PromptSettings, model: FrozenModel, task: Task) -> Initialiser:
    def tokenize(text: str) -> list[int]:
        ids: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    vectors = prefix.starting_vectors(model)
    source = Source(vectors, model.ordinary_ids, tokenize, settings.init_text, task.choices, task.name)
    return build(settings.init, source)


def _values(ticket: Ticket) -> tuple[torch.Tensor, torch.Tensor]:
    """Effective values [P, H], and Bool[P]: the tokens that are kept."""
    with torch.no_grad():
        values, _ = ticket.prompt()()
    return values, ticket.mask.token
