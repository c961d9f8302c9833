"""Pretrain the testbed's model: `python -m benchmarks.testbed.pretrain --out DIR`.

A word-level T5 learns to follow the instructions of every task that is not held out, the easier of two like tasks
first. Two additions make it a fair instrument for soft prompts: random filler around the instruction, so that unused
prompt positions do no harm; and incomplete instructions whose answer ignores the passage, so that no single word, nor
the passage alone, gives a task away.
"""

import argparse
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from benchmarks.testbed.measure import accuracy
from benchmarks.testbed.recipe import LogRow, Recipe, fit, shorter_instructions, word_tokenizer
from prunekit.tasks.testbed import lexicon
from prunekit.tasks.testbed.grammar import TASKS, examples, filler_words, vocabulary

STEPS = 6000
RECIPE = Recipe(batch=64, peak_rate=6e-4, warmup_fraction=0.1)
#: Share of the steps after which tasks with these words join. Two tasks that differ in one word cancel each other out
#: until one of them is learned, and a tiny model stays on that plateau for thousands of steps; the retrieval of the
#: first and last needs most of the batch to itself, so all else waits for it.
JOINS = {"last": 0.07, "count": 0.2, "copy": 0.2, "judge": 0.2, "alike": 0.25, "opposite": 0.3}
#: Filler and incomplete instructions come in, from none to all, between these shares of the steps.
RAMP = (0.4, 0.6)
MOST_FILLER = 20
#: Share of inputs whose instruction lacks words, and the share of these that lack all of them. Their answer is drawn
#: from all answers of all tasks, in each task's choices the next one a third as often as the one before: under even
#: odds the ranking of the choices would still be decided by whatever little the words left over give away.
INCOMPLETE_SHARE = 0.2
EMPTY_SHARE = 1 / 3
HABIT = 1 / 3
#: Distinct passages per task that pretraining turns over.
POOL = 50_000
LOG_ROWS = 100

SEEN = tuple(task for task in TASKS if not task.held_out)
_HABITS = {choice: HABIT**i for task in TASKS for i, choice in enumerate(task.choices)}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Make the tokenizer of the grammar's words."""
    return word_tokenizer(vocabulary())


def build_model(vocab_size: int, seed: int) -> T5ForConditionalGeneration:
    """Make the untrained model, small enough to ship and to train prompts on in seconds."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=vocab_size, d_model=128, d_kv=32, d_ff=384, num_heads=4, num_layers=4, num_decoder_layers=2,
        dropout_rate=0.0, feed_forward_proj="relu", pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        tie_word_embeddings=True,
    )  # fmt: skip
    return T5ForConditionalGeneration(config)


class Mixture:
    """The stream of pretraining inputs, a function of the seed alone."""

    def __init__(self, pool: int, seed: int) -> None:
        """Draw the passages.

        Args:
            pool: distinct passages per task.
            seed: chooses passages, wordings, filler and order.
        """
        self.rng = random.Random(f"mixture|{seed}")
        self.rows = {task.name: examples(task.name, "pretrain", pool, seed) for task in SEEN}
        self.incomplete = {task.name: incomplete_instructions(task.name) for task in SEEN}
        self.filler = filler_words()

    def draw(self, progress: float) -> tuple[str, str]:
        """One input and its answer, as they are at this share of the steps."""
        rng, strength = self.rng, ramp(progress)
        task = rng.choice([task for task in SEEN if joined(task.name, progress)])
        row = rng.choice(self.rows[task.name])
        words, answer = rng.choice(task.instructions).split(), row["label"]
        if rng.random() < INCOMPLETE_SHARE * strength:
            words, answer = self._incomplete(task.name), *rng.choices(list(_HABITS), list(_HABITS.values()))
        for _ in range(rng.randint(0, round(MOST_FILLER * strength))):
            words.insert(rng.randint(0, len(words)), rng.choice(self.filler))
        return " ".join([*words, row["text"]]), answer

    def _incomplete(self, task_name: str) -> list[str]:
        """Draw an instruction that lacks words, at times all of them."""
        if self.rng.random() < EMPTY_SHARE:
            return []
        return [self.rng.choice(lexicon.SYNONYMS[word]) for word in self.rng.choice(self.incomplete[task_name])]


def incomplete_instructions(task_name: str) -> list[tuple[str, ...]]:
    """List what is left of a task's instruction when words are dropped, unless that asks for another task."""
    return shorter_instructions(task_name, {task.name for task in TASKS})


def joined(task_name: str, progress: float) -> bool:
    """Whether the task is in the mixture at this share of the steps."""
    return all(progress >= JOINS.get(word, 0.0) for word in task_name.split("-"))


def ramp(progress: float) -> float:
    """How much of the filler and the incomplete instructions there is at this share of the steps, from 0 to 1."""
    begin, end = RAMP
    return min(1.0, max(0.0, (progress - begin) / (end - begin)))


def batch_tensors(tokenizer: PreTrainedTokenizerFast, drawn: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Encode inputs and answers: input_ids [B, T], attention_mask [B, T], labels [B, 2]."""
    texts, answers = zip(*drawn, strict=True)
    inputs = tokenizer(list(texts), padding=True, return_tensors="pt")
    labels = tokenizer(list(answers), return_tensors="pt").input_ids
    return {"input_ids": inputs.input_ids, "attention_mask": inputs.attention_mask, "labels": labels}


def train(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, mixture: Mixture, steps: int
) -> list[LogRow]:
    """Train the model in place; returns the log, as `fit` does."""

    def draw(progress: float) -> dict[str, Tensor]:
        return batch_tensors(tokenizer, [mixture.draw(progress) for _ in range(RECIPE.batch)])

    return fit(model, RECIPE, steps, draw, lambda: {"accuracy": seen_accuracies(model, tokenizer)})


def seen_accuracies(model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Accuracy of each pretrained task under its canonical instruction, on passages pretraining never sees."""
    model.eval()
    accuracies = {}
    for task in SEEN:
        rows = examples(task.name, "validation", LOG_ROWS)
        accuracies[task.name] = round(accuracy(model, tokenizer, rows, task.choices, task.instructions[0]), 3)
    model.train()
    return accuracies


def pretrain(out: Path, steps: int = STEPS, seed: int = 0, device: str = "cpu", threads: int = 2) -> list[LogRow]:
    """Make, train and save the model; the same arguments on the same machine give the same bytes.

    Args:
        out: folder for model, tokenizer and log; made where it is missing.
        steps: optimiser updates.
        seed: chooses initial weights and data.
        device: where to train.
        threads: CPU threads, which the rounding of sums depends on.

    Returns:
        The log: what the run was, then a row each `recipe.LOG_EVERY` steps.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's matrix products may vary
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    tokenizer = build_tokenizer()
    model = build_model(len(tokenizer), seed).to(device)
    mixture = Mixture(min(POOL, steps * RECIPE.batch), seed)
    about = {"steps": steps, "seed": seed, "device": device, "threads": threads, "torch": torch.__version__}
    log = [about | {"parameters": model.num_parameters()}, *train(model, tokenizer, mixture, steps)]
    save(out, model, tokenizer, log)
    return log


def save(out: Path, model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, log: list[LogRow]) -> None:
    """Write config, weights, tokenizer and log, readable by everyone, and nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    model.cpu().save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)  # answers are scored, not generated
    (out / "pretrain_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    for path in out.iterdir():
        path.chmod(0o644)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.testbed.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    pretrain(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
