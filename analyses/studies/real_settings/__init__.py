"""Study I: the controls and settings of the study of pruning, on a real model and at one point of accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.studies.effects import OWN, POINT, Question, between
from analyses.studies.study import UNITS, PartRuns, Study, Tables, in_subsets, reached

_SOURCE = "XPrompt, Table 1 and Figure 5"
_LOTTERY = "Frankle and Carbin"
_TICKET, _ROUNDS, _DENSE = "ticket", "three rounds", "dense as long"

QUESTIONS = tuple(
    Question(name, f"SST-2: {claim}", source, first, second, POINT)
    for name, claim, source, first, second in (
        ("short-prompt", "The ticket beats a new prompt as short", _SOURCE, _TICKET, "short-prompt"),
        (
            "complement",
            "What is pruned is worth less: the ticket beats its complement",
            _SOURCE,
            _TICKET,
            "complement",
        ),
        ("reinit", "The ticket beats its mask on new values", _LOTTERY, _TICKET, "reinit"),
        ("rounds", "Pruning in three rounds beats pruning at once", _LOTTERY, _ROUNDS, _TICKET),
        ("rounds or dense", "Three rounds beat the dense prompt trained as long", _SOURCE, _ROUNDS, _DENSE),
        ("late", "Trained values beat those of half of the training", OWN, _TICKET, "late"),
        ("hide", "A shorter prompt beats hidden tokens", OWN, _TICKET, "hide"),
        ("zero", "A shorter prompt beats zero vectors", OWN, _TICKET, "zero"),
        ("pieces alone", "Pruning tokens too beats pruning pieces alone", _SOURCE, _TICKET, "pieces alone"),
        ("signed", "Absolute gradients pick a better ticket than signed ones", _SOURCE, _TICKET, "signed"),
        ("squared", "Absolute gradients pick a better ticket than squared ones", OWN, _TICKET, "squared"),
    )
)


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """What the ticket, its controls and its other settings came to."""
    arms = pd.concat([reached(parts["controls"]), reached(parts["settings"], _TICKET, _name)], ignore_index=True)
    return {UNITS: between(QUESTIONS, arms), "arms": arms}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """What every arm reached."""
    return in_subsets(results["arms"])


def _name(settings: Mapping[str, Any]) -> str:
    """The first setting that is not the schedule's own."""
    rounds, tokens, rewind, dropped_as, score = (
        settings[f"pruning.{name}"] for name in ("rounds", "keep_tokens", "rewind", "dropped_as", "score")
    )
    if rounds != 1:
        return _DENSE if tokens == 1.0 else _ROUNDS
    if rewind != "trained":
        return "late"
    if dropped_as != "remove":
        return str(dropped_as)
    return "pieces alone" if tokens == 1.0 else str(score)


STUDY = Study(
    "real-settings", "Controls and settings, on a real model", Path(__file__).parent, QUESTIONS, collect, describe
)
