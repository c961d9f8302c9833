"""Study M: is what training adds to a prompt of a language model of low rank, and does it hang on the optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.studies.effects import OWN, Question, units
from analyses.studies.rank_shares import DIRECTIONS, MARGIN, NEEDED, RANK, SOURCE, beside, needed, of_noise
from analyses.studies.study import UNITS, PartRuns, Study, Tables, short_models
from analyses.studies.subsets import by_subset
from prunekit.analysis import tables
from prunekit.runs.snapshot import Snapshot

_MATRICES = ("values", "change")
_EXAMPLES = 64
#: The arms, by optimiser.
_ADAMW, _SGD, _NOISE = "AdamW", "plain gradient descent", "noise"
_ARMS = {"adamw": _ADAMW, "sgd": _SGD}
#: The part that has prompts of several lengths.
_LENGTHS = "lengths"

QUESTIONS = (
    Question(
        "change", "What AdamW adds to a prompt is of low rank, beside noise", SOURCE, _ADAMW, _NOISE, MARGIN, -1,
        RANK,
    ),
    Question(
        "change by sgd", "What plain gradient descent adds is of low rank, beside noise", SOURCE, _SGD, _NOISE,
        MARGIN, -1, RANK,
    ),
    Question(
        "optimiser", "The optimiser decides: plain gradient descent adds fewer directions than AdamW", OWN, _SGD,
        _ADAMW, MARGIN, -1, RANK,
    ),
    Question(
        "prompt", "The prompt that AdamW learns is of low rank, beside noise", SOURCE, _ADAMW, _NOISE, MARGIN, -1,
        RANK,
    ),
    Question(
        "functional", "The model needs at most a quarter of the directions of AdamW's change", SOURCE, "needed",
        "a quarter", DIRECTIONS, -1, NEEDED,
    ),
)  # fmt: skip


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """Ranks as shares of noise's by optimiser, directions that the model needs, and ranks by length.

    Of the pilot, plain gradient descent at the rate that does best on validation stands for it.
    """
    lengths = {name: _shares(part) for name, part in parts.items() if name == _LENGTHS}
    of_tasks = [part for name, part in parts.items() if name != _LENGTHS]
    if not of_tasks:
        return lengths
    spectra = pd.concat([_shares(part) for part in of_tasks], ignore_index=True)
    directions = pd.concat([_needed(part) for part in of_tasks], ignore_index=True)
    rates = _rates(spectra)
    main = spectra.merge(_best(rates), on=["optimizer", "learning_rate"])
    main = main.assign(arm=main["optimizer"].map(_ARMS))
    change, values = (main[main["matrix"] == matrix] for matrix in ("change", "values"))
    of_questions = [
        units("change", beside(_by(change, "adamw"), _ADAMW, _NOISE, 1.0), "arm", "share"),
        units("change by sgd", beside(_by(change, "sgd"), _SGD, _NOISE, 1.0), "arm", "share"),
        units("optimiser", change, "arm", "share"),
        units("prompt", beside(_by(values, "adamw"), _ADAMW, _NOISE, 1.0), "arm", "share"),
        units("functional", beside(directions, "needed", "a quarter", 0.25), "arm", "share"),
    ]
    tables = {UNITS: pd.concat(of_questions, ignore_index=True), "spectra": spectra, "needed": directions}
    return tables | {"rates": rates} | lengths


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """Shares of noise's rank and accuracy, by task and by length, and how many directions the model needs."""
    by_task = results["spectra"].pivot_table(index=["optimizer", "matrix"], columns="task", values="share", sort=False)
    reached = results["spectra"].pivot_table(index="optimizer", columns="task", values="test", sort=False)
    lengths = results[_LENGTHS]
    by_length = lengths.pivot_table(index=["optimizer", "matrix"], columns="tokens", values="share", sort=False)
    reached_by_length = lengths.pivot_table(index="optimizer", columns="tokens", values="test", sort=False)
    directions = results["needed"].groupby("task", sort=False)[["rank", "share"]].mean()
    return [
        ("Effective rank as a share of noise's, means over subsets and seeds", by_task.reset_index()),
        ("Test accuracy, means over subsets and seeds", reached.reset_index()),
        ("Effective rank as a share of noise's by prompt tokens, SST-2, one prompt each", by_length.reset_index()),
        ("What those prompts reached, test accuracy", reached_by_length.reset_index()),
        ("Directions of AdamW's change that the model needs, of 20, means", directions.reset_index()),
    ]


