"""Tickets attached to a user's own loaded model, for `forward` and `generate`; the model is not copied or changed.

Every row is laid out anew: its prompt, its text and nothing between them, padding at the far end. So rows may be padded
on either side, and each may have another ticket, and still get the answers that they get alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import ModelOutput, SequenceClassifierOutput

from prunekit.export.attach_prefix import AttachedPrefixes
from prunekit.export.attached_calls import as_new_tokens, behind_given, check_numbers, try_together
from prunekit.models.encoder import Encoder
from prunekit.models.load import borrowed, family, unwrapped, wrap
from prunekit.models.prompt_batch import PromptBatch, stack
from prunekit.models.traits import Together
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError

# the label that a loss does not count
_IGNORED = -100
# where a prompt may go, by family
_POSITIONS: dict[str, tuple[str, ...]] = {
    "encoder-decoder": ("first",),
    "decoder": ("first", "suffix"),
    "encoder": ("first", "after-cls"),
}


@dataclass(frozen=True)
class Row:
    """One row as the model is to read it, n slots for its prompt and its T tokens.

    Attributes:
        embeds: [n, H].
        attended: Bool[n], False for a hidden prompt token.
        tokens: Int[T], the slot of each token.
        reads: Int[T], the slot whose output says what follows each token.
    """

    embeds: Tensor
    attended: Tensor
    tokens: Tensor
    reads: Tensor


@dataclass(frozen=True)
class _PaddedRows:
    """Rows of a batch, padded: embeds [B, N, H], attention Int[B, N], first Int[B], the slot at which each begins."""

    embeds: Tensor
    attention: Tensor
    first: Tensor


class Attached:
    """A model with tickets attached; whatever else is asked of it, such as `config`, the model answers.

    Its class goes by the name of the model's, by which `transformers.pipeline` knows what a model can do.

    Attributes:
        model: a loaded Hugging Face model with its language-modelling head, or an encoder; used as it stands, in the
            mode that it is in (`model.eval()` for answers without dropout).
        tickets: one or more; each row of a batch uses the one whose index `tickets=` gives, the first by default.

    Raises:
        ConfigError: where a ticket does not fit the model.
    """

    def __new__(cls, model: Any, tickets: Sequence[Ticket]) -> Self:
        """An instance of a class of its own, which has the name of the model's."""
        return super().__new__(type(type(unwrapped(model)).__name__, (cls,), {}))

    def __init__(self, model: Any, tickets: Sequence[Ticket]) -> None:
        if not tickets:
            raise ConfigError("give at least one ticket to attach")
        with borrowed(model):  # it is tried on rows of embeddings
            fits = tickets[0].position in _POSITIONS[family(model.config)]
            position: Any = tickets[0].position if fits else "auto"
            self._model = wrap(model, None, position=position)
        self.model, self.tickets = unwrapped(model), tuple(tickets)
        self.family = family(model.config)
        self._longest = 0
        self.reader: Any = self._model.model
        with torch.no_grad():
            self._prompts = [self._prompt(ticket) for ticket in self.tickets]
        self._heads = self._stacked_heads() if self.family == "encoder" else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "model" not in vars(self):  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self.model, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__} with {len(self.tickets)} ticket{'s' * (len(self.tickets) > 1)} attached"

    def __call__(self, *arguments: Any, **options: Any) -> ModelOutput:
        """As `forward`."""
        return self.forward(*arguments, **options)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        tickets: Sequence[int] | None = None,
        text_tokens: Sequence[int] | None = None,
        labels: Tensor | None = None,
        **more: Any,
    ) -> ModelOutput:
        """The model's output for input_ids Int[B, T], padded on either side as attention_mask Int[B, T] says.

        `logits` of a decoder are [B, T, V], one per given token and saying what follows it, zero on padding; prompt
        slots are left out. An encoder answers by its ticket's head, [B, C]. All else is the model's own.

        Args:
            tickets: the index of each row's ticket.
            text_tokens: how many of a decoder's row are text (default: all); the rest is the answer, which stands
                behind a suffix, and which no method moves (dept, adept, ept).
            labels: as the model takes them; those of a decoder Int[B, T], beside its input_ids.
        """
        rows, real = self._rows(input_ids, attention_mask, tickets, text_tokens)
        self._check_together(rows, ("batch", "rows"))
        padded = _padded(rows, "right")
        more |= self._extra_arguments(rows, padded, input_ids, real)
        if self._heads is not None:
            return self._classified(padded, tickets, labels, more)
        if labels is not None:
            more["labels"] = labels if self.family == "encoder-decoder" else _slot_labels(rows, real, labels)
        more |= {"return_dict": True, "inputs_embeds": padded.embeds, "attention_mask": padded.attention}
        output: ModelOutput = self.model(**more)
        if self.family == "decoder":
            output.logits = _token_logits(output.logits, rows, real)
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

        A decoder's sequences are input_ids as given, then the new tokens; `max_length` counts both, not the prompt.
        """
        if self.family == "encoder":
            raise ConfigError("an encoder answers by a head and generates nothing; call the attached model instead")
        rows, _ = self._rows(input_ids, attention_mask, tickets, None)
        decoder = self.family == "decoder"
        self._check_together(rows, ("batch",) if decoder else ("batch", "rows"))
        if self._model.traits.per_layer:
            raise ConfigError(
                f"{type(self.model).__name__} cannot generate from embeddings alone; call the model instead"
            )
        padded = _padded(rows, "left" if decoder else "right")
        if decoder:
            as_new_tokens(more, input_ids)
        if decoder and self._hides(rows):
            if not hasattr(self.model, "_prepare_position_ids_for_generation"):
                raise ConfigError("to generate with hidden tokens (--dropped-as hide) takes transformers 5.2 or newer")
            positions = torch.arange(padded.embeds.shape[1], device=padded.first.device)
            more["position_ids"] = (positions - padded.first[:, None]).clamp(min=0)
        output = self.model.generate(inputs_embeds=padded.embeds, attention_mask=padded.attention, **more)
        return behind_given(input_ids, output) if decoder else output

    def row(self, ids: Tensor, ticket: int = 0, text_tokens: int | None = None) -> Row:
        """One text's ids Int[T] with a ticket's prompt, as the model is to read them."""
        prompts, position = self._prompts[ticket], self.tickets[ticket].position
        text_length = len(ids) if text_tokens is None else text_tokens
        embedded: Tensor = self.model.get_input_embeddings()(ids)
        if self._model.traits.scale != 1:
            embedded = embedded * self._model.traits.scale
        if prompts.embed_input is not None:
            text = torch.arange(len(ids), device=ids.device) < text_length
            embedded = prompts.embed_input(embedded[None, None], text[None, None])[0, 0]
        vectors, size = prompts.values[0].to(embedded.dtype), prompts.values.shape[1]
        start = min({"first": 0, "after-cls": 1, "suffix": text_length}[position], len(ids))
        slots = torch.arange(len(ids), device=ids.device)
        slots = slots + size * (slots >= start)
        reads = slots.clone()
        if position == "suffix" and start > 0 and bool(prompts.present.any()):
            # what follows the text is read at the last prompt slot that is attended to
            reads[start - 1] = start + int(prompts.present[0].nonzero().max())
        present = torch.ones_like(ids, dtype=torch.bool)
        return Row(
            torch.cat([embedded[:start], vectors, embedded[start:]]),
            torch.cat([present[:start], prompts.present[0], present[start:]]),
            slots,
            reads,
        )

    # ---- the parts

    def _prompt(self, ticket: Ticket) -> PromptBatch:
        """A ticket's prompt on the model's device, checked against the model."""
        if ticket.position not in _POSITIONS[self.family]:
            raise ConfigError(
                f"position = {ticket.position}: a ticket for another kind of model than this {self.family}"
            )
        if (ticket.head is None) == (self.family == "encoder"):
            raise ConfigError(
                "an encoder answers by its ticket's head, other models by words; this ticket is not for it"
            )
        device = next(self.model.parameters()).device
        prompts = stack([ticket.prompt().to(device)])
        width = self.model.get_input_embeddings()(torch.zeros(1, dtype=torch.long, device=device)).shape[-1]
        if prompts.values.shape[-1] != width:
            raise ConfigError(f"the ticket is {prompts.values.shape[-1]} wide, the model's embeddings {width}")
        return prompts

    def _rows(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        tickets: Sequence[int] | None,
        text_tokens: Sequence[int] | None,
    ) -> tuple[list[Row], Tensor]:
        """The rows of a batch, and Bool[B, T]: which of input_ids are no padding."""
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        real, count = real.bool(), len(input_ids)
        ticket_indices = [0] * count if tickets is None else list(tickets)
        texts = [None] * count if text_tokens is None else list(text_tokens)
        if len(ticket_indices) != count or len(texts) != count:
            raise ConfigError(f"tickets and text_tokens need one number for each of the {count} rows")
        check_numbers(ticket_indices, len(self.tickets))
        parts = zip(input_ids, real, ticket_indices, texts, strict=True)
        return [self.row(ids[mask], index, text) for ids, mask, index, text in parts], real

    def _check_together(self, rows: Sequence[Row], allowed: Sequence[Together]) -> None:
        """Rows that the model would answer otherwise beside each other are refused (`models/trial.py`)."""
        longest = max(len(row.embeds) for row in rows)
        if len(rows) > 1:
            self._longest = try_together(self._model, self.model, longest, self._longest)
        together = self._model.traits.together
        unequal = len({len(row.embeds) for row in rows}) > 1
        if len(rows) > 1 and (together == "alone" or (unequal and together not in allowed)):
            kind = type(self.model).__name__
            which = "rows" if together == "alone" else "rows of unequal length"
            raise ConfigError(f"{kind} answers {which} otherwise when they share a batch; give them one by one")

    def _extra_arguments(
        self, rows: Sequence[Row], padded: _PaddedRows, input_ids: Tensor, real: Tensor
    ) -> dict[str, Tensor]:
        """Arguments of the model other than embeddings and attention."""
        traits, more = self._model.traits, {}
        if traits.first_position is not None:
            slots = torch.arange(padded.embeds.shape[1], device=padded.embeds.device)
            more["position_ids"] = (slots + traits.first_position).expand(len(padded.embeds), -1)
        if traits.per_layer:
            ids = input_ids.new_full(padded.attention.shape, self._model.filler_id)
            for number, row in enumerate(rows):
                ids[number, row.tokens] = input_ids[number, real[number]]
            more["per_layer_inputs"] = self._model.layer_inputs(ids)
        return more

    def _hides(self, rows: Sequence[Row]) -> bool:
        """Whether a slot that is not attended to counts as a position; elsewhere `generate` counts by itself."""
        return not self._model.counts_attended and not all(bool(row.attended.all()) for row in rows)

    def _stacked_heads(self) -> tuple[Tensor, Tensor]:
        """Heads of all tickets: [S, C, H] and [S, C]."""
        heads = [ticket.head for ticket in self.tickets if ticket.head is not None]
        if len({head["weight"].shape for head in heads}) > 1:
            raise ConfigError("tickets that share a batch need heads of as many choices; attach them one by one")
        if (width := heads[0]["weight"].shape[1]) != self._model.hidden_width:
            raise ConfigError(f"the ticket's head is {width} wide, the model's states {self._model.hidden_width}")
        device = next(self.model.parameters()).device
        weight, bias = (torch.stack([head[name] for head in heads]).to(device) for name in ("weight", "bias"))
        return weight, bias

    def _classified(
        self, padded: _PaddedRows, tickets: Sequence[int] | None, labels: Tensor | None, more: dict[str, Any]
    ) -> SequenceClassifierOutput:
        """An encoder's answers by the heads of the rows' tickets; read as `models.Encoder` reads them."""
        assert self._heads is not None
        output = self.reader(inputs_embeds=padded.embeds, attention_mask=padded.attention, **more)
        row_indices = torch.arange(len(padded.first), device=padded.first.device)
        first = padded.attention.argmax(dim=1)  # a hidden prompt token may stand before it
        states = output.last_hidden_state[row_indices, first]
        ticket_indices = (
            torch.zeros_like(row_indices) if tickets is None else torch.tensor(tickets, device=row_indices.device)
        )
        weight, bias = self._heads
        logits = weight.new_empty(len(row_indices), weight.shape[1])
        for number in ticket_indices.unique().tolist():
            rows = states[ticket_indices == number]
            if self.tickets[number].position == "first" and isinstance(self._model, Encoder):
                rows = self._model.pooled(rows)
            logits[ticket_indices == number] = F.linear(rows.to(weight.dtype), weight[number], bias[number])
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def attach(model: Any, tickets: Ticket | Sequence[Ticket]) -> Attached | AttachedPrefixes:
    """A model with one or more tickets attached, of input vectors or of keys and values."""
    tickets = [tickets] if isinstance(tickets, Ticket) else tickets
    prefix = any(ticket.position == "prefix-kv" for ticket in tickets)
    return AttachedPrefixes(model, tickets) if prefix else Attached(model, tickets)


def _padded(rows: Sequence[Row], side: Literal["left", "right"]) -> _PaddedRows:
    """Rows of one length; on the left is where `generate` of a decoder wants padding."""
    lengths = torch.tensor([len(row.embeds) for row in rows], device=rows[0].embeds.device)
    embeds = pad_sequence([row.embeds for row in rows], batch_first=True, padding_side=side)
    attended = pad_sequence([row.attended for row in rows], batch_first=True, padding_side=side)
    first = embeds.shape[1] - lengths if side == "left" else torch.zeros_like(lengths)
    return _PaddedRows(embeds, attended.long(), first)


def _slot_labels(rows: Sequence[Row], real: Tensor, labels: Tensor) -> Tensor:
    """Labels Int[B, T] moved to the slots of their tokens."""
    longest = max(len(row.embeds) for row in rows)
    padded = labels.new_full((len(rows), longest), _IGNORED)
    for number, row in enumerate(rows):
        padded[number, row.tokens] = labels[number, real[number]]
    return padded


def _token_logits(logits: Tensor, rows: Sequence[Row], real: Tensor) -> Tensor:
    """[B, N, V] logits of slots -> [B, T, V], those of the given tokens."""
    aligned = logits.new_zeros(*real.shape, logits.shape[-1])
    for number, row in enumerate(rows):
        aligned[number, real[number]] = logits[number, row.reads]
    return aligned
