"""Study F: does a prompt for one task help to learn another, and does a pruned one help more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analyses.studies.effects import Question, units
from analyses.studies.study import UNITS, Found, Study, Tables, reached

_SOURCE = "XPrompt, section 4.5; SPoT"
_MARGIN = 0.01

QUESTIONS = tuple(
    Question(name, claim, _SOURCE, first, second, _MARGIN)
    for name, claim, first, second in (
        ("plain", "Starting from another task's prompt beats a fresh start", "dense", "fresh"),
        ("pruned", "Starting from another task's pruned ticket beats a fresh start", "pruned", "fresh"),
        ("pruned or dense", "A pruned ticket transfers better than the dense prompt", "pruned", "dense"),
    )
)


def collect(found: Mapping[str, Found]) -> dict[str, pd.DataFrame]:
    """One row per target task, seed and start."""
    each = [reached(found[arm], "dense").assign(arm=arm) for arm in ("fresh", "dense", "pruned")]
    starts = pd.concat(each, ignore_index=True)
    # on the testbed a prompt learns its task whole or hardly at all: shown, not tested
    real = starts[~starts["task"].str.startswith("testbed/")]
    made = [units(one.name, real[real["arm"].isin([one.first, one.second])], "arm") for one in QUESTIONS]
    return {UNITS: pd.concat(made, ignore_index=True), "starts": starts}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """What each start reached on each target."""
    starts = results["starts"]
    wide = starts.pivot_table(index="task", columns="arm", values="report", sort=False).reset_index()
    return [("Report accuracy by start, means over seeds", wide)]


STUDY = Study(
    "transfer", "Does a prompt transfer, and a pruned one better?", Path(__file__).parent, QUESTIONS, collect, describe
)