def _by(table: pd.DataFrame, optimizer: str) -> pd.DataFrame:
    return table[table["optimizer"] == optimizer]


def _shares(part_runs: PartRuns) -> pd.DataFrame:
    """Of every prompt, and of what training added to it.

    Columns:
        task, model, seed, optimizer, learning_rate, tokens, matrix; rank (entropy), share (of the hardest noise
        null's), loss (lowest on validation, nats), test (accuracy).
    """
    by_run = []
    for path, settings, stage in part_runs.runs:
        run = tables.opened(path)
        arms = tables.arms(run, stage)
        dense = arms.loc[arms["arm"] == "dense", ["seed", "test"]]
        log = tables.logs([run])
        losses = log[(log["split"] == "validation") & (log["metric"] == "loss")].groupby("seed")["value"].min()
        measured = of_noise(tables.subjects(run), _MATRICES).merge(dense, on="seed").rename(columns={"value": "rank"})
        measured = measured.assign(loss=measured["seed"].map(losses), **_of_run(run))
        by_run.append(by_subset(measured, settings))
    columns = [
        "task", "model", "seed", "optimizer", "learning_rate", "tokens", "matrix", "rank", "share", "loss", "test",
    ]  # fmt: skip
    return short_models(pd.concat(by_run, ignore_index=True)[columns])


def _of_run(run: Snapshot) -> dict[str, Any]:
    """What sets prompts of this study apart."""
    settings = run.settings()
    training = settings["training"]
    return {name: training[name] for name in ("optimizer", "learning_rate")} | {"tokens": settings["prompt"]["tokens"]}


def _rates(spectra: pd.DataFrame) -> pd.DataFrame:
    """Columns: optimizer, learning_rate; loss (on validation, mean), test."""
    prompts = spectra[spectra["matrix"] == "change"]
    return prompts.groupby(["optimizer", "learning_rate"], sort=False)[["loss", "test"]].mean().reset_index()


def _best(rates: pd.DataFrame) -> pd.DataFrame:
    """Columns: optimizer, learning_rate: of each optimiser the one of lowest loss."""
    return rates.sort_values("loss", kind="stable").drop_duplicates("optimizer")[["optimizer", "learning_rate"]]


def _needed(part_runs: PartRuns) -> pd.DataFrame:
    """Columns: task, model, seed; rank and share of the directions of AdamW's change from which on nothing is lost."""
    adamw = tuple(run for run in part_runs.runs if run[1]["training.optimizer"] == "adamw")
    settings = {str(path): by_name for path, by_name, _ in adamw}
    table = needed(replace(part_runs, runs=adamw), ("change",), _EXAMPLES)
    table = table[table["criterion"] == "loss"]
    by_run = [by_subset(rows, settings[str(path)]) for path, rows in table.groupby("run", sort=False)]
    return short_models(pd.concat(by_run, ignore_index=True)[["task", "model", "seed", "rank", "share"]])


def prompts(results: Tables) -> pd.DataFrame:
    """What AdamW trains, a row for each prompt."""
    spectra = results["spectra"]
    return spectra[(spectra["optimizer"] == "adamw") & (spectra["matrix"] == "change")]


STUDY = Study(
    "lm-rank", "Is what a language model's prompt learns of low rank?", Path(__file__).parent, QUESTIONS, collect,
    describe, prompts,
)  # fmt: skip
