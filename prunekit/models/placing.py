"""Where prompt vectors stand among the embeddings of a row: before it, behind its first token, or behind its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from prunekit.models.batch import Batch
from prunekit.models.prompt_batch import PromptBatch
from prunekit.models.traits import Together


@dataclass(frozen=True)
class Placed:
    """Prompt and input joined, N = S * B * R rows.

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

    def part(self, rows: Tensor, slots: Tensor) -> Placed:
        """Some rows Int[n], with the slots Int[n, T'] of each alone."""
        return Placed(*(whole[rows[:, None], slots] for whole in vars(self).values()))


@dataclass(frozen=True)
class Beside:
    """Prompt and input of S x B x R rows, not yet joined.

    Attributes:
        embedded: [S, B, R, T, H] and Bool[S, B, R, T], the input.
        mask: [S, B, R, T, H] and Bool[S, B, R, T], the input.
        values: [S, B, R, P, H] and Bool[S, B, R, P], the prompt as `PromptBatch` has it.
        present: [S, B, R, P, H] and Bool[S, B, R, P], the prompt as `PromptBatch` has it.
        placed: [S, B, R, P, H] and Bool[S, B, R, P], the prompt as `PromptBatch` has it.
    """

    embedded: Tensor
    mask: Tensor
    values: Tensor
    present: Tensor
    placed: Tensor


def beside(soft: PromptBatch, batch: Batch, embedded: Tensor) -> Beside:
    """Prompt and input side by side; embedded: [M, B, R, T, H], those of `batch.ids`."""
    members, (_, size, rows, length) = soft.members, batch.ids.shape
    embedded = embedded.expand(members, size, rows, length, -1)
    mask = batch.mask.expand(members, size, rows, length)
    if soft.embed_input is not None:
        moved = soft.embed_input(embedded.flatten(1, 2), mask.flatten(1, 2))
        embedded = moved.unflatten(1, (size, rows))
    values = soft.values if soft.values.dim() == 4 else soft.values[:, None]
    values = values[:, :, None].to(embedded.dtype)
    slots = values.shape[-2]
    values = values.expand(members, size, rows, slots, -1)
    present = soft.present[:, None, None].expand(members, size, rows, slots)
    placed = soft.placed[:, None, None].expand(members, size, rows, slots)
    return Beside(embedded, mask, values, present, placed)


def joined(side: Beside, split: int) -> Placed:
    """The prompt put before the input's token `split`."""
    attention = torch.cat([side.mask[..., :split], side.present, side.mask[..., split:]], dim=-1)
    counted = torch.cat([side.mask[..., :split], side.placed, side.mask[..., split:]], dim=-1)
    embeds = torch.cat([side.embedded[..., :split, :], side.values, side.embedded[..., split:, :]], dim=-2)
    positions = counted.long().cumsum(-1).sub(1).clamp(min=0)
    return Placed(embeds.flatten(0, 2), attention.flatten(0, 2).long(), positions.flatten(0, 2), counted.flatten(0, 2))


def behind_text(side: Beside, start: Tensor, reads: int) -> tuple[Placed, Tensor]:
    """The prompt put between the text and the answer of every row, and where the answer is read.

    Returns the rows, without a gap (padding stands at their end), and the slots [N, L] whose outputs predict the
    answer: the last slot before it that is attended to, then its own tokens.

    Args:
        start: [S, B, R], the last token of each row's text.
        reads: L, the tokens of the longest answer.
    """
    position = torch.arange(side.mask.shape[-1], device=start.device)
    parts = (position > start[..., None]).long() * 2  # text 0, prompt 1, answer 2, padding 3
    parts = torch.cat([parts.masked_fill(~side.mask, 3), torch.where(side.placed, 1, 3)], dim=-1)
    order = parts.argsort(dim=-1, stable=True)
    attended = torch.cat([side.mask, side.present], dim=-1).gather(-1, order)
    embeds = torch.cat([side.embedded, side.values], dim=-2)
    embeds = embeds.gather(-2, order[..., None].expand(embeds.shape))
    counted = (parts < 3).gather(-1, order)
    positions = counted.long().cumsum(-1).sub(1).clamp(min=0)

    slots = side.placed.long().cumsum(-1)
    last = start + _largest(torch.where(side.present, slots, 0))
    behind = start + side.placed.sum(-1)
    at = behind[..., None] + torch.arange(reads, device=start.device)
    at = torch.cat([last[..., None], at[..., 1:]], dim=-1).clamp(max=order.shape[-1] - 1)
    rows = Placed(embeds.flatten(0, 2), attended.flatten(0, 2).long(), positions.flatten(0, 2), counted.flatten(0, 2))
    return rows, at.flatten(0, 2)


def apart(placed: Placed, together: Together, read: Callable[[Placed], Tensor]) -> Tensor:
    """[N, T, D], what `read` gives of rows when padding is taken out and only rows of one length share a pass.

    Args:
        together: "rows" leaves the padding behind a row's last token, "lengths" none, "alone" reads row by row.
        read: rows -> [n, T', D]. What it would give of padding that was taken out is zero.
    """
    behind = placed.counted.flip(-1).cumsum(-1).flip(-1) == 0
    dropped = ~placed.counted & ~behind if together == "rows" else ~placed.counted
    if not dropped.any() and (together != "alone" or len(dropped) == 1):
        return read(placed)
    order = dropped.long().argsort(dim=-1, stable=True)
    lengths = (~dropped).sum(-1)
    groups = [(lengths == length).nonzero().squeeze(1) for length in lengths.unique().tolist()]
    if together == "alone":
        groups = list(torch.arange(len(lengths), device=lengths.device).split(1))
    rows, slots, outputs = [], [], []
    for group in groups:
        kept = order[group, : int(lengths[group[0]])]
        output = read(placed.part(group, kept))
        rows.append(group[:, None].expand(kept.shape).flatten())
        slots.append(kept.flatten())
        outputs.append(output.flatten(0, 1))
    whole = outputs[0].new_zeros(*placed.counted.shape, outputs[0].shape[-1])
    return whole.index_put((torch.cat(rows), torch.cat(slots)), torch.cat(outputs))


def _largest(counts: Tensor) -> Tensor:
    """The maximum over the last dimension, 0 where that is empty."""
    return torch.nn.functional.pad(counts, (1, 0)).amax(-1)
