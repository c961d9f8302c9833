"""PruneBench: `python -m benchmarks.prunebench` measures every entry on planted words and prints the page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from benchmarks.prunebench.entry import FOLDER, entries
from benchmarks.prunebench.page import page, table_of
from benchmarks.prunebench.planted import KNOWN_TASKS, PlantedPrompts


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prunebench", description=__doc__)
    parser.add_argument("--entries", type=Path, default=FOLDER, help="folder of the entries")
    parser.add_argument("--seeds", type=int, default=6, help="other filler in other places for each")
    parser.add_argument("--tasks", type=int, default=len(KNOWN_TASKS), help="so many of the testbed's tasks")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out", type=Path, help="folder for the page and what was measured, prunebench.md and .csv")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    finders = entries(args.entries)
    prompts = PlantedPrompts(KNOWN_TASKS[: args.tasks], max(entry.examples for entry in finders))
    measured = pd.concat([prompts.measure(finders, seed) for seed in range(args.seeds)], ignore_index=True)
    text = page(
        table_of(measured, finders), finders, f"python -m benchmarks.prunebench --seeds {args.seeds}", args.seeds
    )
    print(text, end="")
    if args.out:
        measured.to_csv(args.out / "prunebench.csv", index=False)
        (args.out / "prunebench.md").write_text(text)


if __name__ == "__main__":
    main()
