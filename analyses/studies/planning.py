"""Is a study large enough? The pilot's spread in, simulated power of every question out, before the study runs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analyses.studies.effects import ALPHA, deviations
from analyses.studies.study import Study
from prunekit.analysis import power
from prunekit.support.errors import DataError

#: A question with less gets more units, or cut.
ENOUGH = 0.8
POWER = ("question", "strata", "units_each", "pilot_units", "deviation", "effect", "difference", "equivalence")


def simulated(study: Study, units_each: int, draws: int = 500) -> pd.DataFrame:
    """The power of every question with so many units in each stratum, from the pilot's spread.

    Columns:
        question; strata; units_each; pilot_units (pairs in the pilot); deviation (mean over strata of the deviation of
            paired differences); effect (smallest of interest); difference, equivalence (shares, of `power.Power`; the
            corrected questions with the whole family's correction).

    Raises:
        DataError: without a pilot, or where it has no spread for a question.
    """
    pilot = study.pilot()
    if pilot is None:
        raise DataError(f"{study.folder}: no pilot; run it with python -m analyses.studies pilot {study.name}")
    rows = []
    for number, question in enumerate(study.questions):
        spread = deviations(question, pilot)
        if not spread or not np.isfinite(spread).all():
            raise DataError(f"{study.name}: the pilot has no two units in every stratum for {question.name}")
        family = max(1, len(study.questions) - 1) if number else 1
        simulated_power = power.simulate(
            spread, units_each, question.margin, comparisons=family, alpha=ALPHA, draws=draws, seed=number
        )
        pilot_units = pilot[(pilot["question"] == question.name) & (pilot["arm"] == question.first)]
        rows.append((
            question.name, len(spread), units_each, len(pilot_units), float(np.mean(spread)), question.margin,
            simulated_power.difference, simulated_power.equivalence,
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(POWER))
