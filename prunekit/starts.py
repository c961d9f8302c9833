"""Where a prompt's values start, from its settings: an initialiser, or another task's finished ticket."""

from __future__ import annotations

from pathlib import Path

import torch

from prunekit import inits
from prunekit.backbones import Backbone
from prunekit.config import PromptSettings
from prunekit.errors import ConfigError
from prunekit.inits import Initialiser
from prunekit.records import open_ticket
from prunekit.tasks import Task
from prunekit.tickets import Ticket


def source(settings: PromptSettings, backbone: Backbone) -> Ticket | None:
    """The finished ticket that `init_from` names, checked against model and settings; None where it names none.

    Raises: ArtifactError where it is no ticket; ConfigError where it does not fit.
    """
    if settings.init_from is None:
        return None
    ticket = open_ticket(Path(settings.init_from))
    tokens, width = _values(ticket)[0].shape
    if width != backbone.width:
        raise ConfigError(f"--init-from {settings.init_from}: {width} wide, the model's embeddings {backbone.width}")
    if tokens != settings.tokens:
        raise ConfigError(
            f"--init-from {settings.init_from}: a prompt of {tokens} tokens, this one has {settings.tokens}; "
            f"add --prompt-tokens {tokens}"
        )
    return ticket


def initialiser(settings: PromptSettings, backbone: Backbone, task: Task, origin: Ticket | None = None) -> Initialiser:
    """What draws starting values [P, H].

    origin: prompt transfer (XPrompt, Table 7): its surviving tokens start as it left them, dropped pieces of theirs
    at zero; where it dropped a token, a new one is drawn. A head is not carried over: it answers another question.

    Raises: ConfigError where the settings lack what they ask for.
    """
    drawn = _drawn(settings, backbone, task)
    return drawn if origin is None else inits.from_rows(*_values(origin), drawn)


def _drawn(settings: PromptSettings, backbone: Backbone, task: Task) -> Initialiser:
    def ids(text: str) -> list[int]:
        found: list[int] = backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    match settings.init:
        case "vocabulary":
            return inits.from_vocabulary(backbone.embed, backbone.ordinary_ids())
        case "uniform":
            return inits.uniform()
        case "text":
            if settings.init_text is None:
                raise ConfigError('init = "text" needs --init-text, the words to start from')
            return inits.from_text(backbone.embed, ids(settings.init_text))
        case "labels":
            if task.choices is None:
                raise ConfigError(f'init = "labels": the answers of task "{task.name}" differ per example')
            vocabulary = inits.from_vocabulary(backbone.embed, backbone.ordinary_ids())
            return inits.from_labels(backbone.embed, [ids(word) for word in task.choices], vocabulary)


def _values(ticket: Ticket) -> tuple[torch.Tensor, torch.Tensor]:
    """Effective values [P, H], and Bool[P]: the tokens that are kept."""
    with torch.no_grad():
        values, _ = ticket.prompt()()
    return values, ticket.mask.token
