"""Comparisons that a study names beforehand, and what becomes of them: tables of units in, effects and verdicts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analyses.studies.subsets import parted
from prunekit.analysis import verdicts
from prunekit.support import statistics
from prunekit.support.errors import DataError
from prunekit.support.inference import Inference, infer

#: The source of a claim that no paper makes.
OWN = "this project's expectation"
#: The smallest difference in accuracy that is of interest: one point. On the testbed, where a prompt learns its task
#: whole or hardly at all, studies can tell one training in ten: enough to describe, too coarse to decide a claim.
POINT, LEARNED = 0.01, 0.1
#: What most questions compare.
ACCURACY = "accuracy"
#: The model that is no real one: claims are answered for all others first.
TESTBED = "testbed"

UNITS = ("question", "model", "task", "subset", "seed", "arm", "value")
EFFECTS = (
    "question", "claim", "source", "compared", "model", "tasks", "family", "subsets", "units", "spread", "first",
    "second", "difference", "low", "high", "least", "most", "p", "p_corrected", "p_equivalence", "margin", "measure",
    "direction", "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One comparison of two arms, named before it is looked at.

    Attributes:
        name: short, of its rows in the table of units.
        claim: the sentence that is tested.
        source: who makes it, or OWN.
        first: an arm.
        second: the arm that it is compared with; the claim is that the first is larger (`direction` 1) or smaller (-1).
        margin: the smallest difference that the study can tell, in units of the value; two arms closer than it are
            equivalent.
        measure: what the value is, such as ACCURACY or "share of tokens".
    """

    name: str
    claim: str
    source: str
    first: str
    second: str
    margin: float
    direction: Literal[1, -1] = 1
    measure: str = ACCURACY

    @property
    def decides(self) -> bool:
        """Whether there is a verdict: a claim about accuracy is decided at one point, or measured without one."""
        return self.measure != ACCURACY or self.margin <= POINT

    @property
    def compared(self) -> str:
        """The two arms, such as "ticket less dense"."""
        return f"{self.first} less {self.second}"


