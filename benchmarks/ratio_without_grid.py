"""The ratio that a search chooses, without its grid: what five of its trials give, beside halving and chance.

    python -m benchmarks.ratio_without_grid [--tasks 8] [--seeds 1] [--runs FOLDER] [--threads 1] [--out page.md]

Every pair of a small grid is trained on tasks of the testbed. Then `prunekit.analysis.ratio_prediction` looks at five
of the trials, successive halving is replayed on the curves of all, and five trials are drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

import prunekit
from benchmarks.measure import machine
from benchmarks.page import command, publish, table
from benchmarks.prunebench.planted import KNOWN_TASKS
from prunekit.analysis import halving, ratio_prediction, tables
from prunekit.pruning.schedule import rungs

# small enough for a quarter of an hour on one core
SETTINGS: dict[str, Any] = dict(
    prompt_tokens=6, pieces=4, train_steps=24, evaluate_every=8, train_examples=64, validation_examples=128,
    test_examples=16,
)  # fmt: skip
#: What puts the trials in order.
ORDERS = {
    "scores and spectrum": ("score", "rank"),
    "scores": ("score",),
    "spectrum": ("rank",),
    "kept cells alone": ("density",),
}
_HALVING, _CHANCE, _MOST, _DRAWS = "successive halving", "five at random", 5, 1000


def regrets(run: prunekit.Run) -> Iterator[pd.DataFrame]:
    """What each way to search lost on one run, and what it saved.

    Columns:
        those of `ratio_prediction.predict` that the way has; way.
    """
    directory, stage = tables.opened(run.path), run.stage
    trials, kept = tables.trials(directory, stage), tables.kept_shares(directory, stage)
    for way, by in ORDERS.items():
        yield ratio_prediction.predict(trials, kept, by=by, most=_MOST).assign(way=way)
    steps = rungs(SETTINGS["train_steps"], SETTINGS["evaluate_every"])
    yield halving.replay(tables.trial_curves(directory, stage), steps).assign(way=_HALVING)
    yield pd.concat([by_chance(of_seed).assign(seed=seed) for seed, of_seed in trials.groupby("seed")])


def by_chance(trials: pd.DataFrame) -> pd.DataFrame:
    """The best of five trials that are drawn, the mean over draws, as a row: saving, regret, way."""
    draw, validation = np.random.default_rng(0), trials["validation"].to_numpy()
    best = [draw.choice(validation, _MOST, replace=False).max() for _ in range(_DRAWS)]
    facts = {"saving": 1 - _MOST / len(trials), "regret": validation.max() - np.mean(best), "way": _CHANCE}
    return pd.DataFrame([facts])


def summary(measured: pd.DataFrame) -> str:
    """A row for each way to search, over all cells."""
    rows = []
    for way, of_way in measured.groupby("way", sort=False):
        error = float(of_way["error"].astype(float).mean())
        row = [way, f"{of_way['saving'].mean():.0%}", f"{100 * of_way['regret'].mean():.1f}"]
        row += [f"{100 * of_way['regret'].max():.1f}", *map(_blank, (_cells(of_way), 100 * error))]
        rows.append(row)
    header = ["way", "updates saved", "regret, points, mean", "largest", "cells / the grid's choice", "error, points"]
    return table(header, rows)


def _cells(of_way: pd.DataFrame) -> float:
    """How many times the cells of the grid's choice a way keeps, the mean."""
    return float((of_way["tokens"] * of_way["pieces"] / (of_way["full_tokens"] * of_way["full_pieces"])).mean())


def _blank(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1f}"


def cells(measured: pd.DataFrame) -> str:
    """A row for each task and seed: what the grid chose, and what the prediction did."""
    rows = [
        [row.task, row.seed, f"{row.full_tokens:.0f} x {row.full_pieces:.0f}", f"{row.tokens:.0f} x {row.pieces:.0f}",
         f"{100 * row.regret:.1f}", f"{row.updates:.0f} of {row.full_updates:.0f}"]
        for row in measured[measured["way"] == next(iter(ORDERS))].itertuples()
    ]  # fmt: skip
    return table(["task", "seed", "the grid's tokens x pieces", "predicted", "regret, points", "updates"], rows)


def verdict(measured: pd.DataFrame) -> str:
    """The mean regret against the bar of one point at a fifth of the updates, and whether chance keeps it too."""
    first, drawn = (measured[measured["way"] == way] for way in (next(iter(ORDERS)), _CHANCE))
    regret, share, chance = 100 * first["regret"].mean(), 1 - first["saving"].mean(), 100 * drawn["regret"].mean()
    held = "holds" if regret <= 1 else "does not hold"
    beside = ", so that these grids do not tell the ways apart" if chance <= 1 else ""
    return (
        f"At most 1 point of regret on average {held}: {regret:.1f} points over {len(first)} cells, at {share:.0%} of "
        f"the grid's updates. Five trials at random lose {chance:.1f}{beside}."
    )


def main(
    tasks: Annotated[int, typer.Option(help="so many of the testbed's tasks")] = 8,
    seeds: Annotated[int, typer.Option(help="of each")] = 1,
    runs: Annotated[Path, typer.Option(help="folder of the searches, which are resumed")] = Path("runs"),
    threads: Annotated[int, typer.Option(help="of torch")] = 1,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    parts = []
    for name in KNOWN_TASKS[:tasks]:
        run = prunekit.search(
            "testbed",
            task=f"testbed/{name}",
            grid="full",
            seeds=seeds,
            out=runs,
            threads=threads,
            quiet=True,
            **SETTINGS,
        )
        parts += [part.assign(task=name) for part in regrets(run)]
    measured = pd.concat(parts, ignore_index=True)
    facts = {
        "command": command("ratio_without_grid"),
        **machine(threads, "cpu"),
        "grid": f"0 to 90 % dropped of {SETTINGS['prompt_tokens']} tokens and {SETTINGS['pieces']} pieces, every pair; "
        f"{SETTINGS['train_steps']} updates a trial, chosen on {SETTINGS['validation_examples']} rows",
        "regret": "on those rows: the best trial of the grid less what a way chose, both after all their updates",
    }
    publish("The ratio without the grid", facts, [summary(measured), verdict(measured), _READING, cells(measured)], out)


_READING = """The prediction trains four trials, spread evenly in the order of what they keep of the dense prompt
(by its scores, its singular values, or both), draws a line through them that never falls, and trains the one of
which it promises most; the best of the five is chosen. The best of a grid is the luckiest too: part of every regret is
the noise of the rows that choose. Error: how far the line is from trials that were not trained, on average."""

if __name__ == "__main__":
    typer.run(main)
