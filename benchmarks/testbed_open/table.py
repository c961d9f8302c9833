"""Measure the testbed of open answers: `python -m benchmarks.testbed_open.table` prints what each task is worth.

Per task: how long its answers are, and the share that greedy decoding writes word for word without an instruction and
with the canonical one, plain and amid filler, and the price of dropping any one word of it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from benchmarks.testbed.measure import Rows
from benchmarks.testbed.table import PADDED_LENGTH, REPORT_ROWS, Row, markdown, padded, without_each
from benchmarks.testbed_open.measure import generated_match
from prunekit.tasks.testbed_open import MODEL_PATH
from prunekit.tasks.testbed_open.grammar import TASKS, OpenTask, examples


class Instrument:
    """The frozen model with its tokenizer, and how often it writes the right answer."""

    def __init__(self, path: Path) -> None:
        """Load a model folder written by `benchmarks.testbed_open.pretrain`."""
        self.model = T5ForConditionalGeneration.from_pretrained(path).eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(path)

    def match(self, rows: Rows, instruction: str) -> float:
        """Share of rows answered word for word under the instruction."""
        return generated_match(self.model, self.tokenizer, rows, instruction)


def measure(instrument: Instrument, task: OpenTask, count: int = REPORT_ROWS) -> Row:
    """Measure one task on `test`.

    Args:
        count: rows.

    Returns:
        One row: task, held out, words of the shortest and the longest answer, and the exact match without an
        instruction, with it, with it amid filler, and what each of its words is worth.
    """
    rows = examples(task.name, "test", count)
    lengths = {len(row["answer"].split()) for row in rows}
    instruction = task.instructions[0]
    reached = instrument.match(rows, instruction)
    costs = [reached - instrument.match(rows, shorter) for shorter in without_each(instruction)]
    return {
        "task": task.name,
        "held out": "yes" if task.held_out else "",
        "words": " or ".join(str(length) for length in sorted(lengths)),
        "no prompt": instrument.match(rows, ""),
        "its instruction": reached,
        f"padded to {PADDED_LENGTH}": instrument.match(rows, padded(instruction)),
        "each word's worth": " ".join(f"{cost:.2f}" for cost in costs),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.testbed_open.table", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_PATH, help="folder of the model")
    parser.add_argument("--examples", type=int, default=REPORT_ROWS, help="examples per task")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    disable_progress_bar()
    instrument = Instrument(args.model)
    print(markdown([measure(instrument, task, args.examples) for task in TASKS]), end="")


if __name__ == "__main__":
    main()
