"""Encoder-only models (BERT, RoBERTa kinds): a trained linear head reads the first position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunekit.models.base import FrozenModel, Position, Predictions, by_head
from prunekit.models.batch import Batch, Encoded, Ids, Row
from prunekit.models.encoding import Way
from prunekit.models.prompt_batch import PromptBatch
from prunekit.support.errors import ConfigError

# states that are remembered at most: of 384 numbers in float32 100 MB
_MOST_KNOWN = 2**16


class Encoder(FrozenModel):
    """A bidirectional encoder. After-cls, the head reads the [CLS] state; first, row 0 through the pooler (as PEFT)."""

    positions: tuple[Position, ...] = ("after-cls", "first")
    answers_by_head = True
    _known: dict[bytes, Tensor] | None = None

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """While heads alone learn, what they read of a prompt and a text is always the same, and is made once."""
        self._known = {}
        try:
            yield
        finally:
            self._known = None

    def answered(self, own_choices: bool) -> Way:
        """The head has a row for each fixed choice; each example's own join its text."""
        return "behind" if own_choices else "head"

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """One row where the task's choices are fixed (the head has a row for each); else a row per choice."""
        empty: list[Ids] = [()] * len(example.choices)
        if not example.own_choices:
            return Row([example.text], empty, [0], example.gold, example.index)
        end = len(example.text) - len(self.reader.closing)  # the closing tokens stay last
        rows = [example.text[:end] + choice + example.text[end:] for choice in example.choices]
        return Row(rows, empty, [0] * len(rows), example.gold, example.index)

    def _forward(self, soft: PromptBatch, batch: Batch) -> Predictions:
        if soft.head is None:
            raise ConfigError("an encoder-only model answers by a head, and this ticket has none")
        return by_head(self._states(soft, batch), soft.head, batch)

    def _states(self, soft: PromptBatch, batch: Batch) -> Tensor:
        """[S, B, R, H], what the head reads; looked up where it is known."""
        if self._known is None or soft.values.dim() == 4 or soft.embed_input is not None:
            return self._read(soft, batch)
        keys = _contents(soft, batch)
        if any(key not in self._known for key in keys):
            states = self._read(soft, batch)
            if len(self._known) < _MOST_KNOWN:
                self._known |= zip(keys, states.detach().flatten(0, 2), strict=True)
            return states
        return torch.stack([self._known[key] for key in keys]).view(soft.members, batch.size, -1, self.hidden_width)

    def _read(self, soft: PromptBatch, batch: Batch) -> Tensor:
        placed = self._position(soft, batch)
        model: Any = self.model
        states = self._read_rows(placed, lambda **rows: model(**rows).last_hidden_state)
        first = placed.attention.argmax(dim=1)  # padding to a common length may stand before it
        rows = states[torch.arange(len(first), device=first.device), first]
        if self.position == "first":
            rows = self.pooled(rows)
        read: Tensor = rows.unflatten(0, (soft.members, batch.size, -1))
        return read

    def pooled(self, states: Tensor) -> Tensor:
        """[N, H] first states -> [N, H] as the model's own pooler hands them on; as they are where it has none."""
        model: Any = self.model
        pooler = getattr(model, "pooler", None)
        if pooler is None:
            return states
        if not isinstance(pooler, nn.Linear):
            read: Tensor = pooler(states[:, None])
            return read
        activation = getattr(model, "pooler_activation", None) or getattr(model, "activation", None)  # ALBERT, BigBird
        linear: Tensor = pooler(states)
        return linear if activation is None else activation(linear)


def _contents(soft: PromptBatch, batch: Batch) -> list[bytes]:
    """Of each of the S x B x R rows a name made of all that its state depends on: the prompt and the text."""
    prompts = []
    for parts in zip(soft.values.detach(), soft.present, soft.placed, strict=True):
        whole = b"".join(one.float().cpu().numpy().tobytes() for one in parts)
        prompts.append(hashlib.sha256(whole).digest())
    lengths, ids = batch.mask.sum(-1).flatten(1).cpu().numpy(), batch.ids.flatten(1, 2).cpu().numpy()
    texts = [
        [row[:length].tobytes() for row, length in zip(*pair, strict=True)] for pair in zip(ids, lengths, strict=True)
    ]
    return [prompt + text for position, prompt in enumerate(prompts) for text in texts[position % len(texts)]]
