"""Encoder-decoder models (T5, BART): the prompt goes before the encoder's input, the decoder scores the answers."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from prunekit.models.base import FrozenModel, Predictions, predict_from_words
from prunekit.models.batch import Batch, Encoded, Row
from prunekit.models.cache_argument import cache_argument
from prunekit.models.encoding import AnswerPlace
from prunekit.models.prompt_batch import PromptBatch
from prunekit.support.errors import ConfigError
from prunekit.tasks.decoding import Decoding


class EncoderDecoder(FrozenModel):
    """A sequence-to-sequence model; the text is encoded once for all choices."""

    def accepts(self, argument: str) -> bool:
        """Whether the encoder's forward pass names an argument; it is the encoder that reads prompt and text."""
        return argument in inspect.signature(self.text_module.forward).parameters

    _output_kind: type[Any] = BaseModelOutput

    @property
    def text_module(self) -> Any:
        """The encoder."""
        module: Any = self.model
        return module.get_encoder()

    @property
    def start_id(self) -> int:
        """The id that every answer begins behind.

        Raises:
            ConfigError: where the model's configuration names none.
        """
        texts = self.text_config
        ids = [getattr(config, "decoder_start_token_id", None) for config in (self.config, texts)]
        start = next((start_id for start_id in ids if start_id is not None), getattr(texts, "bos_token_id", None))
        if start is None:
            raise ConfigError(
                "the model's config.json names no decoder_start_token_id, which every answer begins with; add it"
            )
        return int(start)

    @property
    def hidden_width(self) -> int:
        """Width of the decoder's last hidden state."""
        return int(getattr(self.config, "d_model", None) or self.text_config.hidden_size)

    def answer_place(self, own_choices: bool) -> AnswerPlace:
        """Apart from the text, with the closing token, as the model was trained to write."""
        return "apart"

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """One input row; the answers are the decoder's."""
        targets = example.choices if every_choice else (example.choices[example.gold],)
        gold, right = (example.gold, example.right) if every_choice else (0, ())
        return Row([example.text], targets, [0], gold, example.index, right=right)

    def _forward(self, prompts: PromptBatch, batch: Batch) -> Predictions:
        placed = self._position(prompts, batch)
        encoded = self._read_rows(placed, self._encode)
        targets = batch.targets.expand(prompts.members, *batch.targets.shape[1:])  # [S, B, C, L]
        answers = self._score_one if targets.shape[2] == 1 else self._score_several
        return predict_from_words(
            answers(encoded, placed.attention, targets.flatten(0, 1)).view(targets.shape), batch, self.ranking
        )

    def generation_rows(self, prompts: PromptBatch, batch: Batch, decoding: Decoding) -> dict[str, Any]:
        """What the encoder makes of prompts and texts."""
        placed = self._position(prompts, batch)
        encoded = self._read_rows(placed, self._encode)
        return {
            "encoder_outputs": self._output_kind(last_hidden_state=encoded),
            "attention_mask": placed.attention,
        }

    def _encode(self, **rows: Tensor) -> Tensor:
        """[N, T, H], what the encoder makes of rows."""
        output = self.text_module(**rows)
        self._output_kind = type(output)
        states: Tensor = output.last_hidden_state
        return states

    def _score_one(self, encoded: Tensor, attention: Tensor, targets: Tensor) -> Tensor:
        """[N, 1, L] log probabilities of the tokens of one answer to each of N texts."""
        flat = targets.flatten(0, 1)
        return _token_logprobs(self._decoded(encoded, attention, self._shifted(flat)).logits, flat)[:, None]

    def _score_several(self, encoded: Tensor, attention: Tensor, targets: Tensor) -> Tensor:
        """[N, C, L] the same of C answers to each, which share the decoder's first token and its view of the text.

        The decoder's keys and values of a text, in every layer, cost more than the few tokens of an answer.
        """
        choices = targets.shape[1]
        start = self._shifted(targets[:, 0, :1])
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        first = self._decoded(encoded, attention, start, cache)
        logprobs = [_token_logprobs(first.logits.expand(-1, choices, -1), targets[:, :, 0])[..., None]]
        if targets.shape[2] > 1:
            cache.batch_repeat_interleave(choices)
            texts, attended = (tensor.repeat_interleave(choices, dim=0) for tensor in (encoded, attention))
            flat = targets.flatten(0, 1)
            later = self._decoded(texts, attended, flat[:, :-1], cache)
            logprobs.append(_token_logprobs(later.logits, flat[:, 1:]).view(*targets.shape[:2], -1))
        return torch.cat(logprobs, dim=2)

    def _decoded(
        self, encoded: Tensor, attention: Tensor, inputs: Tensor, cache: EncoderDecoderCache | None = None
    ) -> Any:
        """The decoder's output; `cache` holds the keys and values of what it has read before, and is added to."""
        module: Any = self.model
        texts = self._output_kind(last_hidden_state=encoded)  # some decoders ask for what only their encoder's own has
        arguments = {} if cache is None else cache_argument(self.model, cache)
        if cache is not None and not arguments:
            raise ConfigError(
                f"{type(module).__name__} keeps no keys and values; use a model of transformers that does"
            )
        return module(
            encoder_outputs=texts,
            attention_mask=attention,
            decoder_input_ids=inputs,
            use_cache=bool(arguments),
            **arguments,
        )

    def _shifted(self, targets: Tensor) -> Tensor:
        """Decoder inputs: the start token, then every answer token but the last."""
        start = targets.new_full((len(targets), 1), self.start_id)
        return torch.cat([start, targets[:, :-1]], dim=1)


def _token_logprobs(logits: Tensor, ids: Tensor) -> Tensor:
    """[..., L] log probabilities of the tokens ids [..., L] under logits [..., L, V]."""
    logprobs = logits.float().log_softmax(-1) if logits.dtype != torch.float64 else logits.log_softmax(-1)
    return logprobs.gather(-1, ids[..., None]).squeeze(-1)
