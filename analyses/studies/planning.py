"""Is a study large enough? The pilot's spread in, simulated power of every question out, before the study runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice

import pandas as pd

from analyses.studies.effects import Question, differences
from analyses.studies.study import Study
from prunekit.analysis import power
from prunekit.analysis.stratum import Stratum, strata_of
from prunekit.support.errors import DataError
from prunekit.support.inference import Subsets

#: A question with less gets more units, or cut.
ENOUGH = 0.8
POWER = (
    "question", "model", "tasks", "subsets", "seeds_each", "pilot_units", "within", "between", "effect", "difference",
    "equivalence",
)  # fmt: skip


def simulated(
    study: Study, seeds_each: int, subsets: int | None = None, tasks: int | None = None, draws: int = 500
) -> pd.DataFrame:
    """The power of every question on each model with so many seeds on each training subset, from the pilot's strata.

    Args:
        study: with a pilot.
        seeds_each: on each training subset.
        subsets: of each task of which the pilot has several; by default as many as the pilot has.
        tasks: that the study has; those that the pilot has not are taken to spread as its own do, in turn.
        draws: simulated studies.

    Columns:
        question; model; tasks, subsets (counts); seeds_each; pilot_units (pairs in the pilot); within, between (mean
            over tasks of the deviation of paired differences within and between training subsets); effect (smallest of
            interest); difference, equivalence (shares, of `power.Power`; all but the primary with the whole family's
            correction).

    Raises:
        DataError: without a pilot, or where it has no spread for a question.
    """
    pilot = study.pilot()
    if pilot is None:
        raise DataError(f"{study.folder}: no pilot; run it with python -m analyses.studies pilot {study.name}")
    asked = [
        (question, model, of_tasks)
        for question in study.questions
        for model, of_tasks in differences(question, pilot).items()
    ]
    lacking = {question.name for question in study.questions} - {question.name for question, _, _ in asked}
    if lacking:
        raise DataError(f"{study.name}: the pilot has no unit for {', '.join(sorted(lacking))}")
    rows = []
    for number, (question, model, of_tasks) in enumerate(asked):
        own = _strata(study, question, of_tasks, subsets)
        strata = _repeated(own, max(tasks or 0, len(own)))
        family = max(1, len(asked) - 1) if number else 1
        shares = power.simulate(strata, seeds_each, question.margin, comparisons=family, draws=draws, seed=number)
        rows.append((
            question.name, model, len(strata), sum(stratum.subsets for stratum in strata), seeds_each,
            sum(seeds.size for of_task in of_tasks for seeds in of_task),
            sum(stratum.within for stratum in strata) / len(strata),
            sum(stratum.between for stratum in strata) / len(strata),
            question.margin, shares.difference, shares.equivalence,
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(POWER))


def _repeated(strata: Sequence[Stratum], count: int) -> list[Stratum]:
    """As many tasks, spread as those that there are, about the mean of all of them."""
    if count <= len(strata):
        return list(strata)
    repeated = list(islice(cycle(strata), count))
    mean = sum(stratum.shift for stratum in repeated) / count
    return [replace(stratum, shift=stratum.shift - mean) for stratum in repeated]


def _strata(study: Study, question: Question, tasks: Sequence[Subsets], subsets: int | None) -> list[Stratum]:
    """Those of the pilot, with as many training subsets as the study is to have."""
    try:
        strata = strata_of(tasks)
    except ValueError as error:
        raise DataError(f"{study.name}: the pilot cannot tell the spread of {question.name}: {error}") from error
    return [replace(stratum, subsets=subsets) if subsets and stratum.subsets > 1 else stratum for stratum in strata]
