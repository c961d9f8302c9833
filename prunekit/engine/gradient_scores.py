"""Estimates of how important a prompt's tokens and pieces are; larger = keep. What they estimate: `ablation`.

Gradient scores follow XPrompt (Ma et al. 2022, section 3.2): with gamma a mask on tokens, zeta one on pieces,
I(token) = mean over examples of |dL(x)/dgamma|, I(piece) = mean of |dL(x)/dzeta|, at the trained prompt. At gamma = 1
dL/dgamma_i is the inner product of p_i with dL/dp_i, so one backward pass on the prompt gives all of them. The absolute
value stands inside the mean: a batch gradient would let examples cancel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, get_args

import torch
from torch import Tensor

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.distributed import team
from prunekit.models import Batch, Encoded, FrozenModel, PromptBatch
from prunekit.pruning.scores import Scores, magnitude_scores, random_scores
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import DivergedError

GradientKind = Literal["absolute", "signed", "squared"]
Kind = Literal["absolute", "signed", "squared", "magnitude", "random"]
_GRADIENT_KINDS: tuple[GradientKind, ...] = get_args(GradientKind)
# examples at a time: as many as an update has by default, so that scoring takes no memory that training did not
_BATCH = 16
#: What is said where a gradient was not finite.
NOT_FINITE = "a gradient became NaN or infinite while scoring; nothing was pruned"


def scoring_batches(model: FrozenModel, examples: Sequence[Encoded]) -> Iterator[Batch]:
    """All examples once, of each the gold choice alone, texts of like length together."""
    rows = sorted(examples, key=lambda example: (example.length, example.index))
    for start in range(0, len(rows), _BATCH):
        yield model.batch([rows[start : start + _BATCH]], every_choice=False)


def all_scores(cohort: Sequence[Ticket], model: FrozenModel, batches: Iterable[Batch]) -> list[dict[Kind, Scores]]:
    """Every kind of score of every ticket; the gradient kinds share one pass over the batches.

    A member with a gradient that is not finite gets none; the others' scores stand.
    """
    by_kind: dict[Kind, Sequence[Scores | None]] = {
        "magnitude": magnitude_scores(cohort),
        "random": random_scores(cohort),
    }
    for kind, found in _gradient_scores(cohort, model, batches, _GRADIENT_KINDS).items():
        by_kind[kind] = found
    rows = ({kind: scores[place] for kind, scores in by_kind.items()} for place in range(len(cohort)))
    return [{kind: one for kind, one in row.items() if one is not None} if all(row.values()) else {} for row in rows]


def gradient_scores(
    cohort: Sequence[Ticket], model: FrozenModel, batches: Iterable[Batch], kind: GradientKind = "absolute"
) -> list[Scores]:
    """First-order scores of every ticket at its own values; no update is made, batches may be cut in any way.

    Args:
        kind: "absolute", the paper's |dL/dgamma|; "signed", -dL/dgamma, the first-order estimate of what leaving the
            token out costs; "squared", (dL/dgamma)^2, a Fisher estimate.

    Raises:
        DivergedError: where a gradient is not finite.
    """
    found = _gradient_scores(cohort, model, batches, (kind,))[kind]
    sound = [scores for scores in found if scores is not None]
    if len(sound) < len(found):
        raise DivergedError(NOT_FINITE)
    return sound


def _gradient_scores(
    cohort: Sequence[Ticket], model: FrozenModel, batches: Iterable[Batch], kinds: Sequence[GradientKind]
) -> dict[GradientKind, list[Scores | None]]:
    """Of each member None where any of its sums is not finite: a NaN must never rank as the least important."""
    members = [Member(ticket, model.device) for ticket in cohort]
    pieces = cohort[0].mask.piece.shape[1]
    with torch.no_grad():
        prompts = prompt_batch(members)
    shape = (*prompts.values.shape[:2], pieces + 1)  # [S, P, K + 1]
    totals = {kind: torch.zeros(shape, dtype=torch.float64) for kind in kinds}
    examples = 0
    for batch in islice(batches, team().rank, None, team().size):
        slopes = _slopes(prompts, model, batch, pieces)
        for kind, total in totals.items():
            total += _form(slopes, kind).sum(dim=1).cpu()
        examples += batch.size
    team().add(*totals.values())
    examples = team().total(examples)
    sound = [all(bool(torch.isfinite(total[place]).all()) for total in totals.values()) for place in range(len(cohort))]
    return {
        kind: [
            _scores(row, where, ticket, examples) if fine else None
            for row, where, ticket, fine in zip(total, prompts.source, cohort, sound, strict=True)
        ]
        for kind, total in totals.items()
    }


def _slopes(prompts: PromptBatch, model: FrozenModel, batch: Batch, pieces: int) -> Tensor:
    """[S, B, P, K + 1] per example: dL/dgamma in column 0, dL/dzeta in the others."""
    copies = prompts.per_example(batch.size)
    model.losses(copies, batch).sum().backward()
    assert copies.values.grad is not None
    product = (copies.values.detach() * copies.values.grad).double()
    zeta = product.unflatten(3, (pieces, -1)).sum(-1)
    return torch.cat([zeta.sum(-1, keepdim=True), zeta], dim=-1)


def _form(slopes: Tensor, kind: GradientKind) -> Tensor:
    match kind:
        case "absolute":
            return slopes.abs()
        case "signed":
            return -slopes
        case "squared":
            return slopes.square()


def _scores(sums: Tensor, source: Tensor, ticket: Ticket, examples: int) -> Scores:
    """Slots back to the prompt's own tokens; a token without a slot scores 0 and is ignored when choosing."""
    table = torch.zeros(*ticket.mask.piece.shape[:1], sums.shape[1], dtype=sums.dtype)
    real = source >= 0
    table[source[real].cpu()] = sums[real.cpu()]
    return Scores(table[:, 0] / examples, table[:, 1:] / examples, examples)
