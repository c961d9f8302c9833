"""Pretrain the model of open answers: `python -m benchmarks.testbed_open.pretrain --out DIR`.

The first testbed's model, pretrained in its way on other tasks: random filler around the instruction, so that unused
prompt positions do no harm, and incomplete instructions whose answer ignores the passage, so that nothing less than
the whole instruction gives a task away.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

from benchmarks.testbed.pretrain import EMPTY_SHARE, MOST_FILLER, build_model, ramp
from benchmarks.testbed.recipe import LogRow, Recipe, fit, shorter_instructions, word_tokenizer
from benchmarks.testbed_open.measure import forced_match, padded_labels
from prunekit.tasks.testbed_open.grammar import (
    TASKS,
    answer,
    draw_passages,
    examples,
    filler_words,
    vocabulary,
)
from prunekit.tasks.testbed_open.lexicon import SYNONYMS

STEPS = 5000
RECIPE = Recipe(batch=32, peak_rate=5e-4, warmup_fraction=0.03)
#: Share of the steps after which tasks of these orders join: what comes first is learned before its reverse.
JOINS = {"last": 0.2, "double": 0.22, "reverse": 0.25}
#: Share of inputs whose instruction lacks words, once filler is complete; their answer is that to another input.
INCOMPLETE_SHARE = 0.15
LOG_ROWS = 50

SEEN = tuple(task for task in TASKS if not task.held_out)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Make the tokenizer: the first testbed's words with their ids, then new ones."""
    return word_tokenizer(vocabulary())


class Mixture:
    """The stream of pretraining inputs, a function of the seed alone."""

    def __init__(self, seed: int) -> None:
        """Begin the stream.

        Args:
            seed: chooses passages, wordings, filler and order.
        """
        self.rng = random.Random(f"open mixture|{seed}")
        self.passages = draw_passages("pretrain", self.rng)
        self.incomplete = {task.name: incomplete_instructions(task.name) for task in SEEN}
        self.filler = filler_words()

    def draw(self, progress: float) -> tuple[str, str]:
        """One input and its answer, as they are at this share of the steps."""
        rng, strength = self.rng, ramp(progress)
        text, target, words, name = self._complete(progress)
        if rng.random() < INCOMPLETE_SHARE * strength:
            words, target = self._shortened(name), self._complete(progress)[1]
        for _ in range(rng.randint(0, round(MOST_FILLER * strength))):
            words.insert(rng.randint(0, len(words)), rng.choice(self.filler))
        return " ".join([*words, text]), target

    def _complete(self, progress: float) -> tuple[str, str, list[str], str]:
        """Draw a passage, the answer to it, the instruction's words and the task's name."""
        task = self.rng.choice([task for task in SEEN if joined(task.name, progress)])
        text, facts = next(self.passages)
        return text, answer(task, facts), self.rng.choice(task.instructions).split(), task.name

    def _shortened(self, task_name: str) -> list[str]:
        """Draw an instruction that lacks words, at times all of them."""
        if self.rng.random() < EMPTY_SHARE:
            return []
        return [self.rng.choice(SYNONYMS[word]) for word in self.rng.choice(self.incomplete[task_name])]


def incomplete_instructions(task_name: str) -> list[tuple[str, ...]]:
    """List what is left of a task's instruction when words are dropped, unless that asks for another task."""
    return shorter_instructions(task_name, {task.name for task in TASKS})


def joined(task_name: str, progress: float) -> bool:
    """Whether the task is in the mixture at this share of the steps."""
    return progress >= JOINS.get(task_name.partition("-")[0], 0.0)


def batch_tensors(tokenizer: PreTrainedTokenizerFast, drawn: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Encode inputs and answers: input_ids [B, T], attention_mask [B, T], labels [B, A]."""
    texts, answers = zip(*drawn, strict=True)
    inputs = tokenizer(list(texts), padding=True, return_tensors="pt")
    labels = padded_labels(tokenizer, answers)
    return {"input_ids": inputs.input_ids, "attention_mask": inputs.attention_mask, "labels": labels}


def train(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, mixture: Mixture, steps: int
) -> list[LogRow]:
    """Train the model in place; returns the log, as `fit` does."""

    def draw(progress: float) -> dict[str, Tensor]:
        return batch_tensors(tokenizer, [mixture.draw(progress) for _ in range(RECIPE.batch)])

    return fit(model, RECIPE, steps, draw, lambda: {"exact match": seen_matches(model, tokenizer)})


def seen_matches(model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Exact match of each pretrained task under its canonical instruction, on passages pretraining never sees."""
    model.eval()
    rows = {task: examples(task.name, "validation", LOG_ROWS) for task in SEEN}
    matches = {task.name: forced_match(model, tokenizer, rows[task], task.instructions[0]) for task in SEEN}
    model.train()
    return {name: round(match, 3) for name, match in matches.items()}


def pretrain(out: Path, steps: int = STEPS, seed: int = 0, threads: int = 1) -> list[LogRow]:
    """Make, train and save the model; the same arguments on the same machine give the same bytes.

    Args:
        out: folder for model, tokenizer and log; made where it is missing.
        steps: optimiser updates.
        seed: chooses initial weights and data.
        threads: CPU threads, which the rounding of sums depends on.

    Returns:
        The log: what the run was, then a row each `recipe.LOG_EVERY` steps.
    """
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    tokenizer = build_tokenizer()
    model = build_model(len(tokenizer), seed)
    about = {"steps": steps, "seed": seed, "threads": threads, "torch": torch.__version__}
    log = [about | {"parameters": model.num_parameters()}, *train(model, tokenizer, Mixture(seed), steps)]
    save(out, model, tokenizer, log)
    return log


def save(out: Path, model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, log: list[LogRow]) -> None:
    """Write config, weights as float16, tokenizer and log, readable by everyone; what is loaded is float32 again."""
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    model.config.dtype = torch.float32
    model.config.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "pretrain_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    for path in out.iterdir():
        path.chmod(0o644)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.testbed_open.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    pretrain(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
