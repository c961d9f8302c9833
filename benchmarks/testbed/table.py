"""Measure the testbed: `python -m benchmarks.testbed.table` prints, as Markdown, what each task is worth.

Per task: chance, what the words of the passage alone give away, what the model answers without a prompt, and what it
answers under the best instruction, plain and amid filler, with the price of dropping any one word. For a held-out
task the best instruction is searched for among all short sequences of instruction words. With `--runs`, also what a
soft prompt reaches, and how small a ticket of it can be.
"""

import argparse
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from benchmarks.testbed.measure import Rows, accuracy, quick_accuracies
from prunekit.experiment.prepare import prepare
from prunekit.experiment.run import run
from prunekit.experiment.settings import Experiment, MachineSettings, PruningSettings, TaskSettings, TrainingSettings
from prunekit.support.terminal import Screen
from prunekit.tasks.testbed import MODEL_PATH
from prunekit.tasks.testbed.grammar import TASKS, TestbedTask, examples, filler_words, instruction_words
from prunekit.tasks.testbed.lexicon import SYNONYMS

REPORT_ROWS = 500
BAG_ROWS = 2000
#: The search ranks every sequence on this few rows, then its best on as many as the report has.
SEARCH_ROWS = 64
FINALISTS = 50
PADDED_LENGTH = 20

#: A ticket counts as good as dense within this accuracy.
WITHIN = 0.02
#: 20 tokens down to 1 over 12, 7, 4, 3 and 2; all pieces stay, since the question is how many tokens.
PRUNING = PruningSettings(rounds=6, keep_tokens=1, keep_pieces=1.0)
#: A held-out composition is found late, after some 400 updates.
TRAINING = TrainingSettings(train_steps=800, evaluate_every=80, patience=3)
MACHINE = MachineSettings(threads=1)

Row = dict[str, str | int | float]


class Instrument:
    """The frozen model with its tokenizer, and how well it answers."""

    def __init__(self, path: Path) -> None:
        """Load a model folder written by `benchmarks.testbed.pretrain`."""
        self.model = T5ForConditionalGeneration.from_pretrained(path).eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(path)

    def accuracy(self, task: TestbedTask, rows: Rows, instruction: str) -> float:
        """Share of rows answered rightly under the instruction."""
        return accuracy(self.model, self.tokenizer, rows, task.choices, instruction)

    def best_of(self, task: TestbedTask, instructions: Iterable[str], rows: Rows) -> str:
        """Return the instruction under which most rows are right, the earliest of equals."""
        return max(instructions, key=partial(self.accuracy, task, rows))

    def search(self, task: TestbedTask, most_words: int, count: int) -> str:
        """Return the best of all sequences of one to `most_words` instruction words, chosen on `validation`.

        Sequences of one or two draw on all instruction words, longer ones on the canonical words alone: synonyms are
        trained to be equal, and would make three words eight times as many.
        """
        rows = examples(task.name, "validation", count)
        scored: list[tuple[float, str]] = []
        for size in range(1, most_words + 1):
            words = instruction_words() if size <= 2 else tuple(SYNONYMS)
            sequences = [" ".join(sequence) for sequence in product(words, repeat=size)]
            accuracies = quick_accuracies(self.model, self.tokenizer, rows[:SEARCH_ROWS], task.choices, sequences)
            scored += zip(accuracies, sequences, strict=True)
        finalists = [sequence for _, sequence in sorted(scored, key=lambda pair: -pair[0])[:FINALISTS]]
        return self.best_of(task, [*task.instructions, *finalists], rows)


def chance(rows: Rows) -> float:
    """Share of the most frequent label: the best that one can do without reading."""
    return Counter(row["label"] for row in rows).most_common(1)[0][1] / len(rows)


