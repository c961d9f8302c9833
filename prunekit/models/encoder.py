"""Encoder-only models (BERT, RoBERTa kinds): a trained linear head reads the first position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunekit.models.base import FrozenModel, Position, Predictions, predict_from_head
from prunekit.models.batch import Batch, Encoded, Ids, Row
from prunekit.models.encoding import AnswerPlace
from prunekit.models.prompt_batch import PromptBatch
from prunekit.support.errors import ConfigError

# states that are kept at most: of 384 numbers in float32 100 MB
_MAX_CACHED = 2**16


class Encoder(FrozenModel):
    """A bidirectional encoder. After-cls, the head reads the [CLS] state; first, row 0 through the pooler (as PEFT)."""

    positions: tuple[Position, ...] = ("after-cls", "first")
    answers_by_head = True
    _states_cache: dict[bytes, Tensor] | None = None

    @contextmanager
    def caching_states(self) -> Iterator[None]:
        """While heads alone learn, the states that they read never change: each is computed once."""
        self._states_cache = {}
        try:
            yield
        finally:
            self._states_cache = None

    def answer_place(self, own_choices: bool) -> AnswerPlace:
        """The head has a row for each fixed choice; each example's own join its text."""
        return "behind" if own_choices else "head"

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """One row where the task's choices are fixed (the head has a row for each); else a row per choice."""
        empty: list[Ids] = [()] * len(example.choices)
        if not example.own_choices:
            return Row([example.text], empty, [0], example.gold, example.index, right=example.right)
        end = len(example.text) - len(self.reader.closing)  # the closing tokens stay last
        rows = [example.text[:end] + choice + example.text[end:] for choice in example.choices]
        return Row(rows, empty, [0] * len(rows), example.gold, example.index, right=example.right)

    def _forward(self, prompts: PromptBatch, batch: Batch) -> Predictions:
        if prompts.head is None:
            raise ConfigError("an encoder-only model answers by a head, and this ticket has none")
        return predict_from_head(self._states(prompts, batch), prompts.head, batch)

    def _states(self, prompts: PromptBatch, batch: Batch) -> Tensor:
        """[S, B, R, H], what the head reads; looked up where it is kept."""
        if self._states_cache is None or prompts.values.dim() == 4 or prompts.embed_input is not None:
            return self._read(prompts, batch)
        keys = _contents(prompts, batch)
        if any(key not in self._states_cache for key in keys):
            states = self._read(prompts, batch)
            if len(self._states_cache) < _MAX_CACHED:
                self._states_cache |= zip(keys, states.detach().flatten(0, 2), strict=True)
            return states
        return torch.stack([self._states_cache[key] for key in keys]).view(
            prompts.members, batch.size, -1, self.hidden_width
        )

    def _read(self, prompts: PromptBatch, batch: Batch) -> Tensor:
        placed = self._position(prompts, batch)
        module: Any = self.model
        states = self._read_rows(placed, lambda **rows: module(**rows).last_hidden_state)
        first = placed.attention.argmax(dim=1)  # padding to a common length may stand before it
        rows = states[torch.arange(len(first), device=first.device), first]
        if self.position == "first":
            rows = self.pooled(rows)
        states_of_rows: Tensor = rows.unflatten(0, (prompts.members, batch.size, -1))
        return states_of_rows

    def text_states(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """[N, H] twice: the first state of each text without a prompt, and the mean of all its states."""
        rows = self._position(self.no_prompt(), batch)
        module: Any = self.model
        states = self._read_rows(rows, lambda **arguments: module(**arguments).last_hidden_state)
        real = rows.attention[..., None].to(states.dtype)
        return states[:, 0], (states * real).sum(1) / real.sum(1)

    def pooled(self, states: Tensor) -> Tensor:
        """[N, H] first states -> [N, H] as the model's own pooler hands them on; as they are where it has none."""
        module: Any = self.model
        pooler = getattr(module, "pooler", None)
        if pooler is None:
            return states
        if not isinstance(pooler, nn.Linear):
            states_of_pooler: Tensor = pooler(states[:, None])
            return states_of_pooler
        activation = getattr(module, "pooler_activation", None) or getattr(
            module, "activation", None
        )  # ALBERT, BigBird
        linear: Tensor = pooler(states)
        return linear if activation is None else activation(linear)


def _contents(prompts: PromptBatch, batch: Batch) -> list[bytes]:
    """A key for each of the S x B x R rows, made of all that its state depends on: the prompt and the text."""
    digests = []
    for parts in zip(prompts.values.detach(), prompts.present, prompts.placed, strict=True):
        content = b"".join(part.float().cpu().numpy().tobytes() for part in parts)
        digests.append(hashlib.sha256(content).digest())
    lengths, ids = batch.mask.sum(-1).flatten(1).cpu().numpy(), batch.ids.flatten(1, 2).cpu().numpy()
    texts = [
        [row[:length].tobytes() for row, length in zip(*pair, strict=True)] for pair in zip(ids, lengths, strict=True)
    ]
    return [digest + text for member, digest in enumerate(digests) for text in texts[member % len(texts)]]
