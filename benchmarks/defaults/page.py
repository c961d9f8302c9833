"""The page of the sweep: what each learning rate came to, whether auto loses to the best, and when a prompt is learned.

python -m benchmarks.defaults.page [--results benchmarks/results/defaults.jsonl] [--out benchmarks/results/defaults.md]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import typer

from benchmarks.defaults.trials import CHOOSING, FACTORS, MODELS
from benchmarks.page import command, publish, table
from prunekit.support.statistics import estimate, t_interval

RESULTS = Path("benchmarks/results/defaults.jsonl")
#: in points of the metric: by how much auto may lose
MARGIN = 0.02
_CELL = ["model", "task", "position"]


def read(results: Path) -> pd.DataFrame:
    """A row for each seed of each trial, dense round or pruned."""
    records = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return pd.DataFrame(
        record["trial"] | {"rate": record["rate"]} | seed for record in records for seed in record["seeds"]
    )


def dense_at_rates(seeds: pd.DataFrame) -> pd.DataFrame:
    """The dense rounds of the trials that vary the learning rate alone."""
    return seeds[(seeds["batch"] == 16) & (seeds["rounds"] == 0) & (seeds["round"] == 0)]


def rates_table(seeds: pd.DataFrame, model: str) -> str:
    """Mean test metric over all seeds by cell and factor, half the 95 % interval beside it."""
    cells = seeds[seeds["model"] == model].groupby(_CELL[1:], sort=False)
    auto = seeds[(seeds["model"] == model) & (seeds["factor"] == 1)]["rate"].iloc[0]
    header = ["task", "position", *(f"x {factor:g}" for factor in sorted(FACTORS)), "best on validation"]
    rows = [
        [
            task,
            position,
            *(_interval(cell[cell["factor"] == factor]) for factor in sorted(FACTORS)),
            f"x {best(cell):g}",
        ]
        for (task, position), cell in cells
    ]
    return f"### {model}: auto is {auto:g}\n\n{table(header, rows)}"


def _interval(cell: pd.DataFrame) -> str:
    if cell.empty:
        return "-"
    values = cell["test"].to_numpy(float)
    low, high = t_interval([values], 0.95)
    return f"{values.mean():.3f} ± {(high - low) / 2:.3f}"


def best(cell: pd.DataFrame) -> float:
    """The factor of the highest mean on validation over the seeds that choose; the nearest to auto where tied."""
    means = cell[cell["seed"].isin(CHOOSING)].groupby("factor")["validation"].mean().round(9)
    return float(min(means.index, key=lambda factor: (-means[factor], FACTORS.index(factor))))


def losses_to_best(seeds: pd.DataFrame) -> dict[str, list[np.ndarray]]:
    """Of each model, by cell: test at the best rate less test at auto, of the seeds that did not choose."""
    judged: dict[str, list[np.ndarray]] = {}
    for (model, *_), cell in seeds.groupby(_CELL, sort=False):
        others = cell[~cell["seed"].isin(CHOOSING)].set_index("seed")
        test = {factor: others[others["factor"] == factor]["test"] for factor in (1.0, best(cell))}
        judged.setdefault(str(model), []).append((test[best(cell)] - test[1.0]).to_numpy(float))
    return judged


def _loses(low: float, high: float) -> str:
    if low > MARGIN:
        return "yes"
    return "no" if high <= MARGIN else "open"


def auto_table(seeds: pd.DataFrame) -> str:
    """Whether auto loses more than the margin, by model."""
    rows = []
    for model, differences in losses_to_best(seeds).items():
        low, high = t_interval(differences, 0.95)
        mean = estimate(differences)
        rows.append([model, len(differences), f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}", _loses(low, high)])
    return table(["model", "cells", "best less auto", "95 % interval", f"auto loses over {MARGIN:g}"], rows)


def course_table(seeds: pd.DataFrame) -> str:
    """Validation loss and metric at auto by updates, and where the loss was lowest."""
    auto = seeds[seeds["factor"] == 1]
    steps = [10, 20, 30, 50, 70, 100]
    rows = []
    for cell, members in auto.groupby(_CELL, sort=False):
        courses = [{step: (loss, metric) for step, loss, metric in course} for course in members["course"]]
        means = [f"{fmean(c[s][0] for c in courses):.3f} ({fmean(c[s][1] for c in courses):.3f})" for s in steps]
        lowest = sorted(min(course, key=lambda step: course[step][0]) for course in courses)
        rows.append([*cell, *means, f"{lowest[0]} to {lowest[-1]}"])
    return table([*_CELL, *map(str, steps), "lowest loss at"], rows)


def varied_table(seeds: pd.DataFrame, trials: pd.DataFrame, column: str) -> str:
    """Mean test metric by one setting that was varied at auto."""
    rows = [
        [*cell, *(_interval(members[members[column] == value]) for value in sorted(trials[column].unique()))]
        for cell, members in trials.groupby(_CELL, sort=False)
    ]
    return table([*_CELL, *(f"{column} {value}" for value in sorted(trials[column].unique()))], rows)


def parts(seeds: pd.DataFrame) -> list[str]:
    """The page below its facts."""
    dense = dense_at_rates(seeds)
    present = [model for model in MODELS if model in set(dense["model"])]
    content = [
        "## Learning rates, as multiples of auto: test metric, mean of six seeds ± half a 95 % interval",
        *(rates_table(dense, model) for model in present),
        "## Is auto worse than the best rate?",
        "The best rate of a cell (task and position) is chosen by validation on seeds 0 to 2, and both are judged by "
        "test on seeds 3 to 5; the interval takes cells as strata.",
        auto_table(dense),
        "## How many updates?",
        "Validation loss (metric) after so many updates at auto, means of six seeds; nothing was stopped early.",
        course_table(dense),
    ]
    batches = seeds[(seeds["factor"] == 1) & (seeds["rounds"] == 0) & (seeds["round"] == 0)]
    if batches["batch"].nunique() > 1:
        content += ["## Examples per update, at 1,600 examples read", varied_table(seeds, batches, "batch")]
    pruned = seeds[seeds["round"] == 1]
    if not pruned.empty:
        content += ["## Pieces per token: the ticket of one round", varied_table(seeds, pruned, "pieces")]
    return content


def facts(seeds: pd.DataFrame, notes: Sequence[str]) -> Mapping[str, Any]:
    """What stands above the tables."""
    return {
        "command": command("defaults.page"),
        "trained": "`python -m benchmarks.defaults.run MODEL --models FOLDER --data FOLDER --out RESULTS`",
        "data": "256 training, 128 validation, 512 test rows; 100 updates of 16, 20 prompt tokens, AdamW; seeds 0 to 5",
        "where": "; ".join(notes),
    }


def main(results: Path = RESULTS, out: Path | None = None) -> None:
    """Print the page, and write it where asked."""
    seeds = read(results)
    notes = results.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    publish("Default settings, measured", facts(seeds, notes), parts(seeds), out)


if __name__ == "__main__":
    typer.run(main)
