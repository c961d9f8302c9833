"""Does a finder keep the same units twice? The same trained prompt is scored on two draws of examples.

Prompts of different seeds start from other words, so that their tokens have nothing in common but their places: what a
finder keeps at two seeds cannot agree. So each prompt is scored once more, on examples that its first scores did not
see and with other random numbers where the finder draws any, and the two masks are compared as those of two seeds are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from benchmarks.prunebench.entry import Entry
from prunekit.analysis import overlap, subjects
from prunekit.engine.probe import TicketProbe
from prunekit.models import Encoded, FrozenModel
from prunekit.prompts.mask import Mask
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.ticket import Ticket
from prunekit.tasks.drawn import drawn

# of the second draw; no prompt of a benchmark has one as large
_SEED = 1_000_000


def second_mask(
    entry: Entry, prompts: tuple[Ticket, Ticket], model: FrozenModel, examples: Sequence[Encoded], keep: Keep
) -> tuple[Mask, float]:
    """What a finder keeps of a trained prompt by other examples than a run scores it by, and what that cost.

    Args:
        prompts: the dense ticket as it was trained, and as its training began.
        examples: of `train`, at least twice as many as the entry is given.

    Returns:
        The mask, and passes forward and backward, summed over examples.
    """
    trained, start = prompts
    levels = ("token",) if keep.pieces == trained.mask.piece.shape[1] else ("token", "piece")
    rows = drawn(examples, entry.examples, draw=1)
    ticket = replace(trained, seed=trained.seed + _SEED)
    probe = TicketProbe(ticket, model, rows, levels, start=start, keep=keep)
    mask = prune_mask(trained.mask, entry.finder.score(probe), keep)
    return mask, (probe.passes.forward + probe.passes.backward) * probe.examples


def agreement(first: Mask, second: Mask) -> tuple[float, float]:
    """The Jaccard index of two masks of equal counts that drop something, and its mean where both are random ones.

    Of tokens where these keep all their pieces, else of cells.
    """
    records = [_record(mask, draw) for draw, mask in enumerate((first, second))]
    table = overlap.agreement(records).set_index("level")
    whole_tokens = bool((first.piece.all(dim=1) == first.token).all())
    row = table.loc["token" if whole_tokens else "cell"]
    return float(row["jaccard"]), float(row["expected"])


def _record(mask: Mask, draw: int) -> subjects.PromptRecord:
    record = subjects.plain(torch.zeros(mask.piece.shape), keys={"seed": draw, "round": 1})
    return replace(record, mask=mask)
