"""Study E: all parameterisations on one budget of updates, each at its best learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analyses.studies.effects import LEARNED, Question, between
from analyses.studies.study import UNITS, PartRuns, Study, Tables, by_task, short_models
from analyses.studies.subsets import by_subset
from prunekit.analysis import tables

# method: who claims that it beats plain prompt tuning
_CLAIMED = {
    "dpt": "DPT",
    "residual": "Residual prompt tuning",
    "dept": "DePT",
    "adept": "ADePT",
    "ept": "EPT",
    "bilinear": "Bilinear prompts",
    "structured": "Structured prompts",
    "ulpt": "ULPT",
    "singular": "DPT's own study",
}


def questions(margin: float, where: str = "") -> tuple[Question, ...]:
    """Of each method whether it beats the plain prompt.

    Args:
        margin: the smallest difference of interest.
        where: before each claim, such as "SST-2: ".
    """
    return tuple(
        Question(
            method, f"{where}{method} beats plain prompt tuning at equal updates", source, method, "direct", margin
        )
        for method, source in _CLAIMED.items()
    )


QUESTIONS = questions(LEARNED)


def collect(parts: Mapping[str, PartRuns], answering: Sequence[Question] = QUESTIONS) -> dict[str, pd.DataFrame]:
    """Every training, of which the questions are about those at each method's best rate."""
    trainings = pd.concat([_trainings(part) for part in parts.values()], ignore_index=True)
    chosen = best_rates(trainings)
    arms = chosen.assign(arm=chosen["method"])
    return {UNITS: between(answering, arms), "trainings": trainings}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """What each method trains, at which rate, and what it reached."""
    chosen = best_rates(results["trainings"])
    rows = chosen.groupby("method", sort=False).agg(
        rate=("rate", "first"), parameters=("parameters", "first"), seconds=("seconds", "mean"),
        test=("test", "mean"),
    )  # fmt: skip
    return [
        ("Learning rate, parameters, seconds of one training, and test accuracy over all tasks", rows.reset_index()),
        ("Test accuracy by task, means over seeds", by_task(chosen, arm="method")),
    ]


def best_rates(trainings: pd.DataFrame) -> pd.DataFrame:
    """Of each method the rows at the rate that is best on validation, over all tasks and seeds together.

    The pilot has several rates of each method, the study the one that the pilot found best. Of equals the smallest
    is taken. A rate at which a training diverged is not chosen.
    """
    means = trainings.groupby(["method", "rate"])["validation"].agg(lambda column: column.mean(skipna=False))
    best = means.reset_index().sort_values(["validation", "rate"], ascending=[False, True], kind="stable")
    best = best.dropna(subset=["validation"]).drop_duplicates("method")
    return trainings.merge(best[["method", "rate"]], on=["method", "rate"])


def _trainings(part_runs: PartRuns) -> pd.DataFrame:
    """Columns: task, model, method, rate, seed, parameters, seconds, validation, test."""
    by_run = []
    for path, settings, _ in part_runs.runs:
        rounds = tables.rounds([tables.opened(path)])
        rounds = by_subset(rounds[rounds["arm"] == "dense"], settings)
        # members that are trained side by side share their seconds
        by_run.append(
            rounds.assign(rate=settings["training.learning_rate"], seconds=rounds["seconds"] / rounds["members"])
        )
    columns = ["task", "model", "method", "rate", "seed", "parameters", "seconds", "validation", "test"]
    return short_models(pd.concat(by_run, ignore_index=True)[columns])


def prompts(results: Tables) -> pd.DataFrame:
    """Plain ones, at their best rate."""
    chosen = best_rates(results["trainings"])
    return chosen[chosen["method"] == "direct"]


STUDY = Study("family", "The family of parameterisations", Path(__file__).parent, QUESTIONS, collect, describe, prompts)