def units(question: str, table: pd.DataFrame, arm: str, value: str = "test") -> pd.DataFrame:
    """Rows of the table of units.

    Args:
        table: one row per task, seed and arm, with the model's name; a task of several training subsets is named by
            them.
        arm: its column of arms.
        value: its column of what is compared.

    Columns:
        question; model; task; subset (number of its training subset); seed; arm; value. What has no finite value is
            left out.

    Raises:
        DataError: where an arm has two values for one unit.
    """
    rows = pd.DataFrame(
        {
            "question": question,
            "model": table["model"].astype(str),
            **parted(table["task"]),
            "seed": table["seed"].astype(int),
            "arm": table[arm].astype(str),
            "value": table[value].astype(float),
        }
    )
    finite: pd.DataFrame = rows[np.isfinite(rows["value"])].reset_index(drop=True)
    repeated = finite[finite.duplicated(["model", "task", "subset", "seed", "arm"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise DataError(f"{question}: {first['arm']} has two values for seed {first['seed']} of {first['task']}")
    return finite


def between(questions: Sequence[Question], table: pd.DataFrame, value: str = "test") -> pd.DataFrame:
    """Rows of the table of units: those of every question's two arms, named by the table's column `arm`.

    Args:
        table: as of `units`.
        value: as of `units`.

    Columns:
        those of `units`.
    """
    return pd.concat(
        [
            units(question.name, table[table["arm"].isin([question.first, question.second])], "arm", value)
            for question in questions
        ],
        ignore_index=True,
    )


def effects(questions: Sequence[Question], table: pd.DataFrame) -> pd.DataFrame:
    """What became of each question on each model, real models first.

    The first question is the primary comparison on the first model that has it; Holm's correction is over all other
    rows.

    Args:
        table: rows of `units`.

    Columns:
        question, claim, source; compared (such as "ticket less dense"); model; tasks (names); family ("primary",
            "corrected"); subsets, units (counts of training subsets and pairs); spread (what the interval is over, of
            `Inference`); first, second (means of the tasks' means over those pairs); difference; low, high (95 %
            interval, cut at what a difference can be; NaN where no spread was seen); least, most (of the training
            subsets' own mean differences); p; p_corrected (NaN for the primary); p_equivalence (within +-margin);
            margin; measure; direction (1 where "larger" is claimed, -1 for "smaller"); verdict (of
            `prunekit.analysis.verdicts.judged`; "no verdict" of a question that does not decide, which still counts in
            the correction).
    """
    asked = [(question, model) for model in _models(table) for question in questions if _has(table, question, model)]
    asked += [(question, "") for question in questions if question not in {question for question, _ in asked}]
    primary = next(place for place, (question, _) in enumerate(asked) if question == questions[0])
    rows = [_tested(question, model, _pairs(table, question, model)) for question, model in asked]
    others = [place for place in range(len(rows)) if place != primary]
    corrected = dict(zip(others, statistics.holm(np.array([rows[place][0]["p"] for place in others])), strict=True))
    for place, ((question, _), (row, inference)) in enumerate(zip(asked, rows, strict=True)):
        row["family"] = "primary" if place == primary else "corrected"
        row["p_corrected"] = corrected.get(place, float("nan"))
        row["verdict"] = (
            verdicts.judged(inference, deciding(row), question.margin, direction=question.direction)
            if question.decides
            else verdicts.NO_VERDICT
        )
    return pd.DataFrame([row for row, _ in rows])[list(EFFECTS)]


def deciding(row: Mapping[Any, Any]) -> float:
    """The p of a row of `effects` that decides: the corrected one, but for the primary comparison."""
    return float(row["p"] if row["family"] == "primary" else row["p_corrected"])


def differences(question: Question, table: pd.DataFrame) -> dict[str, list[list[statistics.Floats]]]:
    """Of each model that has the question, of each task, of each training subset: the paired differences.

    Args:
        table: rows of `units`.
    """
    return {model: of_tasks(_pairs(table, question, model)) for model in _models(table) if _has(table, question, model)}


def of_tasks(pairs: pd.DataFrame) -> list[list[statistics.Floats]]:
    """Of each task, of each training subset: the paired differences.

    Args:
        pairs: columns first and second, by task, subset and seed.
    """
    # rounded, so that 0.9 - 0.8 and 0.8 - 0.7 are the same difference
    paired = (pairs["first"] - pairs["second"]).round(12)
    return [
        [of_subset.to_numpy(dtype=float) for _, of_subset in of_task.groupby(level="subset")]
        for _, of_task in paired.groupby(level="task")
    ]


def task_means(pairs: pd.DataFrame) -> pd.DataFrame:
    """Of each task the mean over the means of its training subsets.

    Args:
        pairs: as of `of_tasks`.

    Columns:
        first, second; by task.
    """
    return pairs.groupby(level=["task", "subset"]).mean().groupby(level="task").mean()


def _tested(question: Question, model: str, pairs: pd.DataFrame) -> tuple[dict[str, Any], Inference]:
    """A row of `effects` but for what depends on the other rows."""
    inference = infer(of_tasks(pairs))
    low, high = statistics.cut(inference.interval(), _possible(question.measure))
    means = task_means(pairs).mean()
    reached = inference.subsets or (float("nan"),)
    row = {
        "question": question.name, "claim": question.claim, "source": question.source, "compared": question.compared,
        "model": model, "tasks": ", ".join(pairs.index.unique("task")), "subsets": len(inference.subsets),
        "units": inference.units, "spread": inference.spread, "first": means["first"], "second": means["second"],
        "difference": inference.estimate, "low": low, "high": high, "least": min(reached), "most": max(reached),
        "p": inference.p, "p_equivalence": inference.equivalence(question.margin), "margin": question.margin,
        "measure": question.measure, "direction": question.direction,
    }  # fmt: skip
    return row, inference


def _possible(measure: str) -> tuple[float, float]:
    """The least and the most that a difference of two values of a measure can be."""
    if measure == ACCURACY or measure.startswith("share"):
        return -1.0, 1.0
    return (-2.0, 2.0) if measure.endswith("correlation") else (-np.inf, np.inf)


def _models(table: pd.DataFrame) -> list[str]:
    """Real ones before the testbed's, else as they come."""
    return sorted(map(str, table["model"].unique()), key=lambda model: model == TESTBED)


def _has(table: pd.DataFrame, question: Question, model: str) -> bool:
    return bool(((table["question"] == question.name) & (table["model"] == model)).any())


def _pairs(table: pd.DataFrame, question: Question, model: str) -> pd.DataFrame:
    """The units that have both arms, by task, subset and seed; columns first and second."""
    rows = table[(table["question"] == question.name) & (table["model"] == model)]
    wide = rows.pivot(index=["task", "subset", "seed"], columns="arm", values="value")
    wide = wide.reindex(columns=[question.first, question.second]).dropna()
    wide.columns = pd.Index(["first", "second"])
    return wide
