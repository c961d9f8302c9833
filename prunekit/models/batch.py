"""From examples to tensors: token ids, made once, and the batches cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Ids = tuple[int, ...]


@dataclass(frozen=True)
class TextGroup:
    """Texts that are read in one pass wherever one of them is read, since their states depend on each other's company.

    Attributes:
        texts: their ids, of which none comes twice.
        name: a digest of them, by which groups are compared.
    """

    texts: tuple[Ids, ...] = field(compare=False, repr=False)
    name: str


@dataclass(frozen=True)
class Encoded:
    """One example as token ids.

    Attributes:
        index: its index in its split.
        text: ids of the input, special tokens included.
        choices: ids of each of its C answers, as the model family scores them.
        gold: index of the right answer (the first where several are right, -1 where the example has no label).
        own_choices: whether the answers are this example's own rather than the task's.
        cut: whether the text had to be shortened.
        target_cut: whether the target of an open example had to be.
        group: the texts that this one is read with, where a decoder keeps what it makes of them; None: it comes alone.
        right: indices of all right answers, `gold` the first of them; () where `gold` says it all.
    """

    index: int
    text: Ids
    choices: tuple[Ids, ...]
    gold: int
    own_choices: bool = False
    cut: bool = False
    target_cut: bool = False
    group: TextGroup | None = field(default=None, compare=False, repr=False)
    right: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """Tokens of the input and of its longest answer."""
        return len(self.text) + max((len(choice) for choice in self.choices), default=0)


@dataclass(frozen=True)
class Batch:
    """What a model reads. M is S where every member has its own examples, 1 where all share them.

    R rows per example: 1, or C where the answer is part of the row.  L answer tokens.

    Attributes:
        ids: [M, B, R, T] input ids, right-padded.
        mask: Bool[M, B, R, T], False for padding.
        targets: [M, B, C, L] answer ids; L = 0 where a head answers.
        target_mask: Bool[M, B, C, L], which of them are real.
        start: [M, B, R] slot whose output predicts the first answer token (decoder-only).
        choice_mask: Bool[M, B, C], which choices an example has.
        gold: [M, B] index of the right answer, the first where several are.
        right: Bool[M, B, C], every right answer.
        index: [M, B] index of the example in its split.
        groups: [M, B] as in Encoded.
    """

    ids: Tensor
    mask: Tensor
    targets: Tensor
    target_mask: Tensor
    start: Tensor
    choice_mask: Tensor
    gold: Tensor
    right: Tensor
    index: Tensor
    groups: tuple[tuple[TextGroup | None, ...], ...]

    @property
    def size(self) -> int:
        """B."""
        return self.ids.shape[1]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: part for name, part in parts.items() if isinstance(part, Tensor)}

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return replace(self, **moved)


@dataclass(frozen=True)
class Row:
    """One example as a model family lays it out: R input rows, C answers.

    Attributes:
        inputs: token ids of each row.
        targets: token ids of each answer.
        start: of each row, the slot of its text's last token (where the answer is read).
        gold: index of the right answer, -1 where the example has no label.
        index: the example's index in its split.
        group: as in Encoded.
        right: as in Encoded.
    """

    inputs: Sequence[Ids]
    targets: Sequence[Ids]
    start: Sequence[int]
    gold: int
    index: int
    group: TextGroup | None = None
    right: Sequence[int] = ()


def collate(rows: Sequence[Sequence[Row]], pad: int) -> Batch:
    """M x B rows -> one right-padded batch. A missing choice is padded by a copy of the example's first row."""
    flat = [row for member in rows for row in member]
    lead = (len(rows), len(rows[0]))
    choices = max(len(row.targets) for row in flat)
    width = 1 if all(len(row.inputs) == 1 for row in flat) else choices
    inputs = [_level(row.inputs, width) for row in flat]
    targets = [_level(row.targets, choices) for row in flat]
    ids, mask = _block(inputs, pad)
    target_ids, target_mask = _block(targets, pad)
    counts = torch.tensor([len(row.targets) for row in flat])
    choice_mask = torch.arange(target_ids.shape[1])[None] < counts[:, None]
    start = torch.tensor([_level(row.start, width) for row in flat])
    return Batch(
        ids.unflatten(0, lead),
        mask.unflatten(0, lead),
        target_ids.unflatten(0, lead),
        target_mask.unflatten(0, lead),
        start.unflatten(0, lead),
        choice_mask.unflatten(0, lead),
        torch.tensor([row.gold for row in flat]).view(lead),
        rights(flat, choices).unflatten(0, lead),
        torch.tensor([row.index for row in flat]).view(lead),
        tuple(tuple(row.group for row in member) for member in rows),
    )


def rights(rows: Sequence[Encoded | Row], choices: int) -> Tensor:
    """Bool[N, C], which of the choices of each row are right."""
    return torch.tensor([[choice in (row.right or (row.gold,)) for choice in range(choices)] for row in rows])


Item = TypeVar("Item")


def _level(items: Sequence[Item], width: int) -> list[Item]:
    """The items, made `width` long by repeating the first."""
    return [*items, *[items[0]] * (width - len(items))]


def _block(lists: Sequence[Sequence[Ids]], pad: int) -> tuple[Tensor, Tensor]:
    """[N][R] id lists -> ids [N, R, T] right-padded, Bool mask [N, R, T]."""
    width = max(len(ids) for rows in lists for ids in rows)
    padded = [[[*ids, *[pad] * (width - len(ids))] for ids in rows] for rows in lists]
    lengths = torch.tensor([[len(ids) for ids in rows] for rows in lists])
    ids = torch.tensor(padded, dtype=torch.long).view(len(lists), len(lists[0]), width)
    return ids, torch.arange(width) < lengths[..., None]
