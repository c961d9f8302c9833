"""Rows of embeddings: prompt vectors before the input, behind its first token, or between text and answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from prunekit.models.batch import Batch
from prunekit.models.prompt_batch import PromptBatch
from prunekit.models.traits import Together


@dataclass(frozen=True)
class InputRows:
    """Prompt and input insert_prompt, N = S * B * R rows.

    Attributes:
        embeds: [N, P + T, H].
        attention: [N, P + T].
        positions: [N, P + T].
        counted: Bool[N, P + T], False for padding.
    """

    embeds: Tensor
    attention: Tensor
    positions: Tensor
    counted: Tensor

    def select(self, rows: Tensor, slots: Tensor) -> InputRows:
        """The rows Int[n], and of each only the slots Int[n, T']."""
        return InputRows(*(whole[rows[:, None], slots] for whole in vars(self).values()))


@dataclass(frozen=True)
class PromptAndInput:
    """Prompt and input of S x B x R rows, not yet insert_prompt.

    Attributes:
        embedded: [S, B, R, T, H], the input's embeddings.
        mask: Bool[S, B, R, T], False for padding of the input.
        values: [S, B, R, P, H], the prompt's vectors.
        present: Bool[S, B, R, P], the prompt slots that are attended to.
        placed: Bool[S, B, R, P], the prompt slots that take a position.
    """

    embedded: Tensor
    mask: Tensor
    values: Tensor
    present: Tensor
    placed: Tensor


def prompt_and_input(prompts: PromptBatch, batch: Batch, embedded: Tensor, text: Tensor) -> PromptAndInput:
    """Prompt and input of every row, expanded to S x B x R.

    Args:
        prompts: of S members.
        batch: of M = 1 or S members.
        embedded: [M, B, R, T, H], the embeddings of `batch.ids`.
        text: Bool[M, B, R, T], what of them a method may move: of answers it would move only those that it is told.
    """
    members, (_, size, rows, length) = prompts.members, batch.ids.shape
    embedded = embedded.expand(members, size, rows, length, -1)
    mask = batch.mask.expand(members, size, rows, length)
    if prompts.embed_input is not None:
        moved = prompts.embed_input(embedded.flatten(1, 2), text.expand(mask.shape).flatten(1, 2))
        embedded = moved.unflatten(1, (size, rows))
    values = prompts.values if prompts.values.dim() == 4 else prompts.values[:, None]
    values = values[:, :, None].to(embedded.dtype)
    slots = values.shape[-2]
    values = values.expand(members, size, rows, slots, -1)
    present = prompts.present[:, None, None].expand(members, size, rows, slots)
    placed = prompts.placed[:, None, None].expand(members, size, rows, slots)
    return PromptAndInput(embedded, mask, values, present, placed)


def insert_prompt(parts: PromptAndInput, split: int) -> InputRows:
    """Rows with the prompt before the input's token `split`."""
    attention = torch.cat([parts.mask[..., :split], parts.present, parts.mask[..., split:]], dim=-1)
    counted = torch.cat([parts.mask[..., :split], parts.placed, parts.mask[..., split:]], dim=-1)
    embeds = torch.cat([parts.embedded[..., :split, :], parts.values, parts.embedded[..., split:, :]], dim=-2)
    positions = positions_of(counted)
    return InputRows(
        embeds.flatten(0, 2), attention.flatten(0, 2).long(), positions.flatten(0, 2), counted.flatten(0, 2)
    )


def insert_before_answer(parts: PromptAndInput, start: Tensor, reads: int) -> tuple[InputRows, Tensor]:
    """Rows with the prompt between text and answer.

    Args:
        parts: prompt and input.
        start: [S, B, R], the last token of each row's text.
        reads: L, the tokens of the longest answer.

    Returns:
        The rows, without a gap (padding stands at their end), and the slots [N, L] whose outputs predict the answer:
        the last slot before it that is attended to, then its own tokens.
    """
    index = torch.arange(parts.mask.shape[-1], device=start.device)
    group = (index > start[..., None]).long() * 2  # text 0, prompt 1, answer 2, padding 3
    group = torch.cat([group.masked_fill(~parts.mask, 3), torch.where(parts.placed, 1, 3)], dim=-1)
    order = group.argsort(dim=-1, stable=True)
    attended = torch.cat([parts.mask, parts.present], dim=-1).gather(-1, order)
    embeds = torch.cat([parts.embedded, parts.values], dim=-2)
    embeds = embeds.gather(-2, order[..., None].expand(embeds.shape))
    counted = (group < 3).gather(-1, order)
    positions = positions_of(counted)

    slots = parts.placed.long().cumsum(-1)
    last = start + _largest(torch.where(parts.present, slots, 0))
    behind = start + parts.placed.sum(-1)
    at = behind[..., None] + torch.arange(reads, device=start.device)
    at = torch.cat([last[..., None], at[..., 1:]], dim=-1).clamp(max=order.shape[-1] - 1)
    rows = InputRows(
        embeds.flatten(0, 2), attended.flatten(0, 2).long(), positions.flatten(0, 2), counted.flatten(0, 2)
    )
    return rows, at.flatten(0, 2)


def positions_of(counted: Tensor) -> Tensor:
    """Bool[..., T] which slots count -> Int[..., T], the position of each among those; 0 before the first."""
    return counted.long().cumsum(-1).sub(1).clamp(min=0)


def read_grouped(rows: InputRows, together: Together, read: Callable[[InputRows], Tensor]) -> Tensor:
    """[N, T, D], what `read` makes of rows when padding is taken out and only rows of one length share a pass.

    Args:
        together: "rows" leaves the padding behind a row's last token, "lengths" none, "alone" reads row by row.
        read: rows -> [n, T', D]. Slots of padding that was taken out get zeros.
    """
    behind = rows.counted.flip(-1).cumsum(-1).flip(-1) == 0
    dropped = ~rows.counted & ~behind if together == "rows" else ~rows.counted
    if not dropped.any() and (together != "alone" or len(dropped) == 1):
        return read(rows)
    order = dropped.long().argsort(dim=-1, stable=True)
    lengths = (~dropped).sum(-1)
    groups = [(lengths == length).nonzero().squeeze(1) for length in lengths.unique().tolist()]
    if together == "alone":
        groups = list(torch.arange(len(lengths), device=lengths.device).split(1))
    row_indices, slots, outputs = [], [], []
    for group in groups:
        kept_slots = order[group, : int(lengths[group[0]])]
        output = read(rows.select(group, kept_slots))
        row_indices.append(group[:, None].expand(kept_slots.shape).flatten())
        slots.append(kept_slots.flatten())
        outputs.append(output.flatten(0, 1))
    whole = outputs[0].new_zeros(*rows.counted.shape, outputs[0].shape[-1])
    return whole.index_put((torch.cat(row_indices), torch.cat(slots)), torch.cat(outputs))


def left_aligned(rows: InputRows) -> InputRows:
    """Rows whose padding stands before them, where `generate` of a decoder wants it."""
    order = rows.counted.long().argsort(dim=-1, stable=True)
    order = order[:, order.shape[1] - int(rows.counted.sum(-1).max()) :]
    return rows.select(torch.arange(len(order), device=order.device), order)


def _largest(counts: Tensor) -> Tensor:
    """The maximum over the last dimension, 0 where that is empty."""
    return torch.nn.functional.pad(counts, (1, 0)).amax(-1)
