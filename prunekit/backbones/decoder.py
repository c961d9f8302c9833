"""Decoder-only models (GPT-2, Llama, OPT, NeoX kinds): prompt, text and answer form one row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prunekit.backbones.base import Backbone, Judged, Place, Placed, Ranking, by_words
from prunekit.backbones.batch import Batch, Encoded, Ids, Row
from prunekit.backbones.soft import Soft

# answers follow a template's last mark; what the tokenizer adds behind this one is the answer
_ANCHOR = ":"


class Decoder(Backbone):
    """A causal language model; an answer's score is its log-probability right after the text."""

    def __init__(
        self, model: Any, tokenizer: Any, *, place: Place, ranking: Ranking = "sum", max_input_tokens: int = 256
    ) -> None:
        super().__init__(model, tokenizer, place=place, ranking=ranking, max_input_tokens=max_input_tokens)
        self._plain_output = self._output_is_plain()

    def answer_ids(self, answer: str) -> Ids:
        """The tokens that the answer adds behind a text, as the tokenizer joins the two."""
        before = self.tokenizer(_ANCHOR, add_special_tokens=False)["input_ids"]
        both = self.tokenizer(f"{_ANCHOR} {answer}", add_special_tokens=False)["input_ids"]
        return tuple(both[len(before) :])

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """One row per choice; a single row where every choice is one token, since all are read at the same place."""
        targets = example.choices if every_choice else (example.choices[example.gold],)
        gold = example.gold if every_choice else 0
        inputs = [example.text] if _one_token(targets) else [example.text + target[:-1] for target in targets]
        return Row(inputs, targets, [len(example.text) - 1] * len(inputs), gold, example.index)

    def _judge(self, soft: Soft, batch: Batch) -> Judged:
        placed = self._place(soft, batch)
        shape = (soft.members, *batch.targets.shape[1:])
        targets = batch.targets.expand(shape)  # [S, B, C, L]
        steps = torch.arange(shape[-1], device=targets.device)
        start = batch.start.expand(soft.members, *batch.start.shape[1:]) + soft.values.shape[-2]
        at = (start[..., None] + steps).flatten(0, 2)  # [S * B * R, L]
        at = at.clamp(max=placed.embeds.shape[1] - 1)
        logprobs = self._next_token(placed, at).log_softmax(-1)  # [S * B * R, L, V]
        logprobs = logprobs.unflatten(0, (shape[0], shape[1], -1)).expand(*shape[:3], shape[3], -1)
        return by_words(logprobs.gather(4, targets[..., None]).squeeze(4), batch, self.ranking)

    def _next_token(self, placed: Placed, at: Tensor) -> Tensor:
        """[N, L, V] output logits at the row positions `at` [N, L]; only those rows meet the output matrix."""
        arguments = dict(
            inputs_embeds=placed.embeds,
            attention_mask=placed.attention,
            use_cache=False,
            **self._position_arguments(placed),
        )
        model: Any = self.model
        logits: Tensor
        if self._plain_output:
            hidden = model.base_model(**arguments).last_hidden_state
            logits = model.get_output_embeddings()(_rows(hidden, at))
        else:
            logits = _rows(model(**arguments).logits, at)
        return logits if logits.dtype == torch.float64 else logits.float()

    def _output_is_plain(self) -> bool:
        """Whether logits are just output matrix x last hidden state (some models scale or cap them), by trying."""
        ids = torch.arange(4, device=self.device)[None] % int(self.config.vocab_size)
        model: Any = self.model
        with torch.no_grad():
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            if hidden.shape[-1] != model.get_output_embeddings().weight.shape[-1]:
                return False
            return torch.equal(model.get_output_embeddings()(hidden), model(input_ids=ids, use_cache=False).logits)


def _one_token(targets: tuple[Ids, ...]) -> bool:
    return all(len(target) == 1 for target in targets)


def _rows(states: Tensor, at: Tensor) -> Tensor:
    """[N, T, D], [N, L] -> [N, L, D]."""
    return states.gather(1, at[..., None].expand(-1, -1, states.shape[-1]))
