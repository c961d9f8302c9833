"""Decoder-only models (GPT-2, Llama, OPT, NeoX kinds): prompt, text and answer form one row, or one behind a cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache

from prunekit.models import shared_prompt, suffix
from prunekit.models.base import FrozenModel, Position, Predictions, Ranking, predict_from_words
from prunekit.models.batch import Batch, Encoded, Ids, Row
from prunekit.models.cache_argument import cache_argument
from prunekit.models.encoding import AnswerPlace
from prunekit.models.generation import tolerance, writes_as_it_scores
from prunekit.models.input_rows import InputRows, insert_before_answer, left_aligned
from prunekit.models.prompt_batch import PromptBatch
from prunekit.models.shared_prompt import RowsBehindPrompts
from prunekit.models.text_cache import Text, TextCache
from prunekit.models.text_groups import TextKey, grouped, whole_groups
from prunekit.models.traits import windows
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example
from prunekit.tasks.decoding import Decoding

# texts that a GPU reads at once, whichever are asked for. A CPU reads whole groups, which the data alone cut, so that a
# resumed run, which meets texts in another order, ends in the same bytes.
_READ_AT_ONCE = 16


class Decoder(FrozenModel):
    """A causal language model. First: prompt, text, answer. Suffix: text, prompt, answer.

    An answer's score is its log-probability right after what is attended to before it. As a suffix the prompt changes
    nothing of what the model makes of a text, which is computed once and kept in `texts`, if the model allows it
    (`caches_texts`) and neither dropout nor the method touches the text. Before the text it is read once for all texts
    of a pass, on a CPU, if the model allows it (`shares_prompts`). Else whole rows go through the model.

    Attributes:
        text_cache_mb: memory that the keys and values of texts may take, in MiB; what is beyond it goes to files.
    """

    positions: tuple[Position, ...] = ("first", "suffix")
    closes_texts = False

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        position: Position,
        ranking: Ranking = "sum",
        max_input_tokens: int = 256,
        text_cache_mb: int = 2048,
    ) -> None:
        super().__init__(model, tokenizer, position=position, ranking=ranking, max_input_tokens=max_input_tokens)
        self._plain_output = self._output_is_plain()
        self.texts = TextCache(text_cache_mb * 2**20)
        self.caches_texts = self.shares_prompts = False

    def traits_changed(self) -> None:
        """Try what may be read once and kept, now that it is known how the model takes its rows."""
        texts, self.texts = self.texts, TextCache(2**30)  # for trying alone
        self.caches_texts = self.position == "suffix" and not self.spread and self._cache_is_exact()
        self.texts = TextCache(texts.memory_bytes)
        self.shares_prompts = self.position == "first" and not self.spread and self._sharing_is_exact()

    def forget_texts(self) -> None:
        """Read every text anew from here on."""
        self.texts = TextCache(self.texts.memory_bytes)

    @contextmanager
    def reading_whole_rows(self) -> Iterator[None]:
        """Whole rows go through the model, and nothing is looked up or kept."""
        before = self.caches_texts, self.shares_prompts
        self.caches_texts = self.shares_prompts = False
        try:
            yield
        finally:
            self.caches_texts, self.shares_prompts = before

    def answer_place(self, own_choices: bool) -> AnswerPlace:
        """Behind the text, as the tokenizer reads the two together."""
        return "behind"

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """One row per choice; a single row where every choice is one token, since all are read at the same place."""
        targets = example.choices if every_choice else (example.choices[example.gold],)
        gold, right = (example.gold, example.right) if every_choice else (0, ())
        inputs = [example.text] if _one_token(targets) else [example.text + target[:-1] for target in targets]
        return Row(inputs, targets, [len(example.text) - 1] * len(inputs), gold, example.index, example.group, right)

    def encode(self, examples: Iterable[Example], *, own_choices: bool, prompt_tokens: int) -> list[Encoded]:
        """Token ids of examples; as a suffix, with the texts that each one is read with."""
        encoded = super().encode(examples, own_choices=own_choices, prompt_tokens=prompt_tokens)
        return grouped(encoded) if self.position == "suffix" else encoded

    def tokens_read(self, example: Encoded, prompt_tokens: int) -> int:
        """Behind cached texts the prompt and the answer alone."""
        return super().tokens_read(example, prompt_tokens) - (len(example.text) if self.caches_texts else 0)

    def tokens_spared(self, rows: int, prompt_tokens: int) -> int:
        """The prompt of all rows but one, less a pass of its own."""
        return max(0, (rows - 1) * prompt_tokens - self.pass_tokens) if self.shares_prompts else 0

    def forward(self, prompts: PromptBatch, batch: Batch) -> Predictions:
        """Losses and choice scores of every member on every example."""
        if not self._goes_behind(prompts, batch):
            return super().forward(prompts, batch)
        return self._forward_behind(prompts, batch.to(self.device), suffix.text_keys(batch))

    def _forward(self, prompts: PromptBatch, batch: Batch) -> Predictions:
        reads = batch.targets.shape[-1]
        if self._goes_behind_prompts(prompts, batch):
            return self._answers(batch, *self._behind_prompts(prompts, batch, reads), prompts.members)
        return self._answers(batch, *self._laid_out(prompts, batch, reads), prompts.members)

    def _answers(self, batch: Batch, placed: InputRows, slots: Tensor, members: int) -> Predictions:
        """What the outputs at `slots` of the rows say of the answers."""
        shape = (members, *batch.targets.shape[1:])
        targets = batch.targets.expand(shape)  # [S, B, C, L]
        logprobs = self._next_token(placed, slots).log_softmax(-1)  # [S * B * R, L, V]
        logprobs = logprobs.unflatten(0, (shape[0], shape[1], -1)).expand(*shape[:3], shape[3], -1)
        return predict_from_words(logprobs.gather(4, targets[..., None]).squeeze(4), batch, self.ranking)

    def _laid_out(self, prompts: PromptBatch, batch: Batch, reads: int) -> tuple[InputRows, Tensor]:
        """The rows of members and examples, and the slots [S * B * R, L] whose outputs predict an answer of `reads`."""
        start = batch.start.expand(prompts.members, *batch.start.shape[1:])
        if self.position == "suffix":
            return insert_before_answer(self._beside(prompts, batch), start, reads)
        placed = self._position(prompts, batch)
        slots = start[..., None] + prompts.values.shape[-2] + torch.arange(reads, device=start.device)
        return placed, slots.clamp(max=placed.embeds.shape[1] - 1).flatten(0, 2)

    def _next_token(self, placed: InputRows, slots: Tensor) -> Tensor:
        """[N, L, V] output logits at the slots [N, L] of each row; only those rows meet the output matrix."""
        module: Any = self.model
        if self._plain_output:
            hidden = self._read_rows(placed, lambda **rows: module.base_model(**rows).last_hidden_state)
            logits = module.get_output_embeddings()(_rows(hidden, slots))
        else:
            logits = _rows(self._read_rows(placed, lambda **rows: module(**rows).logits), slots)
        return _precise(logits)

    def _arguments(self, rows: InputRows) -> dict[str, Any]:
        """Rows as the model takes them: without a cache, or behind the one that their prompts left."""
        arguments: dict[str, Any] = super()._arguments(rows)
        if not isinstance(rows, RowsBehindPrompts):
            return arguments | self._uncached
        arguments["attention_mask"] = torch.cat([rows.before.long(), rows.attention], dim=-1)
        return arguments | cache_argument(self.model, rows.cache) | {"use_cache": True}

    def generation_rows(self, prompts: PromptBatch, batch: Batch, decoding: Decoding) -> dict[str, Any]:
        """Rows of embeddings, padded before them; behind cached texts where that is possible."""
        if self.position == "suffix" and bool((prompts.placed & ~prompts.present)[:, -1:].any()):
            raise ConfigError("nothing can be written behind a hidden token; use --dropped-as remove or zero")
        everyone = bool(prompts.present.any(dim=1).all())  # without a slot of its own a row would have nothing to read
        behind = everyone and decoding.beams == 1 and self._goes_behind(prompts, batch, decoding.max_tokens)
        if behind and self._writes_behind:
            return self._rows_behind(prompts, batch)
        return self._as_arguments(left_aligned(self._laid_out(prompts, batch, 1)[0]))

    def _as_arguments(self, rows: InputRows) -> dict[str, Any]:
        """Rows as `generate` takes them; positions where it takes them, and where it would count otherwise itself."""
        arguments: dict[str, Any] = {"inputs_embeds": rows.embeds, "attention_mask": rows.attention}
        if self.traits.first_position is None:
            return arguments
        if hasattr(self.model, "_prepare_position_ids_for_generation"):
            return arguments | {"position_ids": rows.positions + self.traits.first_position}
        if not torch.equal(rows.attention.bool(), rows.counted):
            raise ConfigError("to write behind hidden tokens (--dropped-as hide) takes transformers 5.2 or newer")
        return arguments

    def _texts(self, batch: Batch) -> Tensor:
        """A method moves no token of an answer, as it moves none that is written."""
        return batch.mask & (torch.arange(batch.ids.shape[-1], device=batch.mask.device) <= batch.start[..., None])

    # ---- behind prompts that are read once

    def _goes_behind_prompts(self, prompts: PromptBatch, batch: Batch) -> bool:
        """Whether the texts of this batch are read behind their prompts: where that is exact, and cheaper."""
        one_each = prompts.values.dim() == 3  # and not a copy for each example, as scores take them
        rows = batch.ids.shape[1] * batch.ids.shape[2]
        return one_each and not self.model.training and self.tokens_spared(rows, prompts.present.shape[1]) > 0

    def _behind_prompts(self, prompts: PromptBatch, batch: Batch, reads: int) -> tuple[RowsBehindPrompts, Tensor]:
        """The texts behind their prompts, and the slots [N, L] whose outputs predict an answer of `reads`."""
        parts = self._beside(prompts, batch)
        module: Any = self.model
        arguments = super()._arguments(shared_prompt.prompt_rows(prompts, parts.embedded))
        cache = shared_prompt.empty_cache()
        module.base_model(**arguments, use_cache=True, **cache_argument(self.model, cache))
        return shared_prompt.rows_behind(prompts, parts, cache), self._slots_of_texts(prompts, batch, reads)

    def _slots_of_texts(self, prompts: PromptBatch, batch: Batch, reads: int) -> Tensor:
        """[N, L], which outputs predict an answer of `reads` in rows that hold texts and answers alone."""
        start = batch.start.expand(prompts.members, *batch.start.shape[1:])
        slots = start[..., None] + torch.arange(reads, device=start.device)
        return slots.clamp(max=batch.ids.shape[-1] - 1).flatten(0, 2)

    def _sharing_is_exact(self) -> bool:
        """Whether answers behind prompts that are read once, and their gradients, are those of whole rows, by trying.

        On a CPU alone: elsewhere a second pass costs launches, and no gain has been measured.
        """
        if self.device.type != "cpu" or self.traits.together != "batch" or self.traits.per_layer:
            return False
        if not suffix.is_cacheable(self.text_config) or not cache_argument(self.model, DynamicCache()):
            return False
        with suppress(Exception):  # a model that cannot share may fail in as many ways as there are
            return self._shared_as_whole(*self._sharing_sample())
        return False

    def _shared_as_whole(self, prompts: PromptBatch, batch: Batch) -> bool:
        """Whether scores and gradients of a sample are the same in both ways."""
        prompts.values.requires_grad_()
        with torch.enable_grad():
            whole, behind = (
                _with_gradient(self._answers(batch, *laid_out(prompts, batch, 2), prompts.members), prompts.values)
                for laid_out in (self._laid_out, self._behind_prompts)
            )
        bar = tolerance(next(self.model.parameters()).dtype)
        return all(
            bool((part - expected).abs().max() <= bar * expected.abs().max())
            for part, expected in zip(behind, whole, strict=True)
        )

    def _sharing_sample(self) -> tuple[PromptBatch, Batch]:
        """A prompt, and one with padding and a hidden token, before a text as long as was tried and a short one."""
        ids = [index % self.embedding_rows for index in range(16)]
        long = tuple(ids[index % 16] for index in range(max(7, self.tried_tokens)))
        examples = [Encoded(0, long, (tuple(ids[7:9]),), 0), Encoded(1, tuple(ids[11:13]), (tuple(ids[8:10]),), 0)]
        batch = self.batch([examples], every_choice=False).to(self.device)
        values = self.embed(torch.tensor(ids[12:])).float().expand(2, -1, -1).clone()
        placed = torch.tensor([[True] * 4, [False, True, True, True]], device=self.device)
        present = placed & torch.tensor([[True] * 4, [True, True, False, True]], device=self.device)
        return PromptBatch(values, present, placed, placed.long()), batch

    # ---- behind cached texts

    @cached_property
    def _writes_behind(self) -> bool:
        """Whether `generate` goes on behind cached texts as behind whole rows, by trying."""
        if not self.caches_texts:
            return False
        self.__dict__["_writes_behind"] = True  # for trying alone
        texts, self.texts = self.texts, TextCache(2**30)
        try:
            return writes_as_it_scores(self, "batch")
        finally:
            self.texts = texts

    def _rows_behind(self, prompts: PromptBatch, batch: Batch) -> dict[str, Any]:
        """Prompts behind cached texts, whose own places hold no embeddings, since nothing reads them again."""
        texts = self.texts.take(suffix.text_keys(batch), self._read)
        rows = suffix.rows_to_write_behind(prompts, batch, texts)
        cache = suffix.growing_cache(texts, prompts.members, self.device)
        return self._as_arguments(rows) | cache_argument(self.model, cache)

    def _goes_behind(self, prompts: PromptBatch, batch: Batch, more_tokens: int = 0) -> bool:
        """Whether this batch, and so many tokens that are written, can be read behind cached texts."""
        return (
            self.caches_texts
            and prompts.embed_input is None
            and not self.model.training  # dropout draws another text each time
            and batch.ids.shape[-1] + prompts.present.shape[1] + more_tokens <= min(windows(self.config), default=10**9)
            and bool((batch.start >= 0).all())  # of an empty text nothing can be kept
            and (self._plain_output or bool(prompts.present.any(dim=1).all()))  # else the text's own output is needed
        )

    def _forward_behind(self, prompts: PromptBatch, batch: Batch, texts: Sequence[TextKey]) -> Predictions:
        """As `_forward`, from the prompt on; texts: the M * B texts."""
        cached_texts = self.texts.take(texts, self._read)
        counted = prompts.present if self.counts_attended else prompts.placed
        rows = suffix.suffix_rows(prompts, batch, [len(key.text) for key in texts], self.embed, counted)
        logprobs = self._next_token_behind(rows, cached_texts, batch.size).log_softmax(-1)  # [N, 1 + C * A, V]
        logprobs = logprobs.unflatten(0, (prompts.members, batch.size))
        targets = batch.targets.expand(prompts.members, *batch.targets.shape[1:])  # [S, B, C, L]
        choices, longest = targets.shape[2:]
        first = logprobs[:, :, :1].expand(-1, -1, choices, -1).gather(3, targets[..., :1])
        later = logprobs[:, :, 1:].unflatten(2, (choices, longest - 1))
        later = later.gather(4, targets[..., 1:, None]).squeeze(4)
        return predict_from_words(torch.cat([first, later], dim=-1), batch, self.ranking)

    def _next_token_behind(self, rows: suffix.SuffixRows, texts: Sequence[Text], size: int) -> Tensor:
        """[N, 1 + C * A, V] output logits at `rows.slots`."""
        module: Any = self.model
        arguments = dict(
            inputs_embeds=rows.embeds,
            attention_mask=rows.mask,
            position_ids=rows.positions + (self.traits.first_position or 0),
            use_cache=True,
            **cache_argument(self.model, suffix.cache_of(texts, size)),
        )
        if not self._plain_output:
            return _precise(_rows(module(**arguments).logits, rows.slots - 1))
        states = torch.stack([text.state.to(self.device) for text in texts]).unflatten(0, (-1, size))
        states = states.expand(len(rows.slots) // size, -1, -1).flatten(0, 1)[:, None]
        if rows.embeds.shape[1]:
            states = torch.cat([states, module.base_model(**arguments).last_hidden_state], dim=1)
        return _precise(module.get_output_embeddings()(_rows(states, rows.slots)))

    def _read(self, missing: Sequence[TextKey]) -> Iterator[tuple[TextKey, Text]]:
        """Keys, values and last state of texts that stand alone, and on a CPU of all that they are read with."""
        if self.traits.together in ("lengths", "alone"):
            passes: Iterable[Sequence[TextKey]] = ([key] for key in missing)
        elif self.device.type == "cpu":
            passes = whole_groups(missing)
        else:
            passes = (missing[start : start + _READ_AT_ONCE] for start in range(0, len(missing), _READ_AT_ONCE))
        for keys in passes:
            yield from zip(keys, self._read_together([key.text for key in keys]), strict=True)

    @torch.no_grad()
    def _read_together(self, texts: Sequence[Ids]) -> list[Text]:
        """Texts in one pass, padded behind."""
        module: Any = self.model
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[self.pad] * (longest - len(text))] for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
        cache = DynamicCache()
        outputs = module.base_model(
            inputs_embeds=self.embed(ids),
            attention_mask=mask.to(self.device),
            use_cache=True,
            **cache_argument(self.model, cache),
        )
        return suffix.texts_from(cache, outputs.last_hidden_state, [len(text) for text in texts])

    def _cache_is_exact(self) -> bool:
        """Whether answers behind cached texts are those of whole rows, by trying."""
        if not self.accepts("position_ids") or self.traits.per_layer or not suffix.is_cacheable(self.text_config):
            return False
        cache = DynamicCache()
        if not cache_argument(self.model, cache):
            return False
        ids = tuple(index % self.embedding_rows for index in range(16))
        choices = (ids[7:8], ids[8:11])
        batch = self.batch([[Encoded(0, ids[:7], choices, 0), Encoded(1, ids[11:13], choices, 1)]], every_choice=True)
        vectors, present = self.embed(torch.tensor(ids[13:])), torch.tensor([[True] * 3, [False, True, True]])
        present = present.to(self.device)
        prompts = PromptBatch(vectors.expand(2, -1, -1), present, present, present.long())  # the second one is padded
        with torch.no_grad():
            cast(Any, self.model).base_model(
                inputs_embeds=vectors[None], use_cache=True, **cache_argument(self.model, cache)
            )
            if not suffix.is_uniform(cache):
                return False
            whole = self._forward(prompts, batch.to(self.device)).logits
            behind = self._forward_behind(prompts, batch.to(self.device), suffix.text_keys(batch)).logits
        return bool((whole - behind).abs().max() <= tolerance(vectors.dtype) * whole.abs().max())

    @cached_property
    def _uncached(self) -> dict[str, bool]:
        """The argument that turns off the key-value cache, where there is one; looked up once, not at each update."""
        return {"use_cache": False} if self.accepts("use_cache") else {}

    def _output_is_plain(self) -> bool:
        """Whether logits are just output matrix x last hidden state (some models scale or cap them), by trying."""
        if self.spread:  # its parts lie on different devices; the whole brings them together
            return False
        ids = torch.arange(4, device=self.device)[None] % self.embedding_rows
        module: Any = self.model
        output = module.get_output_embeddings()
        if not isinstance(getattr(output, "weight", None), Tensor) or module.base_model is module:
            return False
        no_cache = self._uncached
        with torch.no_grad():
            hidden = getattr(module.base_model(input_ids=ids, **no_cache), "last_hidden_state", None)
            if hidden is None or hidden.shape[-1] != output.weight.shape[-1]:
                return False
            return torch.equal(output(hidden), module(input_ids=ids, **no_cache).logits)


def _with_gradient(answers: Predictions, values: Tensor) -> tuple[Tensor, Tensor]:
    """Choice scores, and the gradient that their sum gives the prompts [S, P, H]."""
    (gradient,) = torch.autograd.grad(answers.logits.sum(), values)
    return answers.logits.detach(), gradient


def _one_token(targets: tuple[Ids, ...]) -> bool:
    return all(len(target) == 1 for target in targets)


def _precise(logits: Tensor) -> Tensor:
    """At least float32, as log-probabilities need it."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _rows(states: Tensor, slots: Tensor) -> Tensor:
    """[N, T, D], [N, L] -> [N, L, D]."""
    return states.gather(1, slots[..., None].expand(-1, -1, states.shape[-1]))
