"""Study G: on a real model, at one point of accuracy, does it matter which mask a ticket has, and which values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.studies.effects import OWN, POINT, Question, between
from analyses.studies.study import UNITS, PartRuns, Study, Tables, in_subsets, reached

_SOURCE = "XPrompt, Table 1 and Figure 5"
_TICKET = "ticket"

QUESTIONS = tuple(
    Question(name, f"SST-2: {claim}", source, _TICKET, name, POINT)
    for name, claim, source in (
        ("random", "Scores choose better than chance: the ticket beats a random mask of its size", _SOURCE),
        ("magnitude", "The score picks a better ticket than length does", OWN),
        ("init", "Trained values beat those of the start", "XPrompt, section 3"),
        ("tokens alone", "Pruning pieces too beats pruning tokens alone", _SOURCE),
    )
)


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """What the ticket and the other tickets of the same dense prompts reached."""
    tickets = reached(parts["tickets"], _TICKET, _arm)
    return {UNITS: between(QUESTIONS, tickets), "tickets": tickets}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """What every ticket reached."""
    return in_subsets(results["tickets"])


def _arm(settings: Mapping[str, Any]) -> str:
    """The first setting that is not the ticket's own."""
    score, rewind, pieces = (settings[f"pruning.{name}"] for name in ("score", "rewind", "keep_pieces"))
    if score != "absolute":
        return str(score)
    if rewind != "trained":
        return str(rewind)
    return "tokens alone" if pieces == 1.0 else _TICKET


def prompts(results: Tables) -> pd.DataFrame:
    """The tickets, trained on: the dense prompts that they were pruned of are those of the study of pruning."""
    return results["tickets"][results["tickets"]["arm"] == _TICKET]


STUDY = Study(
    "real-tickets", "Which ticket, on a real model?", Path(__file__).parent, QUESTIONS, collect, describe, prompts
)
