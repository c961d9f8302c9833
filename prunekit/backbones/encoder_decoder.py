"""Encoder-decoder models (T5, BART): the prompt goes before the encoder's input, the decoder scores the answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from prunekit.backbones.base import Backbone, Judged, by_words
from prunekit.backbones.batch import Batch, Encoded, Ids, Row
from prunekit.backbones.soft import Soft

# positions of these are distances, so hidden padding before the prompt moves nothing
_RELATIVE = {"t5", "mt5", "umt5", "longt5", "switch_transformers"}


class EncoderDecoder(Backbone):
    """A sequence-to-sequence model; the text is encoded once for all choices."""

    @property
    def takes_positions(self) -> bool:
        """True for relative positions. BART's kind accepts `position_ids` and silently ignores them, so False."""
        return self.config.model_type in _RELATIVE

    @property
    def hidden_width(self) -> int:
        """Width of the decoder's last hidden state."""
        return int(self.config.d_model)

    def answer_ids(self, answer: str) -> Ids:
        """The answer as the model was trained to write it, with its closing token."""
        return tuple(self.tokenizer(text_target=answer)["input_ids"])

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """One input row; the answers are the decoder's."""
        targets = example.choices if every_choice else (example.choices[example.gold],)
        return Row([example.text], targets, [0], example.gold if every_choice else 0, example.index)

    def _judge(self, soft: Soft, batch: Batch) -> Judged:
        placed = self._place(soft, batch)
        model: Any = self.model
        encoded = model.get_encoder()(inputs_embeds=placed.embeds, attention_mask=placed.attention).last_hidden_state
        targets = batch.targets.expand(soft.members, *batch.targets.shape[1:])  # [S, B, C, L]
        choices = targets.shape[2]
        flat = targets.flatten(0, 2)
        logits = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded.repeat_interleave(choices, dim=0)),
            attention_mask=placed.attention.repeat_interleave(choices, dim=0),
            decoder_input_ids=self._shifted(flat),
            use_cache=False,
        ).logits
        logprobs = logits.float().log_softmax(-1) if logits.dtype != torch.float64 else logits.log_softmax(-1)
        taken = logprobs.gather(2, flat[..., None]).squeeze(2)  # [S * B * C, L]
        return by_words(taken.view(targets.shape), batch, self.ranking)

    def _shifted(self, targets: Tensor) -> Tensor:
        """Decoder inputs: the start token, then every answer token but the last."""
        start = targets.new_full((len(targets), 1), int(self.config.decoder_start_token_id))
        return torch.cat([start, targets[:, :-1]], dim=1)
