"""Study B: does pruning a trained prompt and training it again help, and which of its choices matter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.studies.effects import Question, units
from analyses.studies.study import UNITS, Found, Study, Tables, reached

_SOURCE = "XPrompt, Table 1 and Figure 5"
_CHOICES = "XPrompt, section 3; lottery tickets"
#: One point of accuracy.
_MARGIN = 0.01

# controls of the ticket: arm -> what is claimed of the ticket against it
_AGAINST = {
    "dense-continued": "The pruned ticket beats the dense prompt trained as long",
    "dense": "The pruned ticket beats the dense prompt",
    "random": "Scores choose better than chance: the ticket beats a random mask of its size",
    "reversed": "What is pruned is worth less: the ticket beats the reversed mask",
    "length": "The ticket beats a fresh prompt of its length",
    "fresh": "The values matter, not the mask alone: the ticket beats its mask on fresh values",
    "token-only": "Pruning pieces too beats pruning tokens alone",
    "piece-only": "Pruning tokens too beats pruning pieces alone",
}
# settings of one schedule (a share of the tokens and half of their pieces kept at once, rewound to the trained values,
# dropped tokens removed): question, claim, first, second
_SETTINGS = (
    ("rounds", "Pruning in rounds beats pruning at once", "three rounds", "one round"),
    ("rewind init", "Trained values beat those of the start", "trained", "init"),
    ("rewind late", "Trained values beat those of an early step", "trained", "late"),
    ("rewind fresh", "Trained values beat fresh ones", "trained", "fresh"),
    ("absent hide", "A shorter prompt beats hidden tokens", "remove", "hide"),
    ("absent zero", "A shorter prompt beats zero vectors", "remove", "zero"),
)
_STANDARD = ("one round", "trained", "remove")
#: Of the tokens that are kept; of other shares nothing is asked, they are shown.
_SHARE = 0.25

QUESTIONS = (
    *(Question(arm, claim, _SOURCE, "ticket", arm, _MARGIN) for arm, claim in _AGAINST.items()),
    *(Question(name, claim, _CHOICES, first, second, _MARGIN) for name, claim, first, second in _SETTINGS),
)


def collect(found: Mapping[str, Found]) -> dict[str, pd.DataFrame]:
    """The arms of the search, and the last rounds of every setting of the schedule."""
    arms = reached(found["search"])
    settings = reached(found["schedules"], "ticket", _name)
    made = [units(arm, arms[arms["arm"].isin(["ticket", arm])], "arm") for arm in _AGAINST]
    made += [units(name, _two(settings, first, second), "arm") for name, _, first, second in _SETTINGS]
    return {UNITS: pd.concat(made, ignore_index=True), "arms": arms, "schedules": settings}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """What every arm and every setting reached."""
    columns = {"seed": "units", "report": "report", "selection": "selection", "tokens": "tokens", "density": "density"}
    found = []
    for title, name in (("Arms of the search", "arms"), ("Settings of one schedule", "schedules")):
        by = ["task", "arm"]
        rows = results[name].groupby(by, sort=False).agg(
            units=("seed", "size"), **{one: (one, "mean") for one in list(columns)[1:]}
        )  # fmt: skip
        wide = rows.reset_index().pivot(index="arm", columns="task", values="report").reset_index()
        found.append((f"{title}: report accuracy, means over seeds", wide))
        sizes = rows.groupby("arm", sort=False)[["tokens", "density"]].mean().reset_index()
        found.append((f"{title}: sizes, means over tasks", sizes))
    return found


def _name(settings: Mapping[str, Any]) -> str:
    """The first setting that is not the schedule's own, or "standard"."""
    rounds, rewind, absent, share = (
        settings[f"pruning.{name}"] for name in ("rounds", "rewind", "absent", "keep_tokens")
    )
    if rounds != 1:
        return "three rounds"
    if share != _SHARE:
        return f"{share:g} of the tokens"
    if rewind != "trained":
        return str(rewind) if isinstance(rewind, str) else "late"
    return "standard" if absent == "remove" else str(absent)


def _two(settings: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """The rows of a setting and of the standard schedule, which has as many names as there are settings."""
    standard, other = (first, second) if first in _STANDARD else (second, first)
    mine = settings[settings["arm"].isin(["standard", other])]
    return mine.assign(arm=mine["arm"].replace("standard", standard))


STUDY = Study("pruning-helps", "Does pruning help?", Path(__file__).parent, QUESTIONS, collect, describe)
