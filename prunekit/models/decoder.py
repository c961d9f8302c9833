"""Decoder-only models (GPT-2, Llama, OPT, NeoX kinds): prompt, text and answer form one row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache

from prunekit.models import suffix
from prunekit.models.base import FrozenModel, Position, Predictions, Ranking, by_words
from prunekit.models.batch import Batch, Encoded, Ids, Row
from prunekit.models.encoding import Way
from prunekit.models.keeping import keeping
from prunekit.models.placing import Placed, behind_text
from prunekit.models.prompt_batch import PromptBatch
from prunekit.models.text_cache import Text, TextCache
from prunekit.models.traits import windows

# texts that are read at once on a GPU. A CPU reads them one by one: that costs it little, and what is kept of a text
# does then not depend on its neighbours, so that a resumed run, which meets texts in another order, ends in the same
# bytes.
_READ_AT_ONCE = 16
# by how much of the largest score answers behind a cached text may differ from those of whole rows when it is tried
_TRIED = {torch.float64: 1e-6, torch.float32: 1e-4}


class Decoder(FrozenModel):
    """A causal language model. First: prompt, text, answer. Suffix: text, prompt, answer.

    An answer's score is its log-probability right after what is attended to before it. As a suffix the prompt changes
    nothing of what the model makes of a text, which is computed once and kept in `texts`, if the model allows it
    (`caches_texts`) and neither dropout nor the method touches the text; else whole rows go through the model.

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
        self.caches_texts = False

    def settled(self) -> None:
        """See whether what was read of a text may be kept, now that it is known how the model reads."""
        kept, self.texts = self.texts, TextCache(2**30)  # for trying alone
        self.caches_texts = self.position == "suffix" and not self.spread and self._cache_is_exact()
        self.texts = TextCache(kept.memory_bytes)

    def answered(self, own_choices: bool) -> Way:
        """Behind the text, as the tokenizer reads the two together."""
        return "behind"

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """One row per choice; a single row where every choice is one token, since all are read at the same place."""
        targets = example.choices if every_choice else (example.choices[example.gold],)
        gold = example.gold if every_choice else 0
        inputs = [example.text] if _one_token(targets) else [example.text + target[:-1] for target in targets]
        return Row(inputs, targets, [len(example.text) - 1] * len(inputs), gold, example.index)

    def forward(self, soft: PromptBatch, batch: Batch) -> Predictions:
        """Losses and choice scores of every member on every example."""
        if not self._goes_behind(soft, batch):
            return super().forward(soft, batch)
        return self._judge_behind(soft, batch.to(self.device), suffix.text_ids(batch))

    def _forward(self, soft: PromptBatch, batch: Batch) -> Predictions:
        shape = (soft.members, *batch.targets.shape[1:])
        targets = batch.targets.expand(shape)  # [S, B, C, L]
        start = batch.start.expand(soft.members, *batch.start.shape[1:])
        if self.position == "suffix":
            placed, at = behind_text(self._beside(soft, batch), start, shape[-1])
        else:
            placed = self._position(soft, batch)
            at = start[..., None] + soft.values.shape[-2] + torch.arange(shape[-1], device=start.device)
            at = at.clamp(max=placed.embeds.shape[1] - 1).flatten(0, 2)  # [S * B * R, L]
        logprobs = self._next_token(placed, at).log_softmax(-1)  # [S * B * R, L, V]
        logprobs = logprobs.unflatten(0, (shape[0], shape[1], -1)).expand(*shape[:3], shape[3], -1)
        return by_words(logprobs.gather(4, targets[..., None]).squeeze(4), batch, self.ranking)

    def _next_token(self, placed: Placed, at: Tensor) -> Tensor:
        """[N, L, V] output logits at the row positions `at` [N, L]; only those rows meet the output matrix."""
        model: Any = self.model
        more = self._uncached
        if self._plain_output:
            hidden = self._read_rows(placed, lambda **rows: model.base_model(**rows, **more).last_hidden_state)
            logits = model.get_output_embeddings()(_rows(hidden, at))
        else:
            logits = _rows(self._read_rows(placed, lambda **rows: model(**rows, **more).logits), at)
        return _precise(logits)

    # ---- behind cached texts

    def _goes_behind(self, soft: PromptBatch, batch: Batch) -> bool:
        """Whether this batch can be read behind cached texts."""
        return (
            self.caches_texts
            and soft.embed_input is None
            and not self.model.training  # dropout draws another text each time
            and batch.ids.shape[-1] + soft.present.shape[1] <= min(windows(self.config), default=10**9)
            and bool((batch.start >= 0).all())  # of an empty text nothing can be kept
            and (self._plain_output or bool(soft.present.any(dim=1).all()))  # else the text's own output is asked for
        )

    def _judge_behind(self, soft: PromptBatch, batch: Batch, texts: Sequence[Ids]) -> Predictions:
        """As `_forward`, from the prompt on; texts: the ids of the M * B texts."""
        known = self.texts.take(texts, self._read)
        counted = soft.present if self.counts_attended else soft.placed
        rows = suffix.behind(soft, batch, [len(text) for text in texts], self.embed, counted)
        logprobs = self._next_token_behind(rows, known, batch.size).log_softmax(-1)  # [N, 1 + C * A, V]
        logprobs = logprobs.unflatten(0, (soft.members, batch.size))
        targets = batch.targets.expand(soft.members, *batch.targets.shape[1:])  # [S, B, C, L]
        choices, longest = targets.shape[2:]
        first = logprobs[:, :, :1].expand(-1, -1, choices, -1).gather(3, targets[..., :1])
        rest = logprobs[:, :, 1:].unflatten(2, (choices, longest - 1))
        rest = rest.gather(4, targets[..., 1:, None]).squeeze(4)
        return by_words(torch.cat([first, rest], dim=-1), batch, self.ranking)

    def _next_token_behind(self, rows: suffix.Behind, texts: Sequence[Text], size: int) -> Tensor:
        """[N, 1 + C * A, V] output logits at `rows.at`."""
        model: Any = self.model
        arguments = dict(
            inputs_embeds=rows.embeds,
            attention_mask=rows.mask,
            position_ids=rows.positions + (self.traits.first_position or 0),
            use_cache=True,
            **keeping(self.model, suffix.cached(texts, size)),
        )
        if not self._plain_output:
            return _precise(_rows(model(**arguments).logits, rows.at - 1))
        own = torch.stack([text.state.to(self.device) for text in texts]).unflatten(0, (-1, size))
        own = own.expand(len(rows.at) // size, -1, -1).flatten(0, 1)[:, None]
        if rows.embeds.shape[1]:
            own = torch.cat([own, model.base_model(**arguments).last_hidden_state], dim=1)
        return _precise(model.get_output_embeddings()(_rows(own, rows.at)))

    @torch.no_grad()
    def _read(self, texts: Sequence[Ids]) -> Iterator[Text]:
        """What the model makes of texts that stand alone."""
        model: Any = self.model
        alone = self.device.type == "cpu" or self.traits.together in ("lengths", "alone")
        step = 1 if alone else _READ_AT_ONCE
        for start in range(0, len(texts), step):
            some = texts[start : start + step]
            longest = max(map(len, some))
            ids = torch.tensor([[*text, *[self.pad] * (longest - len(text))] for text in some])
            mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in some])
            cache = DynamicCache()
            read = model.base_model(
                inputs_embeds=self.embed(ids),
                attention_mask=mask.to(self.device),
                use_cache=True,
                **keeping(self.model, cache),
            )
            yield from suffix.texts_of(cache, read.last_hidden_state, [len(text) for text in some])

    def _cache_is_exact(self) -> bool:
        """Whether answers behind cached texts are those of whole rows, by trying."""
        if not self.accepts("position_ids") or self.traits.per_layer or not suffix.is_cacheable(self.text_config):
            return False
        cache = DynamicCache()
        if not keeping(self.model, cache):
            return False
        ids = tuple(position % self.embedding_rows for position in range(16))
        choices = (ids[7:8], ids[8:11])
        batch = self.batch([[Encoded(0, ids[:7], choices, 0), Encoded(1, ids[11:13], choices, 1)]], every_choice=True)
        vectors, there = self.embed(torch.tensor(ids[13:])), torch.tensor([[True] * 3, [False, True, True]])
        there = there.to(self.device)
        soft = PromptBatch(vectors.expand(2, -1, -1), there, there, there.long())  # the second member is padded
        with torch.no_grad():
            cast(Any, self.model).base_model(inputs_embeds=vectors[None], use_cache=True, **keeping(self.model, cache))
            if not suffix.is_uniform(cache):
                return False
            whole = self._forward(soft, batch.to(self.device)).logits
            behind = self._judge_behind(soft, batch.to(self.device), suffix.text_ids(batch)).logits
        return bool((whole - behind).abs().max() <= _TRIED.get(vectors.dtype, 5e-2) * whole.abs().max())

    @cached_property
    def _uncached(self) -> dict[str, bool]:
        """The argument by which a model keeps no keys and values, where it has one; asked once, not at each update."""
        return {"use_cache": False} if self.accepts("use_cache") else {}

    def _output_is_plain(self) -> bool:
        """Whether logits are just output matrix x last hidden state (some models scale or cap them), by trying."""
        if self.spread:  # its parts lie on different devices; the whole brings them together
            return False
        ids = torch.arange(4, device=self.device)[None] % self.embedding_rows
        model: Any = self.model
        output = model.get_output_embeddings()
        if not isinstance(getattr(output, "weight", None), Tensor) or model.base_model is model:
            return False
        more = self._uncached
        with torch.no_grad():
            hidden = getattr(model.base_model(input_ids=ids, **more), "last_hidden_state", None)
            if hidden is None or hidden.shape[-1] != output.weight.shape[-1]:
                return False
            return torch.equal(output(hidden), model(input_ids=ids, **more).logits)


def _one_token(targets: tuple[Ids, ...]) -> bool:
    return all(len(target) == 1 for target in targets)


def _precise(logits: Tensor) -> Tensor:
    """At least float32, as log-probabilities need it."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _rows(states: Tensor, at: Tensor) -> Tensor:
    """[N, T, D], [N, L] -> [N, L, D]."""
    return states.gather(1, at[..., None].expand(-1, -1, states.shape[-1]))
