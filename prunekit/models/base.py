"""A frozen language model that soft prompts are placed into: what all families share.

The per-example loss [S, B] is the one primitive: training takes its mean over B, scoring its sum, evaluation reads it.
Families differ only in how they lay out a row and where they read the answer.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunekit.models.batch import Batch, Encoded, Row, collate
from prunekit.models.encoding import AnswerPlace, EncodingOptions, encode
from prunekit.models.identity import ModelIdentity, identity_of
from prunekit.models.input_rows import InputRows, PromptAndInput, insert_prompt, prompt_and_input, read_grouped
from prunekit.models.prompt_batch import Head, PromptBatch
from prunekit.models.text_reader import TextReader
from prunekit.models.traits import Together, Traits, WritesTogether, embedding_rows, text_config
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example
from prunekit.tasks.decoding import Decoding

Position = Literal["first", "suffix", "after-cls", "prefix-kv"]
Ranking = Literal["sum", "mean"]

# rows of the embedding table that stand for nothing: BERT's [unused5], T5's <extra_id_3>, Gemma's <unused7>
_UNUSED = re.compile(r"\[unused\d+\]|<extra_id_\d+>|<unused\d+>")

# What a pass costs beside its arithmetic, as tokens of a model of width H: its weights are read, however few rows there
# are, and layers are started, which small ones feel most. Measured on two cores: 48 on SmolLM2 (H = 576).
_READING, _STARTING = 32, 5_000_000

# rows of the embedding table that are squared at once
_ROWS_AT_ONCE = 8192

# these count positions over what is attended to, by themselves; a hidden token takes none
COUNTS_ATTENDED = {"opt"}


@dataclass(frozen=True)
class Predictions:
    """What a cohort answered to a batch.

    Attributes:
        losses: [S, B], mean negative log-likelihood of the gold choice; NaN where none is known.
        logits: [S, B, C], the score by which choices are ranked; -inf for choices an example does not have.
        logprobs: [S, B, C, L], the log-probability of every token of the choices; None where a head answers.
    """

    losses: Tensor
    logits: Tensor
    logprobs: Tensor | None = None


class FrozenModel:
    """A frozen model and its tokenizer. Its weights never get a gradient and are never changed.

    Attributes:
        position: where the prompt goes: "first" (before every token), "suffix" (between a decoder's text and answer),
            "after-cls" (behind an encoder's first token) or "prefix-kv" (before a decoder's text in every layer).
        ranking: choices are ranked by the sum of their tokens' log-probabilities, or by the mean.
        max_input_tokens: longer inputs lose the end of their longest field.
        reader: its tokenizer as it reads texts and answers.
        traits: how the model is given its rows; `trial.find_traits` finds out.
        tried_tokens: tokens of the longest text tried.
        writes_together: which rows it may write behind at once, once `prunekit.models.generation` has tried.
        commit: of the Hub's repository that it was read from; None of a folder, or of a model that was loaded before.
    """

    positions: tuple[Position, ...] = ("first",)
    #: Which rows may share a forward pass, from the most to the least, as far as the family can keep them apart.
    sharing: tuple[Together, ...] = get_args(Together)
    answers_by_head = False
    closes_texts = True
    traits = Traits()
    tried_tokens = 0
    writes_together: WritesTogether | None = None
    commit: str | None = None

    def __init__(
        self, model: Any, tokenizer: Any, *, position: Position, ranking: Ranking = "sum", max_input_tokens: int = 256
    ) -> None:
        if position not in self.positions:
            raise ConfigError(
                f"position = {position!r} does not fit this model; use one of {', '.join(self.positions)}"
            )
        self.model: nn.Module = model
        self.tokenizer = tokenizer
        self.reader = TextReader(tokenizer, closes=self.closes_texts)
        self.position, self.ranking, self.max_input_tokens = position, ranking, max_input_tokens
        self.model.requires_grad_(False)
        self.model.eval()

    # ---- what each family defines

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """How this family lays out one example, for all its choices or for the gold one alone."""
        raise NotImplementedError

    @property
    def start_id(self) -> int:
        """The id that every answer begins behind, where a decoder of its own writes it."""
        raise NotImplementedError

    def answer_place(self, own_choices: bool) -> AnswerPlace:
        """Where the tokens of an answer stand for this family: behind the text, apart from it, or nowhere (a head)."""
        raise NotImplementedError

    def _forward(self, prompts: PromptBatch, batch: Batch) -> Predictions:
        raise NotImplementedError

    def caching_states(self) -> AbstractContextManager[None]:
        """While no prompt changes, states that depend on prompts and texts alone may be kept; nothing here."""
        return nullcontext()

    def reading_whole_rows(self) -> AbstractContextManager[None]:
        """While texts are read once, or by other weights, nothing of them is kept; here nothing is in any case."""
        return nullcontext()

    def traits_changed(self) -> None:
        """Called each time the traits have been found."""

    def generation_rows(self, prompts: PromptBatch, batch: Batch, decoding: Decoding) -> dict[str, Any]:
        """What `generate` takes of the N = S * B rows of members and texts, behind which the model is to write."""
        raise NotImplementedError

    def tokens_read(self, example: Encoded, prompt_tokens: int) -> int:
        """Tokens of a training row that go through the layers, beside a prompt of P = `prompt_tokens`."""
        return example.length + prompt_tokens

    def tokens_spared(self, rows: int, prompt_tokens: int) -> int:
        """By how many tokens a pass is cheaper for a member than its `rows` rows with a prompt of P in each."""
        return 0

    # ---- what every family does

    def forward(self, prompts: PromptBatch, batch: Batch) -> Predictions:
        """Losses and choice scores of every member on every example.

        Raises:
            ConfigError: where prompt tokens are hidden and the model ignores the attention mask.
        """
        if prompts.has_hidden and not self.can_hide:
            kind = type(self.model).__name__
            raise ConfigError(
                f"{kind} reads prompt tokens that the attention mask hides; use --dropped-as remove or zero"
            )
        return self._forward_rows(prompts, batch.to(self.device))

    def _forward_rows(self, prompts: PromptBatch, batch: Batch) -> Predictions:
        if self.traits.together != "alone" or prompts.members * batch.size == 1:
            return self._forward(prompts, batch)
        members = []
        for member in range(prompts.members):
            outputs = [self._forward(*_row_alone(prompts, batch, member, example)) for example in range(batch.size)]
            members.append(_joined(outputs, dim=1))
        return _joined(members, dim=0)

    @cached_property
    def can_hide(self) -> bool:
        """Whether the values of a hidden prompt token change no answer, by trying."""
        values = self.embed(torch.tensor([[0, 1, 0], [0, 2, 0]]))
        present = torch.tensor([[True, False, True]] * 2, device=values.device)
        head = None
        if self.answers_by_head:
            weight = torch.randn(2, self.hidden_width, generator=torch.Generator().manual_seed(0))
            head = Head(weight.to(values.device).expand(2, -1, -1), torch.zeros(2, 2, device=values.device))
        prompts = PromptBatch(values, present, torch.ones_like(present), present.long(), None, head)
        example = Encoded(0, (3, 4, 5), ((6,), (7,)), 0)
        with torch.no_grad():
            logits = self._forward_rows(prompts, self.batch([[example]], every_choice=True).to(self.device)).logits
        return bool((logits[0] - logits[1]).abs().max() <= 1e-6 * logits.abs().max())

    def losses(self, prompts: PromptBatch, batch: Batch) -> Tensor:
        """[S, B] per-example losses."""
        return self.forward(prompts, batch).losses

    def logits(self, prompts: PromptBatch, batch: Batch) -> Tensor:
        """[S, B, C] choice scores; -inf where an example has fewer choices."""
        return self.forward(prompts, batch).logits

    def encode(self, examples: Iterable[Example], *, own_choices: bool, prompt_tokens: int) -> list[Encoded]:
        """Token ids of examples.

        Args:
            examples: of one task.
            own_choices: whether answers differ per example.
            prompt_tokens: P, which must fit beside text and answer; a text over the limit is shortened field by field.

        Raises:
            ConfigError: where the task's answers cannot be read, told apart or ever chosen.
            DataError: where a row, or a row's own answers, cannot be read.
        """
        return encode(self.reader, examples, self.encoding_options(own_choices, prompt_tokens))

    def encoding_options(self, own_choices: bool, prompt_tokens: int = 0) -> EncodingOptions:
        """How texts and answers of a task are encoded next to a prompt of P = `prompt_tokens`."""
        return EncodingOptions(
            self.answer_place(own_choices),
            own_choices,
            by_sum=self.ranking == "sum" and not self.answers_by_head,
            text_tokens=self.max_input_tokens,
            row_tokens=self.most_positions - prompt_tokens,
            rows=self.embedding_rows,
            end=self.end_id,
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

    def no_prompt(self, head: Head | None = None) -> PromptBatch:
        """A member without any prompt token.

        Args:
            head: its own, where the model answers by one.
        """
        values = torch.zeros(1, 0, self.width, device=self.device)
        nothing = torch.zeros(1, 0, dtype=torch.bool, device=self.device)
        return PromptBatch(values, nothing, nothing, nothing.long(), None, head)

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

    def prompt_vectors(self, ids: Tensor) -> Tensor:
        """[P] token ids -> [P, H], the prompt that says to the model what these ids would."""
        return self.embed(ids)

    @property
    def text_module(self) -> Any:
        """The part of the model that reads prompt and text: all of it but what stands on top."""
        module: Any = self.model
        return module.base_model

    @property
    def width(self) -> int:
        """H, the width of a prompt vector."""
        return int(self.embed(torch.zeros(1, dtype=torch.long)).shape[-1])

    @cached_property
    def hidden_width(self) -> int:
        """Width of the last hidden state, which a head reads."""
        return int(self.text_config.hidden_size)

    @property
    def embedding_rms(self) -> float:
        """Root mean square of the embedding table's entries, the unit of `learning_rate = "auto"`."""
        blocks = torch.arange(self.embedding_rows).split(_ROWS_AT_ONCE)  # the whole table in float32 may not fit
        total = sum(float(self.embed(ids).float().pow(2).sum(dtype=torch.float64)) for ids in blocks)
        return math.sqrt(total / (self.embedding_rows * self.width))

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

    @property
    def pass_tokens(self) -> int:
        """What a pass costs each member beside its arithmetic, as tokens: its prompt and head are stacked anew."""
        return _READING + _STARTING // self.hidden_width**2

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
        device = getattr(hook, "execution_device", None)
        return next(self.model.parameters()).device if device is None else torch.device(device)

    @property
    def spread(self) -> bool:
        """Whether the layers lie on several devices, in main memory or on disk, and come when they are used."""
        return hasattr(self.model, "_hf_hook")

    @property
    def pad(self) -> int:
        """The id that fills up rows; never attended to, so any will do where the tokenizer's is none of the model's."""
        pad = getattr(self.tokenizer, "pad_token_id", None)
        return 0 if pad is None or not 0 <= int(pad) < self.embedding_rows else int(pad)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """The ids that end what the model writes; none where neither its configuration nor its tokenizer names one."""
        config = getattr(self.model, "generation_config", None)
        ids = [getattr(source, "eos_token_id", None) for source in (config, self.text_config, self.tokenizer)]
        ends = next((end for end in ids if end not in (None, [])), ())
        return tuple(map(int, ends)) if isinstance(ends, list | tuple) else (int(ends),)

    @property
    def end_id(self) -> int | None:
        """The id that a target ends with: the tokenizer's own end where the model knows it as one."""
        end = getattr(self.tokenizer, "eos_token_id", None)
        return end if end in self.end_ids else next(iter(self.end_ids), None)

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

    def _beside(self, prompts: PromptBatch, batch: Batch) -> PromptAndInput:
        """Prompt and text of every row, with the layers' own embeddings behind each vector where there are such."""
        parts = prompt_and_input(prompts, batch, self.embed(batch.ids), self._texts(batch))
        if not self.traits.per_layer:
            return parts
        texts = self.layer_inputs(batch.ids).flatten(-2).expand(*parts.embedded.shape[:-1], -1)
        filler = self.layer_inputs(batch.ids.new_full((1,), self.filler_id)).flatten(-2)
        prompt = filler.expand(*parts.values.shape[:-1], -1)
        return replace(
            parts, embedded=torch.cat([parts.embedded, texts], -1), values=torch.cat([parts.values, prompt], -1)
        )

    def _texts(self, batch: Batch) -> Tensor:
        """Bool[M, B, R, T], which tokens of the rows are of their texts, and of no answer."""
        return batch.mask

    def _position(self, prompts: PromptBatch, batch: Batch) -> InputRows:
        """Prompt vectors put before (or, after-cls, behind the first of) the input embeddings of every row."""
        return insert_prompt(self._beside(prompts, batch), split=1 if self.position == "after-cls" else 0)

    def _read_rows(self, rows: InputRows, read: Callable[..., Any]) -> Tensor:
        """[N, T, D], what `read` makes of rows, in several passes where rows may not share one.

        Args:
            read: (inputs_embeds, attention_mask, ...) -> [N, T, D].
        """

        def read_all(rows: InputRows) -> Tensor:
            outputs: Tensor = read(**self._arguments(rows))
            return outputs

        return read_all(rows) if self.traits.together == "batch" else read_grouped(rows, self.traits.together, read_all)

    def _arguments(self, rows: InputRows) -> dict[str, Tensor]:
        """Rows as a model takes them."""
        arguments = {"inputs_embeds": rows.embeds, "attention_mask": rows.attention}
        if self.traits.first_position is not None:
            arguments["position_ids"] = rows.positions + self.traits.first_position
        if self.traits.per_layer:
            embeds, layers = rows.embeds.split([self.width, rows.embeds.shape[-1] - self.width], dim=-1)
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
        names = ["max_encoder_position_embeddings", "max_position_embeddings", "n_positions", "max_seq_len"]
        if hasattr(self.text_config, "relative_attention_num_buckets"):
            names.remove("n_positions")  # T5's files name what it was pretrained on, which is no limit
        limits = [getattr(self.text_config, name, None) for name in names]
        limit = next((int(limit) for limit in limits if isinstance(limit, int) and limit > 0), None)
        return 10**9 if limit is None else limit - (self.traits.first_position or 0)


def predict_from_words(logprobs: Tensor, batch: Batch, ranking: Ranking) -> Predictions:
    """Losses and choice scores from [S, B, C, L] log-probabilities of the answers' tokens."""
    real = batch.target_mask.to(logprobs.dtype)
    total = (logprobs * real).sum(-1)  # [S, B, C]
    mean = total / real.sum(-1).clamp(min=1)
    gold = batch.gold.clamp(min=0).expand(mean.shape[:2])[..., None]
    losses = -mean.gather(2, gold).squeeze(2)
    losses = losses.masked_fill(batch.gold < 0, float("nan"))
    ranked = total if ranking == "sum" else mean
    return Predictions(losses, ranked.masked_fill(~batch.choice_mask, float("-inf")), logprobs)


def predict_from_head(states: Tensor, head: Head, batch: Batch) -> Predictions:
    """Losses and choice scores from [S, B, R, H] states: a row of the head per choice, or one scalar per row."""
    states = states.to(head.weight.dtype)
    # a linear layer per member, as a classification model has it, so that a single row's scores are its, bit for bit
    members = zip(states, head.weight, head.bias, strict=True)
    scores = torch.stack([F.linear(rows.flatten(0, 1), *layer).view(*rows.shape[:2], -1) for rows, *layer in members])
    logits = scores.squeeze(-1) if scores.shape[-1] == 1 else scores.squeeze(2)  # [S, B, C]
    logits = logits.masked_fill(~batch.choice_mask, float("-inf"))
    gold = batch.gold.clamp(min=0).expand(logits.shape[:2])[..., None]
    losses = -logits.log_softmax(-1).gather(2, gold).squeeze(2)
    return Predictions(losses.masked_fill(batch.gold < 0, float("nan")), logits)


def _joined(parts: Sequence[Predictions], dim: int) -> Predictions:
    """What was answered in parts, as one."""
    names = [field.name for field in fields(Predictions) if getattr(parts[0], field.name) is not None]
    return Predictions(**{name: torch.cat([getattr(part, name) for part in parts], dim=dim) for name in names})


def _row_alone(prompts: PromptBatch, batch: Batch, member: int, row: int) -> tuple[PromptBatch, Batch]:
    """One member's prompt and one of its examples, all padding cut off."""
    batch_row = member if batch.ids.shape[0] > 1 else 0
    parts: dict[str, Any] = {
        name: part[batch_row : batch_row + 1, row : row + 1] for name, part in batch.tensors.items()
    }
    length = int(parts["mask"].sum(-1).max())
    parts |= {name: parts[name][..., :length] for name in ("ids", "mask")}
    alone = prompts.member(member)
    if alone.values.dim() == 4:
        gates = None if alone.gates is None else alone.gates[:, row : row + 1]
        alone = replace(alone, values=alone.values[:, row : row + 1], gates=gates)
    return alone, replace(batch, groups=((batch.groups[batch_row][row],),), **parts)
