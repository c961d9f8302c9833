"""Reading a cohort's answers on many examples, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunekit.engine.parts import most_tokens
from prunekit.engine.write import Written
from prunekit.models import Encoded, FrozenModel, Predictions, PromptBatch
from prunekit.support.errors import ConfigError
from prunekit.tasks.task import Answers

# rows of one batch (members x examples x rows per example): wide enough to be quick, small in memory; and of long rows
# so many times the tokens from which on more are no quicker
_ROWS, _MOST = 128, 4


@dataclass(frozen=True)
class Evaluation:
    """Losses and scores Float[S, N], and chosen Int[S, N], the index of each example's best-ranked choice.

    Of one member alone, all three are [N].

    Attributes:
        written: [N] what one member wrote to open questions, where it was asked to.
    """

    losses: Tensor
    chosen: Tensor
    scores: Tensor
    written: Sequence[Written] | None = None

    @property
    def answers(self) -> Answers:
        """[N] what one member answered: the text that it wrote, or the place of the choice."""
        return self.chosen.tolist() if self.written is None else [answer.text for answer in self.written]

    def members(self) -> list[Evaluation]:
        """Each of a cohort alone."""
        return [Evaluation(*parts) for parts in zip(self.losses, self.chosen, self.scores, strict=True)]


def evaluate(
    prompts: PromptBatch,
    model: FrozenModel,
    examples: Sequence[Encoded],
    tick: Callable[[int], None] = lambda completed: None,
) -> Evaluation:
    """Losses and choices of every member on all examples, in the given order; batches are cut by length.

    Args:
        tick: called with the examples that are answered.
    """
    shape, completed = (prompts.members, len(examples)), 0
    losses, scores, chosen = torch.empty(shape), torch.empty(shape), torch.empty(shape, dtype=torch.long)
    for indices, answers in _answers(prompts, model, examples):
        best = answers.logits.max(dim=-1)
        losses[:, indices] = answers.losses.float().cpu()
        scores[:, indices] = best.values.float().cpu()
        chosen[:, indices] = best.indices.cpu()
        completed += len(indices)
        tick(completed)
    return Evaluation(losses, chosen, scores)


def choice_scores(prompts: PromptBatch, model: FrozenModel, examples: Sequence[Encoded]) -> list[Tensor]:
    """Of each example the scores [S, C] of its own C choices, of which `evaluate` chooses the best."""
    scores = [torch.empty(0)] * len(examples)
    for indices, answers in _answers(prompts, model, examples):
        for row, index in enumerate(indices):
            scores[index] = answers.logits[:, row, : len(examples[index].choices)].float().cpu()
    return scores


def token_losses(prompts: PromptBatch, model: FrozenModel, examples: Sequence[Encoded]) -> list[Tensor]:
    """Of each example the losses [S, L] of the L tokens of its right answer, whose mean is the loss of the example.

    Raises:
        ConfigError: where the model answers by a head, which writes no tokens.
    """
    losses = [torch.empty(0)] * len(examples)
    for indices, answers in _answers(prompts, model, examples):
        if answers.logprobs is None:
            raise ConfigError(f"{type(model.model).__name__} answers by a head, not by words; nothing is said by word")
        for row, index in enumerate(indices):
            gold = examples[index].gold
            losses[index] = -answers.logprobs[:, row, gold, : len(examples[index].choices[gold])].float().cpu()
    return losses


def _answers(
    prompts: PromptBatch, model: FrozenModel, examples: Sequence[Encoded]
) -> Iterator[tuple[list[int], Predictions]]:
    """Which examples a batch holds, and what the members answer to them."""
    order = sorted(range(len(examples)), key=lambda index: (examples[index].length, index))
    for indices in _chunks(order, examples, model, prompts.members):
        batch = model.batch([[examples[index] for index in indices]], every_choice=True)
        with torch.no_grad():
            answers = model.forward(prompts, batch)
        yield indices, answers


def _chunks(order: list[int], examples: Sequence[Encoded], model: FrozenModel, members: int) -> Iterator[list[int]]:
    """Places in `order`, by length, cut so that a batch has about _ROWS rows, or fewer long ones."""
    chunk: list[int] = []
    rows, tokens = 1, _MOST * most_tokens(model)
    for index in order:
        rows = max(rows, len(model.layout(examples[index], every_choice=True).inputs))
        wide = (len(chunk) + 1) * rows * members
        if chunk and (wide > _ROWS or wide * model.tokens_read(examples[index], 0) > tokens):
            yield chunk
            chunk, rows = [], len(model.layout(examples[index], every_choice=True).inputs)
        chunk.append(index)
    if chunk:
        yield chunk
