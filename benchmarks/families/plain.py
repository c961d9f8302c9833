"""What the user's own model says of an answer: plain `input_ids`, one row at a time, nothing of prunekit.

A prompt is here a list of vocabulary ids, so that the model reads it as it reads any text. An answer's log-probability
is built token by token, each from a row that ends right before it: nothing later can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.families.catalogue import Family

Ids = Sequence[int]


@dataclass(frozen=True)
class Reader:
    """A plain model, read as its family is.

    Attributes:
        position: where the prompt's ids go: "first", "suffix" or "after-cls".
        head: weight [C, H] and bias [C] of an encoder.
        start: the decoder's first id of an encoder-decoder.
    """

    model: Any
    family: Family
    position: str
    head: tuple[Tensor, Tensor] | None = None
    start: int = 0

    @torch.no_grad()
    def scores(self, prompt: Ids, text: Ids, choices: Sequence[Ids]) -> tuple[Tensor, float]:
        """The score of each choice [C], and the largest logit that was met on the way."""
        if self.family == "encoder":
            logits = self._classified(_placed(prompt, text, self.position))
            return logits, float(logits.abs().max())
        sums, largest = [], 0.0
        for answer in choices:
            total = torch.zeros(())
            for number, token in enumerate(answer):
                logits = self._next(prompt, text, answer[:number])
                largest = max(largest, float(logits.abs().max()))
                total = total + logits.log_softmax(-1)[token]
            sums.append(total)
        return torch.stack(sums), largest

    def next_logits(self, prompt: Ids, text: Ids) -> Tensor:
        """[V], what follows a text; of an encoder [C]."""
        with torch.no_grad():
            if self.family == "encoder":
                return self._classified(_placed(prompt, text, self.position))
            return self._next(prompt, text, ())

    def _next(self, prompt: Ids, text: Ids, begun: Ids) -> Tensor:
        row = _placed(prompt, text, self.position)
        if self.family == "decoder":
            logits: Tensor = self.model(input_ids=torch.tensor([[*row, *begun]])).logits
        else:
            before = torch.tensor([[self.start, *begun]])
            logits = self.model(input_ids=torch.tensor([row]), decoder_input_ids=before).logits
        return logits[0, -1].float()

    def _classified(self, row: Ids) -> Tensor:
        output = self.model(input_ids=torch.tensor([row]))
        pooled = getattr(output, "pooler_output", None) if self.position == "first" else None
        assert self.head is not None
        return F.linear(output.last_hidden_state[0, 0] if pooled is None else pooled[0], *self.head)


def _placed(prompt: Ids, text: Ids, position: str) -> list[int]:
    """The ids of a row, the prompt's among the text's."""
    at = {"first": 0, "after-cls": 1, "suffix": len(text)}[position]
    return [*text[:at], *prompt, *text[at:]]
