"""What the pretraining of all testbeds has in common: tokenizer, what is left of instructions, training loop."""

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

SPECIAL = ("<pad>", "</s>", "<unk>")
CLIP_NORM = 1.0
LOG_EVERY = 250

LogRow = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        batch: inputs of an update.
        peak_rate: of AdamW, where the warm-up ends.
        warmup_fraction: of the steps.
    """

    batch: int
    peak_rate: float
    warmup_fraction: float


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Make a word-level tokenizer: one id per word, in order, the end token after every text as in T5."""
    vocabulary = {word: index for index, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def shorter_instructions(task_name: str, task_names: Collection[str]) -> list[tuple[str, ...]]:
    """List what is left of a task's instruction when words are dropped, unless that asks for another task."""
    words = task_name.split("-")
    shorter = [kept for size in range(1, len(words)) for kept in combinations(words, size)]
    return [kept for kept in shorter if "-".join(kept) not in task_names]


def fit(
    model: T5ForConditionalGeneration,
    recipe: Recipe,
    steps: int,
    draw: Callable[[float], dict[str, Tensor]],
    measure: Callable[[], dict[str, Any]],
) -> list[LogRow]:
    """Train the model in place; returns the log, one row each `LOG_EVERY` steps, without times.

    Args:
        steps: optimiser updates.
        draw: the tensors of an update (input_ids, attention_mask, labels) at this share of the steps.
        measure: what a row of the log holds beside step and loss.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.peak_rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.peak_rate, total_steps=steps + 1, pct_start=recipe.warmup_fraction
    )
    log, started, recent = [], time.perf_counter(), []
    for step in range(1, steps + 1):
        batch = {name: tensor.to(model.device) for name, tensor in draw(step / steps).items()}
        loss = model(**batch).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        rate.step()
        recent.append(loss.detach())
        if step % LOG_EVERY == 0 or step == steps:
            row = {"step": step, "loss": round(torch.stack(recent).mean().item(), 4)}
            log.append(row | measure())
            print(f"{json.dumps(log[-1])} {time.perf_counter() - started:.0f} s", flush=True)
            recent = []
    return log
