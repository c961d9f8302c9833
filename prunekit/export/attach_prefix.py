"""Tickets of keys and values attached to a user's own loaded model, for `forward` and `generate`.

The model is not copied and answers as before without them: each call gives it the prefixes as its cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import ModelOutput

from prunekit.export.attached_calls import as_new_tokens, behind_given, check_numbers, try_together
from prunekit.export.prompt_vectors import flattened
from prunekit.models.batch import Batch, Row, collate
from prunekit.models.load import borrowed, unwrapped, wrap
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.models.prompt_batch import PromptBatch, stack
from prunekit.prompts.base import MaskedPrompt
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError
from prunekit.tasks.decoding import Decoding

# the label that a loss does not count
_IGNORED = -100


class AttachedPrefixes:
    """A decoder with tickets of position "prefix-kv" attached.

    Attributes:
        model: a loaded Hugging Face model with its language-modelling head, used as it stands, in the mode it is in.
        tickets: one or more; each row of a batch uses the one whose index `tickets=` gives, the first by default.

    Raises:
        ConfigError: where a ticket does not fit the model.
    """

    def __init__(self, model: Any, tickets: Sequence[Ticket]) -> None:
        if any(ticket.position != "prefix-kv" for ticket in tickets):
            raise ConfigError(
                "tickets of keys and values and tickets of input vectors share no batch; attach them apart"
            )
        with borrowed(model):
            decoder = wrap(model, None, position="prefix-kv")
        assert isinstance(decoder, PrefixDecoder), "as the position asks"
        self._decoder, self.model, self.tickets = decoder, unwrapped(model), tuple(tickets)
        self._prompts = [self._prompt(ticket) for ticket in tickets]
        self._longest = 0

    def __call__(self, *arguments: Any, **options: Any) -> ModelOutput:
        """As `forward`."""
        return self.forward(*arguments, **options)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        tickets: Sequence[int] | None = None,
        labels: Tensor | None = None,
        **more: Any,
    ) -> ModelOutput:
        """The model's output for input_ids Int[B, T], padded on either side as attention_mask Int[B, T] says.

        `logits` are [B, T, V], one per given token and saying what follows it, zero on padding.

        Args:
            tickets: the index of each row's ticket.
            labels: as the model takes them, Int[B, T] beside its input_ids.
        """
        prompts, batch, real = self._batch(input_ids, attention_mask, tickets)
        if labels is not None:
            more["labels"] = _right_padded(labels, real)
        output: ModelOutput = self.model(**self._decoder.row_arguments(prompts, batch), **more, return_dict=True)
        output.logits = _in_place(output.logits, real)
        return output

    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        tickets: Sequence[int] | None = None,
        **more: Any,
    ) -> Any:
        """What `model.generate` gives for input_ids Int[B, T], padded on either side; arguments otherwise as there.

        Sequences are input_ids as given, then the new tokens; `max_length` counts both, not the prefix.

        Raises:
            ConfigError: where several answers are wanted of a row.
        """
        if any(more.get(name, 1) > 1 for name in ("num_beams", "num_return_sequences")):
            raise ConfigError("behind a prefix of keys and values one answer is written to a row, without beams")
        prompts, batch, _ = self._batch(input_ids, attention_mask, tickets)
        as_new_tokens(more, input_ids)
        with torch.no_grad():
            output = self.model.generate(**self._decoder.generation_rows(prompts, batch, Decoding()), **more)
        return behind_given(input_ids, output)

    def _prompt(self, ticket: Ticket) -> MaskedPrompt:
        """A ticket's prompt on the model's device; one of zeros as the whole prefix that it is, so that all share."""
        with torch.no_grad():
            width = ticket.prompt()()[0].shape[1]
        if width != self._decoder.width:
            raise ConfigError(f"the ticket is {width} wide, what the model keeps of a token {self._decoder.width}")
        if ticket.dropped_as == "zero":
            full = Mask.full(*ticket.mask.piece.shape)
            ticket = replace(flattened(ticket), mask=full, dropped_as="hide")
        return ticket.prompt().to(self._decoder.device)

    def _batch(
        self, input_ids: Tensor, attention_mask: Tensor | None, tickets: Sequence[int] | None
    ) -> tuple[PromptBatch, Batch, Tensor]:
        """Each row as a member of its own, behind its own prefix; and Bool[B, T]: which of input_ids are no padding."""
        real = (torch.ones_like(input_ids) if attention_mask is None else attention_mask).bool()
        indices = [0] * len(input_ids) if tickets is None else list(tickets)
        if len(indices) != len(input_ids):
            raise ConfigError(f"tickets need one number for each of the {len(input_ids)} rows")
        check_numbers(indices, len(self.tickets))
        rows = [tuple(ids[mask].tolist()) for ids, mask in zip(input_ids, real, strict=True)]
        with torch.no_grad():
            prompts = stack([self._prompts[index] for index in indices])
        self._check_together(rows, prompts)
        batch = collate([[Row([ids], [()], [len(ids) - 1], -1, 0)] for ids in rows], self._decoder.pad)
        return prompts, batch.to(self._decoder.device), real

    def _check_together(self, rows: Sequence[tuple[int, ...]], prompts: PromptBatch) -> None:
        """Refuse rows that the model would answer otherwise beside each other (`models/trial.py`)."""
        if len(rows) < 2:
            return
        longest = max(map(len, rows)) + prompts.values.shape[1]
        self._longest = try_together(self._decoder, self.model, longest, self._longest)
        if self._decoder.traits.together != "batch":
            kind = type(self.model).__name__
            raise ConfigError(f"{kind} answers rows otherwise when they share a batch; give them one by one")


def _right_padded(labels: Tensor, real: Tensor) -> Tensor:
    """Labels Int[B, T] of tokens that are no padding, padded on the right."""
    padded = labels.new_full((len(labels), int(real.sum(1).max())), _IGNORED)
    for row, label, mask in zip(padded, labels, real, strict=True):
        row[: int(mask.sum())] = label[mask]
    return padded


def _in_place(logits: Tensor, real: Tensor) -> Tensor:
    """[B, N, V] logits of rows padded on the right -> [B, T, V], those of the given tokens."""
    placed = logits.new_zeros(*real.shape, logits.shape[-1])
    for row, row_logits, mask in zip(placed, logits, real, strict=True):
        row[mask] = row_logits[: int(mask.sum())]
    return placed
