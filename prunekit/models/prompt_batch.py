"""The prompts of a cohort as a model takes them: stacked vectors, which slots are attended to, and heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from prunekit.prompts.base import MaskedPrompt


@dataclass(frozen=True)
class Head:
    """Linear heads of a cohort, for models that answer by one: weight [S, C, H], bias [S, C]."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class PromptBatch:
    """The prompts of a cohort of S members, ready to be placed.

    Attributes:
        values: [S, P, H], or [S, B, P, H] for one copy per example (how gradient scores get per-example gradients).
        present: Bool[S, P], the slots that are attended to.
        placed: Bool[S, P], the slots that count as a position; a hidden token does, padding to a common length does
            not.
        source: Int[S, P], the prompt token that each slot holds, -1 for padding.
        embed_input: ([S, N, T, H] embedded input, Bool[S, N, T] mask) -> [S, N, T, H], or None where no method moves
            it.
        head: the members' linear heads, or None where the model answers with words.
        gates: [S, P, K] or [S, B, P, K], how much attention is paid to each piece, as the logarithm of a factor: 0, or
            -inf where it is hidden. None where pieces are not hidden but zeros.
        lengths: Int[S], P of each member before any token was removed, where texts keep the positions they had then.
    """

    values: Tensor
    present: Tensor
    placed: Tensor
    source: Tensor
    embed_input: EmbedInput | None = None
    head: Head | None = None
    gates: Tensor | None = None
    lengths: Tensor | None = None

    @property
    def members(self) -> int:
        """S."""
        return self.values.shape[0]

    @property
    def has_hidden(self) -> bool:
        """Whether a slot takes up a position and is not attended to."""
        return bool((self.placed & ~self.present).any())

    def per_example(self, batch: int) -> PromptBatch:
        """The same prompts as a [S, B, P, H] leaf that collects one gradient per example, gates too; heads get none."""
        copies = self.values.detach()[:, None].repeat(1, batch, 1, 1).requires_grad_()
        head = Head(self.head.weight.detach(), self.head.bias.detach()) if self.head else None
        gates = None if self.gates is None else self.gates[:, None].repeat(1, batch, 1, 1).requires_grad_()
        return replace(self, values=copies, head=head, gates=gates)

    def member(self, index: int) -> PromptBatch:
        """One member alone, its padding cut off."""
        row = slice(index, index + 1)
        slots = self.placed[index]
        head = Head(self.head.weight[row], self.head.bias[row]) if self.head else None
        return PromptBatch(
            self.values[row][..., slots, :],
            self.present[row][:, slots],
            self.placed[row][:, slots],
            self.source[row][:, slots],
            None if self.embed_input is None else self.embed_input.member(index),
            head,
            None if self.gates is None else self.gates[row][..., slots, :],
            None if self.lengths is None else self.lengths[row],
        )


def stack(prompts: Sequence[MaskedPrompt], heads: Sequence[tuple[Tensor, Tensor]] | None = None) -> PromptBatch:
    """The prompts of a cohort as a batch; gradients flow back to each member's own parameters.

    A removed token has no slot. Members of fewer slots are padded on the far side of the prompt, so that prompt rows
    stand right-aligned to the text.

    Args:
        prompts: of the S members.
        heads: weight [C, H] and bias [C] of each member.
    """
    rows = [_slots(prompt) for prompt in prompts]
    width = max(len(source) for _, _, source in rows)
    values, present, source = zip(*(_pad(row, width) for row in rows), strict=True)
    slots = torch.stack(source)
    head = Head(*(torch.stack(part) for part in zip(*heads, strict=True))) if heads else None
    gates, lengths = _hidden_pieces(prompts, slots)
    return PromptBatch(
        torch.stack(values), torch.stack(present), slots >= 0, slots, _movers(prompts), head, gates, lengths
    )


def _hidden_pieces(prompts: Sequence[MaskedPrompt], slots: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The members' gates [S, P, K] and lengths [S], where what is dropped of them is hidden.

    Args:
        slots: [S, P], the token that each slot holds, -1 for padding.
    """
    if not all(prompt.hides_pieces for prompt in prompts):
        return None, None
    gates = []
    for prompt, tokens in zip(prompts, slots, strict=True):
        seen = prompt.mask.piece.to(slots.device)[tokens] | (tokens < 0)[:, None]
        gates.append(torch.zeros(seen.shape, device=slots.device).masked_fill(~seen, float("-inf")))
    return torch.stack(gates), torch.tensor([len(prompt.mask.token) for prompt in prompts], device=slots.device)


def _slots(prompt: MaskedPrompt) -> tuple[Tensor, Tensor, Tensor]:
    """Values [n, H], present [n] and source [n] of the n slots that one prompt takes up."""
    values, present = prompt()
    source = torch.arange(len(values), device=values.device)
    if prompt.dropped_as == "remove":
        return values[present], present[present], source[present]
    return values, present, source


def _pad(row: tuple[Tensor, Tensor, Tensor], width: int) -> tuple[Tensor, Tensor, Tensor]:
    values, present, source = row
    gap = width - len(source)
    if gap == 0:
        return row
    # a vector that is no zero, since norms of some models have no gradient there (Gemma 3n)
    filler = values.detach()[:1] if len(values) else values.new_ones(1, values.shape[1])
    return (
        torch.cat([filler.expand(gap, -1), values]),
        torch.cat([present.new_zeros(gap), present]),
        torch.cat([source.new_full((gap,), -1), source]),
    )


@dataclass(frozen=True)
class EmbedInput:
    """How members move their input embeddings: ([S, N, T, H], Bool[S, N, T] mask) -> [S, N, T, H]."""

    movers: Sequence[Callable[[Tensor, Tensor], Tensor]]

    def __call__(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Each member's own rows, moved by it."""
        pairs = zip(self.movers, embedded, mask, strict=True)
        return torch.stack([move(rows, keep) for move, rows, keep in pairs])

    def member(self, index: int) -> EmbedInput:
        """That of one member alone."""
        return EmbedInput([self.movers[index]])


def _movers(prompts: Sequence[MaskedPrompt]) -> EmbedInput | None:
    """The members' own `embed_input`s side by side, or None where every one is the identity."""
    movers = [prompt.prompt.embed_input for prompt in prompts if prompt.prompt.moves_input]
    return EmbedInput(movers) if movers else None
