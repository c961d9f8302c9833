"""Whole layers, heads, keys or values of a prefix left out, one at a time, of all its tokens at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from torch import Tensor

from prunekit.analysis import token_importance
from prunekit.analysis.prefix_parts import Group, Parts
from prunekit.engine import ablation
from prunekit.experiment.reopen import TicketInUse
from prunekit.models import Encoded
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.support.errors import ConfigError


def count(use: TicketInUse, group: Group) -> int:
    """How many of a ticket can be left out. Raises: as `left_out`."""
    return int(_kept(use, group)[1].sum())


def left_out(
    use: TicketInUse,
    examples: Sequence[Encoded],
    group: Group,
    *,
    seed: int = 0,
    tick: Callable[[int], None] = lambda count: None,
) -> tuple[pd.DataFrame, float]:
    """What leaving out each layer, head or part costs, and the loss of the whole.

    Args:
        seed: of the tests.
        tick: called with the prompts that were evaluated, the whole one among them.

    Columns:
        layer, head, part (of `prefix_parts.Parts.names`); kept (bool: whether any token has it); score (loss without it
            less loss with it, NaN where no token has it), low, high, p, p_corrected, negative, right_change (of
            `token_importance.negative`).

    Raises:
        ConfigError: where the ticket is no prefix, or its pieces are larger than what is to be left out.
    """
    cells, kept = _kept(use, group)
    ablated = ablation.leave_groups_out(use.ticket, use.model, examples, cells[kept], tick=tick)
    changes = ablation.right_changes(ablated, examples)
    tested = token_importance.negative(
        ablated.costs.numpy(),
        None if use.task.open else changes.numpy(),
        units=kept.nonzero().flatten().tolist(),
        seed=seed,
    )
    names = _parts(use).names(group).assign(kept=kept.tolist(), unit=range(len(kept)))
    table = names.merge(tested.rename(columns={"cost": "score"}), how="left", on="unit").drop(columns="unit")
    return table, float(ablated.losses.mean())


def _kept(use: TicketInUse, group: Group) -> tuple[Tensor, Tensor]:
    """Bool[G, P, K], the cells of each layer, head or part, and Bool[G], which of them any token still has."""
    mask = use.ticket.mask.piece
    cells = _parts(use).cells(group, *mask.shape)
    return cells, (cells & mask).flatten(1).any(dim=1)


def _parts(use: TicketInUse) -> Parts:
    if not isinstance(use.model, PrefixDecoder):
        raise ConfigError("--level: layers and heads are left out of prefixes of keys and values alone (prefix-kv)")
    return Parts(use.model.shape.layers, use.model.shape.heads)