def bag_of_words(task: TestbedTask, rows: Rows) -> float:
    """Accuracy on the rows of a logistic regression on word counts, fitted on `train`."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    fitted = examples(task.name, "train", BAG_ROWS)
    model = make_pipeline(CountVectorizer(token_pattern=r"\S+"), LogisticRegression(max_iter=1000))
    model.fit([row["text"] for row in fitted], [row["label"] for row in fitted])
    return float(model.score([row["text"] for row in rows], [row["label"] for row in rows]))


def padded(instruction: str, length: int = PADDED_LENGTH, seed: int = 0) -> str:
    """Spread the instruction's words, in order, over `length` tokens, the rest random filler."""
    rng = random.Random(f"padded|{seed}")
    words = instruction.split()
    positions = sorted(rng.sample(range(length), len(words)))
    line = rng.choices(filler_words(), k=length)
    for position, word in zip(positions, words, strict=True):
        line[position] = word
    return " ".join(line)


def without_each(instruction: str) -> list[str]:
    """List the instruction less its first word, less its second, and so on."""
    words = instruction.split()
    return [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]


def measure(instrument: Instrument, task: TestbedTask, most_words: int = 2, count: int = REPORT_ROWS) -> Row:
    """Measure one task on `test`; what is chosen is chosen on `validation`.

    Args:
        most_words: of an instruction that is searched for.
        count: rows of each split.

    Returns:
        One row: task, held out, classes, chance, bag of words, no prompt, instruction, its tokens I, its accuracy,
        the same amid filler, and the accuracy each of its words is worth.
    """
    rows = examples(task.name, "test", count)
    if task.held_out:
        best = instrument.search(task, most_words, count)
    else:
        best = instrument.best_of(task, task.instructions, examples(task.name, "validation", count))
    reached = instrument.accuracy(task, rows, best)
    costs = [reached - instrument.accuracy(task, rows, shorter) for shorter in without_each(best)]
    return {
        "task": task.name,
        "held out": "yes" if task.held_out else "",
        "classes": len(task.choices),
        "chance": chance(rows),
        "bag of words": bag_of_words(task, rows),
        "no prompt": instrument.accuracy(task, rows, ""),
        "best instruction": best,
        "I": len(best.split()),
        "with it": reached,
        f"padded to {PADDED_LENGTH}": instrument.accuracy(task, rows, padded(best)),
        "each word's worth": " ".join(f"{cost:.2f}" for cost in costs),
    }


def prompts(task: TestbedTask, out: Path) -> Row:
    """Train a dense soft prompt and prune it to one token; both as any user of the command line would.

    Args:
        task: which task.
        out: the folder of runs; a finished run is loaded, not done again.

    Returns:
        Report accuracy of the dense prompt of 20 tokens, and tokens and accuracy of the smallest ticket whose test
        accuracy is within `WITHIN` of it.
    """
    settings = Experiment(
        task=TaskSettings(name=f"testbed/{task.name}"), pruning=PRUNING, training=TRAINING, machine=MACHINE
    )
    tickets = run(prepare(settings), out, Screen()).results().to_dict("records")
    dense = next(ticket["test_accuracy"] for ticket in tickets if ticket["round"] == 0)
    good = [ticket for ticket in tickets if ticket["test_accuracy"] >= dense - WITHIN]
    smallest = min(good, key=lambda ticket: int(ticket["tokens"]))
    return {
        "dense prompt": float(dense),
        "smallest ticket, tokens": int(smallest["tokens"]),
        "its accuracy": float(smallest["test_accuracy"]),
    }


def markdown(rows: Sequence[Row]) -> str:
    """Write rows of equal keys as a Markdown table, fractions with three digits."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row.values()] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.testbed.table", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_PATH, help="folder of the model")
    parser.add_argument("--out", type=Path, help="write the table here too")
    parser.add_argument("--search-words", type=int, default=2, help="longest instruction searched for held-out tasks")
    parser.add_argument("--examples", type=int, default=REPORT_ROWS, help="examples per task")
    parser.add_argument("--runs", type=Path, help="train and prune a prompt per task too, into this folder of runs")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    disable_progress_bar()
    instrument = Instrument(args.model)
    rows = [measure(instrument, task, args.search_words, args.examples) for task in TASKS]
    if args.runs:
        rows = [row | prompts(task, args.runs) for row, task in zip(rows, TASKS, strict=True)]
    table = markdown(rows)
    print(table, end="")
    if args.out:
        args.out.write_text(table)


if __name__ == "__main__":
    main()
