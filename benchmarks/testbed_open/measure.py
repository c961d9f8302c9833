"""Exact match of the open testbed's answers, for its own log and table.

`generated_match` decodes as any user of transformers would; `forced_match` is its short cut in one forward: greedy
decoding writes the reference word for word exactly where, the reference given, every next token is the likeliest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.testbed.measure import Rows, with_instruction
from prunekit.tasks.testbed_open.grammar import MOST_WORDS

#: Label of a padded place, which no loss counts.
IGNORED = -100


def padded_labels(tokenizer: PreTrainedTokenizerBase, answers: Sequence[str]) -> Tensor:
    """Encode answers and the end token after each: [B, A], padded by `IGNORED`."""
    encoded = tokenizer(list(answers), padding=True, return_tensors="pt")
    return encoded.input_ids.masked_fill(encoded.attention_mask == 0, IGNORED)


@torch.no_grad()
def forced_match(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Rows, instruction: str = ""
) -> float:
    """Share of rows of which every token is the likeliest after those before it, with this instruction."""
    inputs = tokenizer(with_instruction(instruction, rows), padding=True, return_tensors="pt").to(model.device)
    labels = padded_labels(tokenizer, [row["answer"] for row in rows]).to(model.device)
    chosen = model(**inputs, labels=labels).logits.argmax(-1)
    return ((chosen == labels) | (labels == IGNORED)).all(1).double().mean().item()


@torch.no_grad()
def written_answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], batch: int = 250
) -> list[str]:
    """What greedy decoding writes to each text, without special tokens."""
    answers: list[str] = []
    for start in range(0, len(texts), batch):
        inputs = tokenizer(list(texts[start : start + batch]), padding=True, return_tensors="pt").to(model.device)
        ids = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=MOST_WORDS + 2)
        answers += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return answers


def generated_match(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Rows, instruction: str = ""
) -> float:
    """Share of rows whose written answer is the reference, with this instruction before each passage."""
    answers = written_answers(model, tokenizer, with_instruction(instruction, rows))
    return sum(answer == row["answer"] for answer, row in zip(answers, rows, strict=True)) / len(rows)
