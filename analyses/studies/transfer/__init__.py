"""Study F: does a prompt for one task help to learn another, and does a pruned one help more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analyses.studies.effects import LEARNED, Question, between
from analyses.studies.study import UNITS, PartRuns, Study, Tables, reached

_SOURCE = "XPrompt, section 4.5; SPoT"


def questions(margin: float, where: str = "") -> tuple[Question, ...]:
    """What starting from another task's prompt does.

    Args:
        margin: the smallest difference of interest.
        where: before each claim, such as "SST-2: ".
    """
    return tuple(
        Question(name, f"{where}{claim}", _SOURCE, first, second, margin)
        for name, claim, first, second in (
            ("plain", "Starting from another task's prompt beats a fresh start", "dense", "fresh"),
            ("pruned", "Starting from another task's pruned ticket beats a fresh start", "pruned", "fresh"),
            ("pruned or dense", "A pruned ticket transfers better than the dense prompt", "pruned", "dense"),
        )
    )


QUESTIONS = questions(LEARNED)


def collect(parts: Mapping[str, PartRuns], answering: Sequence[Question] = QUESTIONS) -> dict[str, pd.DataFrame]:
    """One row per target task, seed and start; and what the prompts were that are started from."""
    each = [reached(parts[arm], "dense").assign(arm=arm) for arm in ("fresh", "dense", "pruned")]
    starts = pd.concat(each, ignore_index=True)
    sources = reached(parts["source"])
    return {UNITS: between(answering, starts), "starts": starts, "sources": sources}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """What each start reached on each target, and what each source had reached on its own task."""
    starts, sources = results["starts"], results["sources"]
    return [
        (
            "Test accuracy by start, means over seeds (where a source has dropped a token, a fresh one starts)",
            _by_task(starts),
        ),
        ("Test accuracy of the sources on their own tasks", _by_task(sources)),
    ]


def _by_task(table: pd.DataFrame) -> pd.DataFrame:
    return table.pivot_table(index="task", columns="arm", values="test", sort=False).reset_index()


def prompts(results: Tables) -> pd.DataFrame:
    """Those with a fresh start."""
    return results["starts"][results["starts"]["arm"] == "fresh"]


STUDY = Study(
    "transfer", "Does a prompt transfer, and a pruned one better?", Path(__file__).parent, QUESTIONS, collect, describe,
    prompts,
)  # fmt: skip
