"""Estimates of how important a prompt's tokens and pieces are; larger = keep. What they estimate: `ablation`.

Gradient scores follow XPrompt (Ma et al. 2022, section 3.2): with gamma a mask on tokens, zeta one on pieces,
I(token) = mean over examples of |dL(x)/dgamma|, I(piece) = mean of |dL(x)/dzeta|, at the trained prompt. At gamma = 1
dL/dgamma_i is the inner product of p_i with dL/dp_i, so one backward pass on the prompt gives all of them. The absolute
value stands inside the mean: a batch gradient would let examples cancel. Where a dropped piece is hidden and not zeros
(position prefix-kv), gamma and zeta are factors of the attention that a head pays to it: their logarithm is added
inside the softmax, and its slope at 1 comes from the same pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.distributed import team
from prunekit.engine.parts import in_parts
from prunekit.models import Batch, Encoded, FrozenModel, PromptBatch
from prunekit.pruning.scores import ROUND_SCORES, Absolute, GradientScore, Scores, TicketScore
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import DivergedError

#: Examples at a time: as many as an update has by default and in its parts, so that scoring takes no more memory.
BATCH = 16
#: What is said where a gradient was not finite.
NOT_FINITE = "a gradient became NaN or infinite while scoring; nothing was pruned"


def scoring_batches(model: FrozenModel, examples: Sequence[Encoded], *, every_choice: bool = False) -> Iterator[Batch]:
    """All examples once, of each the gold choice alone unless every one is needed, texts of like length together."""
    rows = sorted(examples, key=lambda example: (example.length, example.index))
    for start in range(0, len(rows), BATCH):
        for part in in_parts([rows[start : start + BATCH]], model, 0):
            yield model.batch(part, every_choice=every_choice)


def all_scores(cohort: Sequence[Ticket], model: FrozenModel, batches: Iterable[Batch]) -> list[dict[str, Scores]]:
    """Every score of every ticket, by name; the gradient scores share one pass over the batches.

    A member with a gradient that is not finite gets none; the others' scores stand.
    """
    gradient = [score for score in ROUND_SCORES if isinstance(score, GradientScore)]
    by_name: dict[str, Sequence[Scores | None]] = {
        score.name: [score.of(ticket) for ticket in cohort] for score in ROUND_SCORES if isinstance(score, TicketScore)
    }
    by_name |= _gradient_scores(cohort, model, batches, gradient)
    rows = ({name: column[number] for name, column in by_name.items()} for number in range(len(cohort)))
    return [
        {name: scores for name, scores in row.items() if scores is not None} if all(row.values()) else {}
        for row in rows
    ]


def gradient_scores(
    cohort: Sequence[Ticket], model: FrozenModel, batches: Iterable[Batch], score: GradientScore | None = None
) -> list[Scores]:
    """First-order scores of every ticket at its own values; no update is made, batches may be cut in any way.

    Args:
        score: by default XPrompt's, `prunekit.pruning.scores.Absolute`.

    Raises:
        DivergedError: where a gradient is not finite.
    """
    score = score or Absolute()
    scores = _gradient_scores(cohort, model, batches, [score])[score.name]
    finite = [member for member in scores if member is not None]
    if len(finite) < len(scores):
        raise DivergedError(NOT_FINITE)
    return finite


def _gradient_scores(
    cohort: Sequence[Ticket], model: FrozenModel, batches: Iterable[Batch], scores: Sequence[GradientScore]
) -> dict[str, list[Scores | None]]:
    """Of each member None where any of its sums is not finite: a NaN must never rank as the least important."""
    pieces = cohort[0].mask.piece.shape[1]
    with torch.no_grad():
        prompts = prompt_batch([Member(ticket, model.device) for ticket in cohort])
    sums, examples = _sums(prompts, model, batches, scores, pieces)
    finite = [
        all(bool(torch.isfinite(total[number]).all()) for total in sums.values()) for number in range(len(cohort))
    ]
    return {
        name: [
            _scores(row, slots, ticket, examples) if fine else None
            for row, slots, ticket, fine in zip(total, prompts.source, cohort, finite, strict=True)
        ]
        for name, total in sums.items()
    }


def _sums(
    prompts: PromptBatch, model: FrozenModel, batches: Iterable[Batch], scores: Sequence[GradientScore], pieces: int
) -> tuple[dict[str, Tensor], int]:
    """By score the sum over examples [S, P, K + 1] of what it makes of the slopes, and the number of examples.

    Each process of a group reads its part of the batches.
    """
    shape = (*prompts.values.shape[:2], pieces + 1)
    sums = {score.name: torch.zeros(shape, dtype=torch.float64) for score in scores}
    examples = 0
    for batch in islice(batches, team().rank, None, team().size):
        slopes = _slopes(prompts, model, batch, pieces)
        for score in scores:
            sums[score.name] += score.reduce(slopes).sum(dim=1).cpu()
        examples += batch.size
    team().add(*sums.values())
    return sums, team().total(examples)


def _slopes(prompts: PromptBatch, model: FrozenModel, batch: Batch, pieces: int) -> Tensor:
    """[S, B, P, K + 1] per example: dL/dgamma in column 0, dL/dzeta in the others."""
    copies = prompts.per_example(batch.size)
    model.losses(copies, batch).sum().backward()
    if copies.gates is not None:
        assert copies.gates.grad is not None
        zeta = copies.gates.grad.double()
    else:
        assert copies.values.grad is not None
        product = (copies.values.detach() * copies.values.grad).double()
        zeta = product.unflatten(3, (pieces, -1)).sum(-1)
    return with_tokens(zeta)


def with_tokens(zeta: Tensor) -> Tensor:
    """[..., P, K + 1] of slopes [..., P, K] of pieces: a token's, the sum over its pieces, in column 0 before them."""
    return torch.cat([zeta.sum(-1, keepdim=True), zeta], dim=-1)


def put_back(sums: Tensor, slots: Tensor, tokens: int) -> Tensor:
    """Rows `sums` [slots, K + 1] as [P, K + 1] of the prompt's own tokens, which `slots` names (-1: padding).

    A token without a slot gets 0, and is ignored when choosing.
    """
    table = torch.zeros(tokens, sums.shape[1], dtype=sums.dtype)
    real = slots >= 0
    table[slots[real].cpu()] = sums[real.cpu()]
    return table


def _scores(sums: Tensor, slots: Tensor, ticket: Ticket, examples: int) -> Scores:
    """Means of `sums` [slots, K + 1], put back to the prompt's own tokens."""
    table = put_back(sums, slots, len(ticket.mask.token))
    return Scores(table[:, 0] / examples, table[:, 1:] / examples, examples)
