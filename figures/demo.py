"""`python -m figures.demo`: train the run that `prunekit demo` shows, and write what the page needs of it.

A prompt of the testbed, pruned round by round to one piece of one token; a minute or two on two cores. The page is
looked at afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import prunekit as pk
from prunekit.experiment.settings_io import experiment
from prunekit.experiment.task_of import task_of
from prunekit.support import atomic
from prunekit.tasks import Example

DATA = Path(pk.__file__).parent / "plots" / "demo" / "run.json"
SETTINGS = {
    "task": "testbed/first-animal", "prompt_tokens": 8, "pieces": 16, "rounds": 10, "keep_tokens": 1, "keep_pieces": 1,
    "train_examples": 96, "validation_examples": 64, "test_examples": 120, "train_steps": 24, "evaluate_every": 8,
    "threads": 1,
}  # fmt: skip
# texts that the page shows, half of them those whose answers change most
_SHOWN = 12


def make(out: Annotated[Path, typer.Option(help="folder that holds runs")] = Path("runs")) -> None:
    """Train the run, or go on with it, and write the page's data."""
    run = pk.prune(out=out, **SETTINGS)  # type: ignore[arg-type]  # settings by name
    atomic.replace(DATA, (json.dumps(facts(run), indent=1) + "\n").encode())


def facts(run: pk.Run) -> dict[str, Any]:
    """What the page shows: the rounds with their masks, base lines, and answers to some texts in every round."""
    task, splits = task_of(experiment(None, SETTINGS))
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in SETTINGS.items())
    baselines = run.baselines.dropna(subset="test")
    return {
        "tokens": SETTINGS["prompt_tokens"],
        "pieces": SETTINGS["pieces"],
        "question": task.description.removeprefix("testbed: ").rstrip("."),
        "metric": run.metric,
        "test_examples": len(splits.test),
        "command": f"prunekit prune {flags}",
        "rounds": [_round(run, row) for row in run.rounds.to_dict("records")],
        "baselines": baselines[["label", "test"]].to_dict("records"),
        "examples": _examples(run, splits.test),
    }


def _round(run: pk.Run, row: dict[Any, Any]) -> dict[str, Any]:
    """A round in the page's words; mask: a digit for each piece, token by token."""
    piece = run.ticket(seed=0, round=row["round"]).mask.piece
    mask = "".join(str(int(kept)) for kept in piece.flatten().tolist())
    return {name: row[name] for name in ("tokens", "cells", "density", "test")} | {"mask": mask}


def _examples(run: pk.Run, examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Those whose answers change most, and as many of the first that are left, in the order of the split."""
    answers = run.predictions.query("split == 'test' and seed == 0 and arm in ('dense', 'ticket')")
    chosen = answers.pivot(index="example", columns="round", values="choice")
    changes = (chosen.diff(axis=1).iloc[:, 1:] != 0).sum(axis=1).sort_values(ascending=False, kind="stable")
    changing = list(changes.index[: _SHOWN // 2])
    first = [example.index for example in examples if example.index not in changing][: _SHOWN - len(changing)]
    by_index = {example.index: example for example in examples}
    return [_example(by_index[index], chosen.loc[index]) for index in sorted([*changing, *first])]


def _example(example: Example, chosen: Sequence[int]) -> dict[str, Any]:
    return {
        "example": example.index,
        "text": example.text,
        "right": example.choices[example.gold[0]],
        "answers": [example.choices[int(choice)] for choice in chosen],
    }


if __name__ == "__main__":
    typer.run(make)
