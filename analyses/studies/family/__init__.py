"""Study E: all parameterisations on one budget of updates, each at its best learning rate, pruned and unpruned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analyses import tables
from analyses.studies.effects import Question, units
from analyses.studies.study import UNITS, Found, Study, Tables

_MARGIN = 0.01

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

QUESTIONS = tuple(
    Question(method, f"{method} beats plain prompt tuning at equal updates", source, method, "direct", _MARGIN)
    for method, source in _CLAIMED.items()
)


def collect(found: Mapping[str, Found]) -> dict[str, pd.DataFrame]:
    """Every training; and of each method on each task those at the rate that is best on selection, pruned or not."""
    # the pilot has several rates of each method, the study the one that the pilot found best
    trainings = pd.concat([_trainings(part) for part in found.values()], ignore_index=True)
    chosen = best_rates(trainings)
    dense = chosen[chosen["round"] == 0].assign(arm=lambda table: table["method"])
    made = [units(one.name, dense[dense["arm"].isin([one.first, one.second])], "arm") for one in QUESTIONS]
    return {UNITS: pd.concat(made, ignore_index=True), "trainings": trainings, "chosen": chosen}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """What each method trains, at which rate, and what it reached, pruned and not."""
    chosen = results["chosen"]
    dense, pruned = (chosen[chosen["round"] == number] for number in (0, 1))
    by = dense.groupby("method", sort=False)
    rows = by.agg(parameters=("parameters", "first"), seconds=("seconds", "mean"), report=("report", "mean"))
    rows["pruned"] = pruned.groupby("method")["report"].mean()
    rows["density"] = pruned.groupby("method")["density"].mean()
    rates = dense.pivot_table(index="method", columns="task", values="rate", sort=False)
    return [
        ("Parameters, seconds of one training, report accuracy, and that of the pruned ticket", rows.reset_index()),
        ("Learning rate, chosen on the pilot's selection split", rates.reset_index()),
    ]


def best_rates(trainings: pd.DataFrame) -> pd.DataFrame:
    """Of each method on each task the rows at the rate whose dense prompts are best on selection, seeds together.

    Of equals the smallest rate. A rate at which a seed diverged is not chosen.
    """
    dense = trainings[trainings["round"] == 0]
    means = dense.groupby(["task", "method", "rate"])["selection"].agg(lambda column: column.mean(skipna=False))
    best = means.reset_index().sort_values(["selection", "rate"], ascending=[False, True], kind="stable")
    best = best.dropna(subset=["selection"]).drop_duplicates(["task", "method"])
    return trainings.merge(best[["task", "method", "rate"]], on=["task", "method", "rate"])


def _trainings(found: Found) -> pd.DataFrame:
    """Columns: task, method, rate, seed, round (0 dense, 1 pruned), parameters, density, seconds, selection, report."""
    made = []
    for path, settings, stage in found.runs:
        rounds = tables.rounds([tables.opened(path)])
        rounds = rounds[rounds["arm"].isin(["dense", "ticket"]) & rounds["stage"].isin(["", stage])]
        # members that are trained side by side share their seconds
        made.append(
            rounds.assign(rate=settings["training.learning_rate"], seconds=rounds["seconds"] / rounds["members"])
        )
    columns = ["task", "method", "rate", "seed", "round", "parameters", "density", "seconds", "selection", "report"]
    return pd.concat(made, ignore_index=True)[columns]


STUDY = Study("family", "The family of parameterisations", Path(__file__).parent, QUESTIONS, collect, describe)
