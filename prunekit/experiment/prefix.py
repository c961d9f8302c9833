"""What settings mean for keys and values before the text (position "prefix-kv"): defaults, starts, what does not go."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from prunekit.experiment.settings import Experiment, PromptSettings
from prunekit.export.prefix_tuning import check_whole, compacted
from prunekit.models import FrozenModel
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.prompts.init.source import Embed
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError

# methods that move the input embeddings too, which are not what a prefix is made of
_MOVE_INPUT = ("dept", "adept", "ept")
# numbers of a random subspace's basis: more would take longer to draw than to train
_MOST_BASIS = 10**8


def with_defaults(experiment: Experiment, model: FrozenModel) -> Experiment:
    """The experiment with what a prefix has by default where nothing is asked for: a piece is a head, and is hidden."""
    if not isinstance(model, PrefixDecoder):
        return experiment
    prompt, pruning = experiment.prompt, experiment.pruning
    if "pieces" not in prompt.model_fields_set:
        prompt = prompt.model_copy(update={"pieces": model.shape.cells})
    if "dropped_as" not in pruning.model_fields_set:
        pruning = pruning.model_copy(update={"dropped_as": "hide" if model.can_hide else "zero"})
    return experiment.model_copy(update={"prompt": prompt, "pruning": pruning})


def dense_dropped_as(experiment: Experiment) -> Literal["remove", "hide", "zero"]:
    """What the tickets of round 0 are said to drop by, which nothing yet is: scores are of that act."""
    if experiment.model.position != "prefix-kv":
        return "remove"
    return "zero" if experiment.pruning.dropped_as == "zero" else "hide"


def identity_parts(experiment: Experiment) -> dict[str, Any]:
    """What of the pruning decides round 0: whether its scores are of hiding or of zeros."""
    zeros = experiment.model.position == "prefix-kv" and experiment.pruning.dropped_as == "zero"
    return {"dropped_as": "zero"} if zeros else {}


def starting_vectors(model: FrozenModel) -> Embed:
    """From token ids to vectors that a prompt may start at: embeddings, or what the model keeps of the ids as a text.

    A text of the model begins with what its tokenizer opens every text with, where it does, and much attention rests
    there: so does such a prefix, in place of its last id.
    """
    if not isinstance(model, PrefixDecoder):
        return model.embed
    opening = torch.tensor(model.reader.opening, dtype=torch.long)
    return lambda ids: model.prompt_vectors(_opened(opening, ids))


def _opened(opening: Tensor, ids: Tensor) -> Tensor:
    return torch.cat([opening, ids.cpu()])[: len(ids)]


def rate_unit(model: FrozenModel) -> float:
    """What a method's `auto_rate` is a multiple of: the RMS of the model's embeddings, or of its own keys and values.

    A tenth of the latter, so that direct prompts, at 0.2 of it, learn at 0.02 of what the model itself keeps of words.
    Measured with AdamW from `init = vocabulary`, the validation loss after 40 updates of 16 on testbed/first-animal,
    and after 8 of 8 on SST-2: stories260K (RMS 5.2) of 0.003, 0.01, 0.03, 0.1, 0.3 and 1 learns best at 0.1,
    SmolLM2-135M (RMS 1.5) of 0.003 to 0.3 at 0.03; after 16 updates 0.003 is ahead there, so the factor is weakly
    supported.
    """
    return 0.1 * model.cache_rms if isinstance(model, PrefixDecoder) else model.embedding_rms


def cache_facts(ticket: Ticket, model: FrozenModel) -> dict[str, int]:
    """What a request keeps of a ticket's prefix, in bytes in the model's precision, and what it is a prefix of.

    Hidden heads take room. Nothing of a prompt that is no prefix.
    """
    if not isinstance(model, PrefixDecoder):
        return {}
    size = slots(ticket) * model.width * next(model.model.parameters()).element_size()
    return {"cache_bytes": size, "cache_layers": model.shape.layers, "cache_heads": model.shape.heads}


def slots(ticket: Ticket) -> int:
    """Places in a cache that a prefix takes: a token that any head sees has one, and zeros are seen."""
    return len(ticket.mask.token) if ticket.dropped_as == "zero" else ticket.mask.tokens


def start_of(ticket: Ticket, model: FrozenModel, name: str) -> Ticket:
    """The ticket that a prompt goes on from: of a prefix whose tokens were hidden or removed, the rest moved together.

    Raises:
        ConfigError: naming the ticket, where that would be another function.
    """
    if not isinstance(model, PrefixDecoder) or ticket.dropped_as == "zero":
        return ticket
    compact = compacted(ticket, model)
    try:
        check_whole(compact, model)
    except ConfigError as error:
        raise ConfigError(f"--from {name}: {error}") from error
    return compact


def check(experiment: Experiment, model: FrozenModel) -> None:
    """Refuse settings that a prefix cannot follow.

    Raises:
        ConfigError: with the reason and what to use.
    """
    if not isinstance(model, PrefixDecoder):
        return
    dropped_as, pieces = experiment.pruning.dropped_as, experiment.prompt.pieces
    if dropped_as != "zero" and model.shape.cells % pieces:
        raise ConfigError(model.unhideable(pieces))
    if dropped_as == "remove" and not model.can_remove:
        raise ConfigError(
            f"dropped_as = remove: {model.name} counts distances over the slots that are there, so that the rest would "
            "move; use --dropped-as hide or zero"
        )


def check_prompt(settings: PromptSettings, model: FrozenModel) -> None:
    """Refuse methods and starts that make no prefix.

    Raises:
        ConfigError: with the reason and what to use.
    """
    if not isinstance(model, PrefixDecoder):
        return
    if settings.method in _MOVE_INPUT:
        raise ConfigError(
            f"--method {settings.method} adds to the input embeddings too, which are not what a prefix-kv prompt is "
            "made of; use direct, dpt, residual, structured, singular or ulpt"
        )
    if settings.method == "bilinear" and settings.columns == "whitening":
        raise ConfigError(
            "--method bilinear whitens what the first attention reads, and a prefix-kv prompt is read by all of them; "
            "add --columns random"
        )
    if settings.method == "intrinsic" and settings.subspace == "random":
        dimension, numbers = settings.dimension or 250, settings.tokens * model.width
        if dimension * numbers > _MOST_BASIS:
            raise ConfigError(
                f"--method intrinsic --subspace random: a basis of {dimension} x {numbers:,} numbers is too large; use "
                f"--dimension {max(1, _MOST_BASIS // numbers)}"
            )
    if settings.init == "labels":
        raise ConfigError(
            "init = labels: the mean of what a model keeps of several words is nothing that it ever keeps; use --init "
            "vocabulary or text"
        )
