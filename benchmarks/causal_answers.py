"""How a script around PEFT and the Trainer trains and judges a decoder: labels on answers alone, choices compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import EvalPrediction

from benchmarks.presets import Job

_IGNORED = -100


@dataclass(frozen=True)
class CausalAnswers:
    """Texts with their answers behind them, for a causal language model whose answers are one token each.

    Attributes:
        choice_ids: [C] the token of each choice behind a text.
        prompt_tokens: P, slots of the prompt before every row of logits.
    """

    tokenizer: Any
    choice_ids: tuple[int, ...]
    prompt_tokens: int

    @classmethod
    def of(cls, tokenizer: Any, job: Job) -> CausalAnswers:
        """As the rows of a job have them.

        Raises:
            NotImplementedError: where an answer has several tokens.
        """
        row = job.rows()["train"][0]
        ids = [_answer_ids(tokenizer, row["text"], choice) for choice in row["choices"]]
        if any(len(answer) != 1 for answer in ids):
            raise NotImplementedError(
                f"the answers {row['choices']} are not one token each; the peer compares no others"
            )
        return cls(tokenizer, tuple(answer[0] for answer in ids), job.prompt_tokens)

    def encoded(self, texts: Sequence[str], answers: Sequence[str]) -> dict[str, list[list[int]]]:
        """Text and answer as one row, labels on the answer."""
        before = self.tokenizer(list(texts))["input_ids"]
        behind = [_answer_ids(self.tokenizer, text, answer) for text, answer in zip(texts, answers, strict=True)]
        pairs = list(zip(before, behind, strict=True))
        return {
            "input_ids": [[*text, *answer] for text, answer in pairs],
            "attention_mask": [[1] * (len(text) + len(answer)) for text, answer in pairs],
            "labels": [[_IGNORED] * len(text) + answer for text, answer in pairs],
        }

    def text(self, ids: Sequence[int], labels: Sequence[int]) -> list[int]:
        """The tokens of a row without its answer."""
        return [token for token, label in zip(ids, labels, strict=True) if label == _IGNORED]

    def choice_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, P + T, V] logits and labels [B, T] -> [B, C] of the choices, so that no more is gathered."""
        place = (labels != _IGNORED).long().argmax(dim=1) + self.prompt_tokens - 1
        rows = torch.arange(len(labels), device=labels.device)
        return logits[rows, place][:, list(self.choice_ids)]

    def accuracy(self, prediction: EvalPrediction) -> dict[str, float]:
        """The share of rows whose best choice is the label."""
        labels = np.asarray(prediction.label_ids)
        gold = labels[np.arange(len(labels)), (labels != _IGNORED).argmax(axis=1)]
        chosen = np.asarray(self.choice_ids)[np.argmax(prediction.predictions, axis=-1)]
        return {"accuracy": float((chosen == gold).mean())}


def _answer_ids(tokenizer: Any, text: str, answer: str) -> list[int]:
    """What an answer adds to the tokens of its text, a blank between the two."""
    before, whole = tokenizer([text, f"{text} {answer}"])["input_ids"]
    return list(whole[len(before) :])
