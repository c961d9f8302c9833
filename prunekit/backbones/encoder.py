"""Encoder-only models (BERT, RoBERTa kinds): a trained linear head reads the first position."""

from __future__ import annotations

from typing import Any

import torch

from prunekit.backbones.base import Backbone, Judged, Place, by_head
from prunekit.backbones.batch import Batch, Encoded, Ids, Row
from prunekit.backbones.soft import Soft
from prunekit.errors import ConfigError


class Encoder(Backbone):
    """A bidirectional encoder. After-cls, the head reads the [CLS] state; first, row 0 through the pooler (as PEFT)."""

    places: tuple[Place, ...] = ("after-cls", "first")
    answers_by_head = True

    def answer_ids(self, answer: str) -> Ids:
        """The answer's tokens; they join the text only where choices differ per example."""
        return tuple(self.tokenizer(answer, add_special_tokens=False)["input_ids"])

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """One row where the task's choices are fixed (the head has a row for each); else a row per choice."""
        empty: list[Ids] = [()] * len(example.choices)
        if not example.own_choices:
            return Row([example.text], empty, [0], example.gold, example.index)
        last = example.text[-1:]  # the closing token stays last
        rows = [example.text[:-1] + choice + last for choice in example.choices]
        return Row(rows, empty, [0] * len(rows), example.gold, example.index)

    def _judge(self, soft: Soft, batch: Batch) -> Judged:
        if soft.head is None:
            raise ConfigError("an encoder-only model answers by a head, and this ticket has none")
        placed = self._place(soft, batch)
        model: Any = self.model
        output = model(inputs_embeds=placed.embeds, attention_mask=placed.attention, **self._position_arguments(placed))
        first = placed.attention.argmax(dim=1)  # padding to a common length may stand before it
        states = output.last_hidden_state[torch.arange(len(first), device=first.device), first]
        if self.place == "first" and getattr(model, "pooler", None) is not None:
            states = model.pooler(states[:, None])
        return by_head(states.unflatten(0, (soft.members, batch.size, -1)), soft.head, batch)
