"""Comparisons that a study names beforehand, and what becomes of them: tables of units in, effects and verdicts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from prunekit.support import statistics
from prunekit.support.errors import DataError

#: The source of a claim that no paper makes.
OWN = "this project's expectation"
#: No verdict rests on fewer.
FEWEST_UNITS = 6
#: The smallest difference in accuracy that is of interest: one point. On the testbed, where a prompt learns its task
#: whole or hardly at all, studies can tell one training in ten: enough to describe, too coarse to decide a claim.
POINT, LEARNED = 0.01, 0.1
#: What most questions compare.
ACCURACY = "accuracy"
#: Of a p that decides.
ALPHA = 0.05

Verdict = Literal["holds", "does not hold", "cannot be said", "no verdict"]

UNITS = ("question", "stratum", "unit", "arm", "value")
EFFECTS = (
    "question", "claim", "source", "compared", "family", "strata", "units", "first", "second", "difference", "low",
    "high", "least", "most", "further_low", "further_high", "p", "p_corrected", "p_equivalence", "margin", "measure",
    "direction", "found", "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One comparison of two arms, named before it is looked at.

    Attributes:
        name: short, of its rows in the table of units.
        claim: the sentence that is tested.
        source: who makes it, or OWN.
        first: arms; the claim holds where the first is larger than the second, by `direction` = 1, smaller by -1.
        second: arms; the claim holds where the first is larger than the second, by `direction` = 1, smaller by -1.
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


def units(question: str, table: pd.DataFrame, arm: str, value: str = "test", unit: str = "seed") -> pd.DataFrame:
    """Rows of the table of units.

    Args:
        table: one row per task, unit and arm.
        arm: its columns.
        value: its columns.
        unit: its columns.

    Columns:
        question; stratum (task); unit (seed); arm; value. What has no finite value is left out.

    Raises:
        DataError: where an arm has two values for one unit.
    """
    made = pd.DataFrame(
        {
            "question": question,
            "stratum": table["task"].astype(str),
            "unit": table[unit].astype(int),
            "arm": table[arm].astype(str),
            "value": table[value].astype(float),
        }
    )
    finite: pd.DataFrame = made[np.isfinite(made["value"])].reset_index(drop=True)
    if finite.duplicated(["stratum", "unit", "arm"]).any():
        first = finite[finite.duplicated(["stratum", "unit", "arm"])].iloc[0]
        raise DataError(f"{question}: {first['arm']} has two values for unit {first['unit']} of {first['stratum']}")
    return finite


def between(questions: Sequence[Question], table: pd.DataFrame, value: str = "test") -> pd.DataFrame:
    """Rows of the table of units: those of every question's two arms, named by the table's column `arm`.

    Args:
        table: as of `units`.
        value: as of `units`.

    Columns:
        those of `units`.
    """
    made = [units(one.name, table[table["arm"].isin([one.first, one.second])], "arm", value) for one in questions]
    return pd.concat(made, ignore_index=True)


def effects(questions: Sequence[Question], table: pd.DataFrame) -> pd.DataFrame:
    """What became of each question; the first is the primary comparison, Holm's correction is over all others.

    Args:
        table: rows of `units`.

    Columns:
        question, claim, source; compared (such as "ticket less dense"); family ("primary", "corrected"); strata, units
            (counts of pairs); first, second (means of the strata's means over those pairs); difference; low, high (95 %
            t interval, stratified: for further units of the same strata); least, most (of the strata's own mean
            differences); further_low, further_high (95 % t interval of those means: for further strata); intervals are
            cut at what a difference can be; p (sign flip); p_corrected (NaN for the primary); p_equivalence (two
            one-sided tests within +-margin); margin; measure; direction (1 where "larger" is claimed, -1 for
            "smaller"); found ("all n equal", "larger", "smaller", "equivalent", "not shown"); verdict ("holds", "does
            not hold", "cannot be said"; "no verdict" of a question that does not decide, which still counts in the
            correction).
    """
    rows: list[dict[str, Any]] = []
    for number, question in enumerate(questions):
        pairs = _pairs(table, question)
        strata = [(one["first"] - one["second"]).to_numpy().round(12) for one in pairs.values()]
        ends = _possible(question.measure)
        low, high = statistics.cut(statistics.t_interval(strata, 0.95), ends)
        further_low, further_high = statistics.cut(statistics.strata_interval(strata, 0.95), ends)
        means = [float(one.mean()) for one in strata] or [float("nan")]
        sides = {
            side: statistics.estimate([one[side].to_numpy() for one in pairs.values()]) for side in ("first", "second")
        }
        rows.append({
            "question": question.name, "claim": question.claim, "source": question.source,
            "compared": question.compared, "family": "corrected" if number else "primary", "strata": len(strata),
            "units": sum(map(len, strata)), **sides, "difference": statistics.estimate(strata), "low": low, "high":
            high,
            "least": min(means), "most": max(means), "further_low": further_low, "further_high": further_high,
            "p": statistics.sign_flip(strata), "p_equivalence": statistics.equivalence(strata, question.margin),
            "margin": question.margin, "measure": question.measure, "direction": question.direction,
            "found": f"all {sum(map(len, strata))} equal" if statistics.all_equal(strata) else "",
        })  # fmt: skip
    corrected = [float("nan"), *statistics.holm(np.array([row["p"] for row in rows[1:]]))]
    for row, question, p in zip(rows, questions, corrected, strict=True):
        row["p_corrected"] = p
        row["verdict"] = verdict(_found(row), question.direction) if question.decides else "no verdict"
        row["found"] = row["found"] or _found(row)
    return pd.DataFrame(rows, columns=list(EFFECTS))


def _possible(measure: str) -> tuple[float, float]:
    """The least and the most that a difference of two values of a measure can be."""
    if measure == ACCURACY or measure.startswith("share"):
        return -1.0, 1.0
    return (-2.0, 2.0) if measure.endswith("correlation") else (-np.inf, np.inf)


def deciding(row: Mapping[Any, Any]) -> float:
    """The p of a row of `effects` that decides: the corrected one, but for the primary comparison."""
    return float(row["p"] if row["family"] == "primary" else row["p_corrected"])


def verdict(found: str, direction: int) -> Verdict:
    """Of a claim of a difference: shown, or shown to be absent or the other way round, or neither.

    Args:
        direction: 1 where the claim is "larger", -1 where it is "smaller".
    """
    match found, direction:
        case ("larger", 1) | ("smaller", -1):
            return "holds"
        case "not shown", _:
            return "cannot be said"
        case _:
            return "does not hold"


def deviations(question: Question, table: pd.DataFrame) -> list[float]:
    """Of the paired differences within each stratum: what a pilot tells of the spread."""
    pairs = _pairs(table, question).values()
    return [float((one["first"] - one["second"]).std(ddof=1)) for one in pairs]


def _pairs(table: pd.DataFrame, question: Question) -> Mapping[str, pd.DataFrame]:
    """By stratum: the units that have both arms, columns first and second."""
    mine = table[table["question"] == question.name]
    wide = mine.pivot(index=["stratum", "unit"], columns="arm", values="value")
    wide = wide.reindex(columns=[question.first, question.second]).dropna()
    wide.columns = pd.Index(["first", "second"])
    return {str(name): one for name, one in wide.groupby(level="stratum")}


def _found(row: Mapping[Any, Any]) -> str:
    if row["units"] < FEWEST_UNITS:
        return "not shown"
    # a difference below the smallest of interest, however sure, is no support for a claim
    if row["p_equivalence"] < ALPHA:
        return "equivalent"
    if deciding(row) < ALPHA:
        return "larger" if row["difference"] > 0 else "smaller"
    return "not shown"
