"""Study B: does pruning a trained prompt and training it again help, and which of its choices matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.studies.effects import OWN, POINT, Question, between
from analyses.studies.study import UNITS, PartRuns, Study, Tables, by_task, reached, sizes

_SOURCE = "XPrompt, Table 1 and Figure 5"
_LOTTERY = "Frankle and Carbin"
_TICKET, _DENSE = "ticket", "dense-continued"
#: Of the pieces of each token, that the schedule keeps.
_PIECES = 0.5
#: The smallest difference of interest on the testbed: three trainings in twenty.
_LEARNED = 0.15

# control of the ticket -> what is claimed of the ticket against it
_CLAIMS = {
    "dense-continued": "The pruned ticket beats the dense prompt trained as long",
    "random": "Scores choose better than chance: the ticket beats a random mask of its size",
    "complement": "What is pruned is worth less: the ticket beats its complement",
    "short-prompt": "The ticket beats a new prompt as short",
}
_ON_SST2 = Question("SST-2", f"SST-2: {_CLAIMS[_DENSE]}", _SOURCE, _TICKET, _DENSE, POINT)
_CONTROLS = tuple(Question(arm, f"Testbed: {claim}", _SOURCE, _TICKET, arm, _LEARNED) for arm, claim in _CLAIMS.items())
# the ticket and other settings of its schedule
_SETTINGS = tuple(
    Question(name, f"Testbed: {claim}", source, first, second, _LEARNED)
    for name, claim, source, first, second in (
        ("three rounds", "Pruning in rounds beats pruning at once", _LOTTERY, "three rounds", _TICKET),
        ("init", "Trained values beat those of the start", "XPrompt, section 3", _TICKET, "init"),
        ("hide", "A shorter prompt beats hidden tokens", OWN, _TICKET, "hide"),
        ("zero", "A shorter prompt beats zero vectors", OWN, _TICKET, "zero"),
        ("tokens alone", "Pruning pieces too beats pruning tokens alone", _SOURCE, _TICKET, "tokens alone"),
        ("pieces alone", "Pruning tokens too beats pruning pieces alone", _SOURCE, _TICKET, "pieces alone"),
    )
)

QUESTIONS = (_ON_SST2, *_CONTROLS, *_SETTINGS)


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """What the ticket, its controls and its other settings came to."""
    real = _real(parts["real"])
    controls = reached(parts["controls"])
    settings = pd.concat([controls[controls["arm"] == _TICKET], reached(parts["settings"], _TICKET, _name)])
    of_questions = [between((_ON_SST2,), real), between(_CONTROLS, controls), between(_SETTINGS, settings)]
    return {UNITS: pd.concat(of_questions, ignore_index=True), "real": real, "controls": controls, "settings": settings}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """What every arm and every setting reached."""
    titles = {"real": "SST-2", "controls": "The ticket and its controls", "settings": "Other settings"}
    titled = []
    for name, title in titles.items():
        titled.append((f"{title}: test accuracy, means over seeds", by_task(results[name])))
        titled.append((f"{title}: size, updates and test accuracy, means over all", sizes(results[name])))
    return titled


def _real(part_runs: PartRuns) -> pd.DataFrame:
    """The arms on SST-2."""
    arms = []
    for run in part_runs.runs:
        single = replace(part_runs, runs=(run,))
        arms.append(reached(single, _TICKET, _arm))
        if _arm(run[1]) == _TICKET:  # the dense prompt is the same beside dense continued
            arms.append(reached(single, "dense"))
    return pd.concat(arms, ignore_index=True)


def _arm(settings: Mapping[str, Any]) -> str:
    return _DENSE if settings["pruning.keep_tokens"] == 1.0 else _TICKET


def _name(settings: Mapping[str, Any]) -> str:
    """The first setting that is not the schedule's own."""
    rounds, rewind, dropped_as, pieces = (
        settings[f"pruning.{name}"] for name in ("rounds", "rewind", "dropped_as", "keep_pieces")
    )
    if rounds != 1:
        return "three rounds"
    if rewind != "trained":
        return str(rewind)
    if dropped_as != "remove":
        return str(dropped_as)
    return "pieces alone" if pieces == _PIECES else "tokens alone"


def prompts(results: Tables) -> pd.DataFrame:
    """The dense ones, which are pruned."""
    arms = pd.concat([results["real"], results["controls"]], ignore_index=True)
    return arms[arms["arm"] == "dense"]


STUDY = Study("pruning-helps", "Does pruning help?", Path(__file__).parent, QUESTIONS, collect, describe, prompts)
