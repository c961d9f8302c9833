"""A frozen language model that soft prompts are placed into: what all families share.

The per-example loss [S, B] is the one primitive: training takes its mean over B, scoring its sum, evaluation reads it.
Families differ only in how they lay out a row and where they read the answer.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunekit.models.batch import Batch, Encoded, Row, collate
from prunekit.models.encoding import Reading, Way, encode
from prunekit.models.identity import ModelIdentity, identity_of
from prunekit.models.placing import Beside, Placed, apart, beside, joined
from prunekit.models.prompt_batch import Head, PromptBatch
from prunekit.models.tokens import TextReader
from prunekit.models.traits import Traits, embedding_rows, text_config
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example

Position = Literal["first", "suffix", "after-cls"]
Ranking = Literal["sum", "mean"]

# rows of the embedding table that stand for nothing: BERT's [unused5], T5's <extra_id_3>, Gemma's <unused7>
_UNUSED = re.compile(r"\[unused\d+\]|<extra_id_\d+>|<unused\d+>")

# these count positions over what is attended to, by themselves; a hidden token takes none
COUNTS_ATTENDED = {"opt"}


@dataclass(frozen=True)
class Predictions:
    """What a cohort answered to a batch.

    Attributes:
        losses: [S, B], mean negative log-likelihood of the gold choice; NaN where none is known.
        logits: [S, B, C], the score by which choices are ranked; -inf for choices an example does not have.
    """

    losses: Tensor
    logits: Tensor


class FrozenModel:
    """A frozen model and its tokenizer. Its weights never get a gradient and are never changed.

    Attributes:
        position: where the prompt goes: "first" (before every token), "suffix" (between a decoder's text and answer) or
            "after-cls" (behind an encoder's first token).
        ranking: choices are ranked by the sum of their tokens' log-probabilities, or by the mean.
        max_input_tokens: longer inputs lose the end of their longest field.
        reader: its tokenizer as it reads texts and answers.
        traits: how the model is given its rows; `trial.settle` finds out.
        tried: tokens of the longest text tried.
    """

    positions: tuple[Position, ...] = ("first",)
    answers_by_head = False
    closes_texts = True
    traits = Traits()
    tried = 0

    def __init__(
        self, model: Any, tokenizer: Any, *, position: Position, ranking: Ranking = "sum", max_input_tokens: int = 256
    ) -> None:
        if position not in self.positions:
            raise ConfigError(f"place = {position!r} does not fit this model; use one of {', '.join(self.positions)}")
        self.model: nn.Module = model
        self.tokenizer = tokenizer
        self.reader = TextReader(tokenizer, closes=self.closes_texts)
        self.position, self.ranking, self.max_input_tokens = position, ranking, max_input_tokens
        self.model.requires_grad_(False)
        self.model.eval()

    # ---- what a family says of itself

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """How this family lays out one example, for all its choices or for the gold one alone."""
        raise NotImplementedError

    def answered(self, own_choices: bool) -> Way:
        """Where this family reads answers: behind the text, apart from it, or nowhere, since a head answers."""
        raise NotImplementedError

    def _judge(self, soft: PromptBatch, batch: Batch) -> Predictions:
        raise NotImplementedError

    def remembering(self) -> AbstractContextManager[None]:
        """While prompts stay as they are, what follows from them alone may be kept."""
        return nullcontext()

    def settled(self) -> None:
        """Called whenever the traits have been found anew."""

    # ---- what every family does

    def judge(self, soft: PromptBatch, batch: Batch) -> Predictions:
        """Losses and choice scores of every member on every example.

        Raises:
            ConfigError: where prompt tokens are hidden from a model that sees them all the same.
        """
        if soft.hides and not self.hides:
            kind = type(self.model).__name__
            raise ConfigError(
                f"{kind} sees prompt tokens that are hidden from it; drop them by --dropped-as remove or zero"
            )
        return self._judged(soft, batch.to(self.device))

    def _judged(self, soft: PromptBatch, batch: Batch) -> Predictions:
        if self.traits.together != "alone" or soft.members * batch.size == 1:
            return self._judge(soft, batch)
        members = []
        for member in range(soft.members):
            each = [self._judge(*_row_alone(soft, batch, member, row)) for row in range(batch.size)]
            members.append([torch.cat([getattr(row, name) for row in each], dim=1) for name in ("losses", "logits")])
        return Predictions(*(torch.cat(parts) for parts in zip(*members, strict=True)))

    @cached_property
    def hides(self) -> bool:
        """Whether what a hidden prompt token holds changes no answer, by trying."""
        values = self.embed(torch.tensor([[0, 1, 0], [0, 2, 0]]))
        there = torch.tensor([[True, False, True]] * 2, device=values.device)
        head = None
        if self.answers_by_head:
            weight = torch.randn(2, self.hidden_width, generator=torch.Generator().manual_seed(0))
            head = Head(weight.to(values.device).expand(2, -1, -1), torch.zeros(2, 2, device=values.device))
        soft = PromptBatch(values, there, torch.ones_like(there), there.long(), None, head)
        text = Encoded(0, (3, 4, 5), ((6,), (7,)), 0)
        with torch.no_grad():
            logits = self._judged(soft, self.batch([[text]], every_choice=True).to(self.device)).logits
        return bool((logits[0] - logits[1]).abs().max() <= 1e-6 * logits.abs().max())

    def losses(self, soft: PromptBatch, batch: Batch) -> Tensor:
        """[S, B] per-example losses."""
        return self.judge(soft, batch).losses

    def logits(self, soft: PromptBatch, batch: Batch) -> Tensor:
        """[S, B, C] choice scores; -inf where an example has fewer choices."""
        return self.judge(soft, batch).logits

    def encode(self, examples: Iterable[Example], *, own_choices: bool, prompt_tokens: int) -> list[Encoded]:
        """Token ids of examples.

        Args:
            own_choices: whether answers differ per example.
            prompt_tokens: P, which must fit beside text and answer; a text over the limit is shortened field by field.

        Raises:
            ConfigError: in one line where answers cannot be read, told apart or chosen.
            DataError: in one line where answers cannot be read, told apart or chosen.
        """
        return encode(self.reader, examples, self.reading(own_choices, prompt_tokens))

    def reading(self, own_choices: bool, prompt_tokens: int = 0) -> Reading:
        """How texts and answers of a task are read beside a prompt of P = `prompt_tokens`."""
        return Reading(
            self.answered(own_choices),
            own_choices,
            by_sum=self.ranking == "sum" and not self.answers_by_head,
            text_tokens=self.max_input_tokens,
            row_tokens=self.most_positions - prompt_tokens,
            rows=self.embedding_rows,
        )

    def batch(self, members: Sequence[Sequence[Encoded]], *, every_choice: bool) -> Batch:
        """One batch of M x B examples; `every_choice=False` lays out the gold choice alone, enough for the loss."""
        return collate([[self.layout(example, every_choice) for example in rows] for rows in members], self.pad)

    def new_head(self, choices: int | None) -> dict[str, Tensor] | None:
        """A zero head of C rows (one scalar row where choices differ per example), or None where words answer."""
        if not self.answers_by_head:
            return None
        rows = 1 if choices is None else choices
        return {"weight": torch.zeros(rows, self.hidden_width), "bias": torch.zeros(rows)}

    @property
    def embedding(self) -> nn.Module:
        """The input embedding module, read-only: ids [...] -> vectors [..., H]."""
        module: nn.Module = self.model.get_input_embeddings()  # type: ignore[operator]
        return module

    def embed(self, ids: Tensor) -> Tensor:
        """[...] token ids -> [..., H], as the first layer gets them (some scale in the module, some behind it)."""
        with torch.no_grad():
            vectors: Tensor = self.embedding(ids.to(self.device))
        return vectors if self.traits.scale == 1 else vectors * self.traits.scale

    @property
    def width(self) -> int:
        """H, the width of a prompt vector."""
        return int(self.embed(torch.zeros(1, dtype=torch.long)).shape[-1])

    @property
    def hidden_width(self) -> int:
        """Width of the last hidden state, which a head reads."""
        return int(self.text_config.hidden_size)

    @property
    def embedding_rms(self) -> float:
        """Root mean square of the embedding table's entries, the unit of `learning_rate = "auto"`."""
        ids = torch.arange(self.embedding_rows)
        return float(self.embed(ids).float().pow(2).mean().sqrt())

    @property
    def config(self) -> Any:
        """The model's own configuration."""
        return self.model.config

    @property
    def text_config(self) -> Any:
        """The part of the configuration that is about text."""
        return text_config(self.config)

    @property
    def embedding_rows(self) -> int:
        """How many ids the model has an embedding for."""
        return embedding_rows(self.embedding, self.config)

    def accepts(self, argument: str) -> bool:
        """Whether the model's forward pass names an argument."""
        return argument in inspect.signature(self.model.forward).parameters

    @property
    def counts_attended(self) -> bool:
        """Whether the model counts positions over what is attended to, by itself; a hidden token takes none."""
        return self.config.model_type in COUNTS_ATTENDED

    @property
    def device(self) -> torch.device:
        """Where inputs go: where the weights are, or the first of them where they are spread."""
        hook = getattr(self.embedding, "_hf_hook", None)
        known = getattr(hook, "execution_device", None)
        return next(self.model.parameters()).device if known is None else torch.device(known)

    @property
    def spread(self) -> bool:
        """Whether the layers lie on several devices, in main memory or on disk, and come when they are used."""
        return hasattr(self.model, "_hf_hook")

    @property
    def pad(self) -> int:
        """The id that fills up rows; never attended to, so any will do where the tokenizer's is none of the model's."""
        pad = getattr(self.tokenizer, "pad_token_id", None)
        return 0 if pad is None or not 0 <= int(pad) < self.embedding_rows else int(pad)

    @property
    def filler_id(self) -> int:
        """The id whose embeddings in every layer a prompt token gets, where there are such (as transformers does)."""
        pad = getattr(self.text_config, "pad_token_id", None)
        return 0 if pad is None or not 0 <= int(pad) < self.embedding_rows else int(pad)

    def ordinary_ids(self, first: int = 5000) -> list[int]:
        """The lowest `first` ids that stand for text: no special tokens, no unused rows (Lester et al. 2021: 5,000)."""
        special = set(self.tokenizer.all_special_ids)
        words = self.tokenizer.convert_ids_to_tokens(list(range(min(len(self.tokenizer), self.embedding_rows))))
        ordinary = (i for i, word in enumerate(words) if i not in special and word and not _UNUSED.fullmatch(word))
        return [i for _, i in zip(range(first), ordinary, strict=False)]

    def identity(self) -> ModelIdentity:
        """What makes it the same model: digests of weights and tokenizer, and the configuration that counts."""
        return identity_of(self.model, self._weights(), self.tokenizer)

    def digest(self) -> str:
        """sha256 over weights, tokenizer and configuration."""
        return self.identity().digest

    def _weights(self) -> dict[str, Tensor]:
        """Every weight by name, fetched from where it lies."""
        weights: dict[str, Tensor] = self.model.state_dict()
        if any(tensor.is_meta for tensor in weights.values()):
            from accelerate.utils.modeling import get_state_dict_offloaded_model

            weights = get_state_dict_offloaded_model(self.model)
        return weights

    # ---- helpers of the families

    def _beside(self, soft: PromptBatch, batch: Batch) -> Beside:
        """Prompt and text of every row, with the layers' own embeddings behind each vector where there are such."""
        side = beside(soft, batch, self.embed(batch.ids))
        if not self.traits.per_layer:
            return side
        texts = self.layer_inputs(batch.ids).flatten(-2).expand(*side.embedded.shape[:-1], -1)
        filler = self.layer_inputs(batch.ids.new_full((1,), self.filler_id)).flatten(-2)
        prompt = filler.expand(*side.values.shape[:-1], -1)
        return replace(
            side, embedded=torch.cat([side.embedded, texts], -1), values=torch.cat([side.values, prompt], -1)
        )

    def _position(self, soft: PromptBatch, batch: Batch) -> Placed:
        """Prompt vectors put before (or, after-cls, behind the first of) the input embeddings of every row."""
        return joined(self._beside(soft, batch), split=1 if self.position == "after-cls" else 0)

    def _read_rows(self, placed: Placed, read: Callable[..., Any]) -> Tensor:
        """[N, T, D], what `read` gives of rows, those apart that may not share a forward pass.

        Args:
            read: (inputs_embeds, attention_mask, ...) -> [N, T, D].
        """

        def of(rows: Placed) -> Tensor:
            outputs: Tensor = read(**self._arguments(rows))
            return outputs

        return of(placed) if self.traits.together == "batch" else apart(placed, self.traits.together, of)

    def _arguments(self, placed: Placed) -> dict[str, Tensor]:
        """Rows as a model takes them."""
        arguments = {"inputs_embeds": placed.embeds, "attention_mask": placed.attention}
        if self.traits.first_position is not None:
            arguments["position_ids"] = placed.positions + self.traits.first_position
        if self.traits.per_layer:
            embeds, layers = placed.embeds.split([self.width, placed.embeds.shape[-1] - self.width], dim=-1)
            depth = int(self.text_config.num_hidden_layers)
            arguments |= {"inputs_embeds": embeds, "per_layer_inputs": layers.unflatten(-1, (depth, -1))}
        return arguments

    @cached_property
    def per_layer_module(self) -> Any:
        """The module that gives each layer an own embedding of an id, or None (Gemma 3n and Gemma 4 have one)."""
        if not getattr(self.text_config, "hidden_size_per_layer_input", None):
            return None
        return next((module for module in self.model.modules() if hasattr(module, "embed_tokens_per_layer")), None)

    def layer_inputs(self, ids: Tensor) -> Tensor:
        """[...] ids -> [..., L, D], the embeddings that the layers have of their own."""
        module = self.per_layer_module
        more = [None] * (len(inspect.signature(module.get_per_layer_inputs).parameters) - 1)
        with torch.no_grad():
            flat: Tensor = module.get_per_layer_inputs(ids.reshape(1, -1), *more)[0]
        layers: Tensor = flat.view(*ids.shape, *flat.shape[1:])
        return layers

    @property
    def most_positions(self) -> int:
        """Tokens of the longest row that the model can read; without limit where positions are relative."""
        names = ("max_encoder_position_embeddings", "max_position_embeddings", "n_positions", "max_seq_len")
        limits = [getattr(self.text_config, name, None) for name in names]
        limit = next((int(each) for each in limits if isinstance(each, int) and each > 0), None)
        return 10**9 if limit is None else limit - (self.traits.first_position or 0)


def by_words(logprobs: Tensor, batch: Batch, ranking: Ranking) -> Predictions:
    """Losses and choice scores from [S, B, C, L] log-probabilities of the answers' tokens."""
    real = batch.target_mask.to(logprobs.dtype)
    total = (logprobs * real).sum(-1)  # [S, B, C]
    mean = total / real.sum(-1).clamp(min=1)
    gold = batch.gold.clamp(min=0).expand(mean.shape[:2])[..., None]
    losses = -mean.gather(2, gold).squeeze(2)
    losses = losses.masked_fill(batch.gold < 0, float("nan"))
    ranked = total if ranking == "sum" else mean
    return Predictions(losses, ranked.masked_fill(~batch.choice_mask, float("-inf")))


def by_head(states: Tensor, head: Head, batch: Batch) -> Predictions:
    """Losses and choice scores from [S, B, R, H] states: a row of the head per choice, or one scalar per row."""
    states = states.to(head.weight.dtype)
    # a linear layer per member, as a classification model has it, so that a single row's scores are its, bit for bit
    each = zip(states, head.weight, head.bias, strict=True)
    scores = torch.stack([F.linear(rows.flatten(0, 1), *layer).view(*rows.shape[:2], -1) for rows, *layer in each])
    logits = scores.squeeze(-1) if scores.shape[-1] == 1 else scores.squeeze(2)  # [S, B, C]
    logits = logits.masked_fill(~batch.choice_mask, float("-inf"))
    gold = batch.gold.clamp(min=0).expand(logits.shape[:2])[..., None]
    losses = -logits.log_softmax(-1).gather(2, gold).squeeze(2)
    return Predictions(losses.masked_fill(batch.gold < 0, float("nan")), logits)


def _row_alone(soft: PromptBatch, batch: Batch, member: int, row: int) -> tuple[PromptBatch, Batch]:
    """One member's prompt and one of its examples, all padding cut off."""
    own = member if batch.ids.shape[0] > 1 else 0
    cells = {part.name: getattr(batch, part.name)[own : own + 1, row : row + 1] for part in fields(Batch)}
    length = int(cells["mask"].sum(-1).max())
    cells |= {name: cells[name][..., :length] for name in ("ids", "mask")}
    alone = soft.member(member)
    if alone.values.dim() == 4:
        alone = replace(alone, values=alone.values[:, row : row + 1])
    return alone, Batch(**cells)
