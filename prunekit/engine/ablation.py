"""What a prompt loses without some of its tokens or pieces, measured and not estimated.

A *unit* is a kept token, or at level "piece" a kept cell (one piece of one token). What stands in a left-out token's
place is the ticket's own `dropped_as`. What is left out, and what the losses then say, is the scores' own affair
(`prunekit.pruning.scores`); here the prompt goes through the model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate, token_losses
from prunekit.models import Encoded, FrozenModel
from prunekit.models.batch import rights
from prunekit.prompts.mask import Mask
from prunekit.pruning.scores import Evaluate, LeaveOneOut, Level, Shapley
from prunekit.pruning.scores.leave_one_out import Ablation
from prunekit.pruning.scores.shapley import ShapleyValues
from prunekit.pruning.scores.units import cells_of, kept_units
from prunekit.pruning.ticket import Ticket

# Ablations that go through the model side by side. evaluate() cuts batches of about 128 rows (members x examples x
# rows per example): of 64 ablations a batch still holds two examples, while a cohort of all 320 pieces of a dense
# prompt would make every batch wider than that, and hold 320 copies of the prompt.
_WIDTH = 64


def leave_one_out(
    ticket: Ticket,
    model: FrozenModel,
    examples: Sequence[Encoded],
    level: Level = "token",
    *,
    only: Tensor | None = None,
    tick: Callable[[int], None] = lambda count: None,
) -> Ablation:
    """What leaving out each kept token, or each kept piece of each kept token, does to each example, exactly.

    Args:
        only: Bool[P], or Bool[P, K] at level "piece": the units to leave out, all by default.
        tick: called with the ablations done; there are as many as units.
    """
    return LeaveOneOut().measure(ticket.mask, evaluator(ticket, model, examples), level, only=only, tick=tick)


def leave_groups_out(
    ticket: Ticket,
    model: FrozenModel,
    examples: Sequence[Encoded],
    groups: Tensor,
    *,
    tick: Callable[[int], None] = lambda count: None,
) -> Ablation:
    """What leaving out many cells at once does to each example: a layer of a prefix, or a head, of all its tokens.

    Args:
        groups: Bool[G, P, K], the cells to leave out, group by group; those that are dropped already do not count.
        tick: called with the prompts that were evaluated, the whole one among them.

    Returns:
        with Float[G, N] without each group.
    """
    mask = ticket.mask.piece
    losses, chosen = evaluator(ticket, model, examples)([mask, *(mask & ~groups)], tick)
    return Ablation(losses[0], chosen[0], losses[1:], chosen[1:])


def leave_one_out_by_word(
    ticket: Ticket,
    model: FrozenModel,
    examples: Sequence[Encoded],
    *,
    tick: Callable[[int], None] = lambda count: None,
) -> list[Tensor]:
    """What leaving out each of A kept tokens does to each token of the right answers: of each example [A, L] nats.

    Larger where the prompt token helps the answer's; their mean over L is what `leave_one_out` measures.

    Args:
        tick: called with the prompts that were evaluated, the whole one among them.

    Raises:
        ConfigError: where the model answers by a head.
    """
    mask = ticket.mask
    cells = [mask.piece, *(mask.piece & ~cells_of(mask, kept_units(mask, "token")))]
    masks = [Mask(part.any(dim=1), part) for part in cells]
    losses = [torch.empty(len(masks), len(example.choices[example.gold])) for example in examples]
    evaluated = 0
    for numbers in _side_by_side(masks):
        members = [Member(replace(ticket, mask=masks[number]), model.device) for number in numbers]
        with torch.no_grad():
            of_tokens = token_losses(prompt_batch(members), model, examples)
        for whole, part in zip(losses, of_tokens, strict=True):
            whole[numbers] = part
        evaluated += len(numbers)
        tick(evaluated)
    return [each[1:] - each[0] for each in losses]


def shapley(
    ticket: Ticket,
    model: FrozenModel,
    examples: Sequence[Encoded],
    *,
    permutations: int = 16,
    level: Level = "token",
    seed: int = 0,
    tick: Callable[[int], None] = lambda count: None,
) -> ShapleyValues:
    """Shapley values of the kept units; the arguments are those of `prunekit.pruning.scores.Shapley.measure`.

    Raises:
        ConfigError: for a number of permutations that is odd or below 4.
    """
    return Shapley().measure(
        ticket.mask, evaluator(ticket, model, examples), level, permutations=permutations, seed=seed, tick=tick
    )


def evaluator(ticket: Ticket, model: FrozenModel, examples: Sequence[Encoded]) -> Evaluate:
    """The function that evaluates a ticket with only some of its cells."""

    def only(cells: Tensor) -> Ticket:
        return replace(ticket, mask=Mask(cells.any(dim=1), cells))  # a token without a piece is dropped

    return evaluator_of(only, model, examples)


def evaluator_of(only: Callable[[Tensor], Ticket], model: FrozenModel, examples: Sequence[Encoded]) -> Evaluate:
    """The function that evaluates what is left of a prompt, in cohorts of equally many tokens.

    Equally many, so that no member is padded: padding takes time, and some models refuse to share a batch with it.

    Args:
        only: the ticket with the cells alone that are True; whatever a cell is of it.
    """

    def evaluate_cells(cells: Sequence[Tensor], tick: Callable[[int], None]) -> tuple[Tensor, Tensor]:
        tickets = [only(part) for part in cells]
        losses = torch.empty(len(tickets), len(examples))
        chosen = torch.empty(len(tickets), len(examples), dtype=torch.long)
        evaluated = 0
        for numbers in _side_by_side([ticket.mask for ticket in tickets]):
            members = [Member(tickets[number], model.device) for number in numbers]
            with torch.no_grad():
                evaluation = evaluate(prompt_batch(members), model, examples)
            losses[numbers], chosen[numbers] = evaluation.losses, evaluation.chosen
            evaluated += len(numbers)
            tick(evaluated)
        return losses, chosen

    return evaluate_cells


def _side_by_side(masks: Sequence[Mask]) -> list[list[int]]:
    """Numbers of masks that go through the model together: of one token count, at most `_WIDTH`."""
    by_tokens: dict[int, list[int]] = defaultdict(list)
    for number, mask in enumerate(masks):
        by_tokens[mask.tokens].append(number)
    return [
        numbers[start : start + _WIDTH] for numbers in by_tokens.values() for start in range(0, len(numbers), _WIDTH)
    ]


def right_changes(ablated: Ablation, examples: Sequence[Encoded]) -> Tensor:
    """[..., N] in {-1, 0, 1}: whether each example is right without a unit, less whether it was with all of them."""
    right = rights(examples, max(len(example.choices) for example in examples))
    rows = torch.arange(len(examples))
    return right[rows, ablated.without_chosen].int() - right[rows, ablated.chosen].int()
