"""Another ticket of the same tokens, each seen by all heads, where the ticket hides some from some heads alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prunekit.experiment.reopen import OpenedTicket, in_use
from prunekit.experiment.round_runner import Progress
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError


def whole(ticket: Ticket) -> Ticket:
    """The ticket with every kept token whole; its values in the heads that did not see it are those they had.

    Raises:
        ConfigError: where no kept token is hidden from heads alone.
    """
    mask = ticket.mask
    hides = ticket.position == "prefix-kv" and ticket.dropped_as != "zero"
    if not hides or mask.cells == mask.tokens * mask.piece.shape[1]:
        raise ConfigError("--whole is for tickets of keys and values that some heads alone do not see; leave it out")
    return replace(ticket, mask=Mask(mask.token, mask.token[:, None].expand_as(mask.piece).clone()))


def evaluated(
    source: OpenedTicket, settings: Mapping[str, Any], *, progress: Progress, allow_changed: bool, **loaded: Any
) -> dict[str, float]:
    """What a ticket reaches on the test split, by metric.

    Args:
        loaded: `model`, `tokenizer` and `task`, as `in_use` takes them.
    """
    with in_use(source, settings, ["test"], progress=progress, allow_changed=allow_changed, **loaded) as use:
        rows = use.rows["test"]
        return dict(use.task.score(rows, use.answers(rows).answers))


def sentence(metrics: Mapping[str, float], before: Mapping[str, float]) -> str:
    """What the whole tokens reach, and what the ticket did that they are of, where that is on record."""
    parts = [
        f"{name} {value:.4f}" + (f" (hidden from some heads: {before[name]:.4f})" if name in before else "")
        for name, value in metrics.items()
    ]
    return f"whole tokens, another ticket; on the test split {', '.join(parts)}"
