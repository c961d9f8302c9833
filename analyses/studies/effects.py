"""Comparisons that a study names beforehand, and what becomes of them: tables of units in, effects and verdicts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from prunekit.analysis import verdicts
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

UNITS = ("question", "stratum", "unit", "arm", "value")
EFFECTS = (
    "question", "claim", "source", "compared", "family", "strata", "units", "first", "second", "difference", "low",
    "high", "least", "most", "further_low", "further_high", "p", "p_corrected", "p_equivalence", "margin", "measure",
    "direction", "outcome", "verdict",
)  # fmt: skip
_LARGER, _SMALLER = "larger", "smaller"


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


def units(question: str, table: pd.DataFrame, arm: str, value: str = "test", unit: str = "seed") -> pd.DataFrame:
    """Rows of the table of units.

    Args:
        table: one row per task, unit and arm.
        arm: its column of arms.
        value: its column of what is compared.
        unit: its column of units.

    Columns:
        question; stratum (task); unit (seed); arm; value. What has no finite value is left out.

    Raises:
        DataError: where an arm has two values for one unit.
    """
    rows = pd.DataFrame(
        {
            "question": question,
            "stratum": table["task"].astype(str),
            "unit": table[unit].astype(int),
            "arm": table[arm].astype(str),
            "value": table[value].astype(float),
        }
    )
    finite: pd.DataFrame = rows[np.isfinite(rows["value"])].reset_index(drop=True)
    repeated = finite[finite.duplicated(["stratum", "unit", "arm"])]
    if len(repeated):
        first = repeated.iloc[0]
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
    return pd.concat(
        [
            units(question.name, table[table["arm"].isin([question.first, question.second])], "arm", value)
            for question in questions
        ],
        ignore_index=True,
    )


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
            "smaller"); outcome ("all n equal", "larger", "smaller", "equivalent within m", "inconclusive"); verdict
            ("holds", "other way", "equivalent within m", "inconclusive"; "no verdict" of a question that does not
            decide, which still counts in the correction).
    """
    rows = [_tested(question, _pairs(table, question)) for question in questions]
    corrected = statistics.holm(np.array([row["p"] for row in rows[1:]]))
    families = zip(rows, questions, (float("nan"), *corrected), strict=True)
    for number, (row, question, p) in enumerate(families):
        row["family"], row["p_corrected"] = "corrected" if number else "primary", p
        outcome = _outcome(row)
        row["verdict"] = verdict(outcome, question.direction) if question.decides else verdicts.NO_VERDICT
        row["outcome"] = row["outcome"] or outcome
    return pd.DataFrame(rows)[list(EFFECTS)]


def _tested(question: Question, pairs: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """A row of `effects` but for what depends on the other questions."""
    strata = [(of_stratum["first"] - of_stratum["second"]).to_numpy().round(12) for of_stratum in pairs.values()]
    possible = _possible(question.measure)
    low, high = statistics.cut(statistics.t_interval(strata, 0.95), possible)
    further_low, further_high = statistics.cut(statistics.strata_interval(strata, 0.95), possible)
    means = [float(differences.mean()) for differences in strata] or [float("nan")]
    units_in_all = sum(map(len, strata))
    return {
        "question": question.name, "claim": question.claim, "source": question.source,
        "compared": question.compared, "strata": len(strata), "units": units_in_all,
        "first": statistics.estimate([of_stratum["first"].to_numpy() for of_stratum in pairs.values()]),
        "second": statistics.estimate([of_stratum["second"].to_numpy() for of_stratum in pairs.values()]),
        "difference": statistics.estimate(strata), "low": low, "high": high, "least": min(means), "most": max(means),
        "further_low": further_low, "further_high": further_high, "p": statistics.sign_flip(strata),
        "p_equivalence": statistics.equivalence(strata, question.margin), "margin": question.margin,
        "measure": question.measure, "direction": question.direction,
        "outcome": verdicts.all_equal(units_in_all) if statistics.all_equal(strata) else "",
    }  # fmt: skip


def _possible(measure: str) -> tuple[float, float]:
    """The least and the most that a difference of two values of a measure can be."""
    if measure == ACCURACY or measure.startswith("share"):
        return -1.0, 1.0
    return (-2.0, 2.0) if measure.endswith("correlation") else (-np.inf, np.inf)


def deciding(row: Mapping[Any, Any]) -> float:
    """The p of a row of `effects` that decides: the corrected one, but for the primary comparison."""
    return float(row["p"] if row["family"] == "primary" else row["p_corrected"])


def verdict(outcome: str, direction: int) -> str:
    """Of a claim of a difference: that it holds, that the difference goes the other way, or what else was found.

    Args:
        outcome: "larger", "smaller", or one of the verdicts that have no direction.
        direction: 1 where the claim is "larger", -1 where it is "smaller".
    """
    if outcome not in (_LARGER, _SMALLER):
        return outcome
    return verdicts.HOLDS if (outcome == _LARGER) == (direction == 1) else verdicts.OTHER_WAY


def deviations(question: Question, table: pd.DataFrame) -> list[float]:
    """Of the paired differences within each stratum: what a pilot says of the spread."""
    pairs = _pairs(table, question).values()
    return [float((of_stratum["first"] - of_stratum["second"]).std(ddof=1)) for of_stratum in pairs]


def _pairs(table: pd.DataFrame, question: Question) -> Mapping[str, pd.DataFrame]:
    """By stratum: the units that have both arms, columns first and second."""
    rows = table[table["question"] == question.name]
    wide = rows.pivot(index=["stratum", "unit"], columns="arm", values="value")
    wide = wide.reindex(columns=[question.first, question.second]).dropna()
    wide.columns = pd.Index(["first", "second"])
    return {str(stratum): pairs for stratum, pairs in wide.groupby(level="stratum")}


def _outcome(row: Mapping[Any, Any]) -> str:
    """Which way the difference goes, where that is beyond chance and of a size that matters."""
    if row["units"] < FEWEST_UNITS:
        return verdicts.INCONCLUSIVE
    # a difference below the smallest of interest, however sure, is no support for a claim
    if row["p_equivalence"] < ALPHA:
        return verdicts.equivalent(row["margin"])
    if deciding(row) < ALPHA:
        return _LARGER if row["difference"] > 0 else _SMALLER
    return verdicts.INCONCLUSIVE
