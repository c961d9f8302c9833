"""Study K: does pruning help on a language model, as published: ratios searched, rates tuned, every control beside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.studies.effects import POINT, Question, between
from analyses.studies.study import UNITS, PartRuns, Study, Tables, dense_prompts, in_subsets, reached

_SOURCE = "XPrompt, Table 1 and Figure 5"
_TICKET = "ticket"
#: How the pilot's parts begin that train dense prompts at several rates.
_RATES = "rates"
# control of the chosen ticket -> what is claimed of the ticket against it; the primary comparison first
_CLAIMS = {
    "dense-continued": "the ticket that a search chooses beats the dense prompt trained as long",
    "random": "scores choose better than chance: it beats a random mask of its size",
    "complement": "what is pruned is worth less: it beats its complement",
    "short-prompt": "it beats a new prompt as short",
}

QUESTIONS = tuple(
    Question(arm, f"Language model: {claim}", _SOURCE, _TICKET, arm, POINT) for arm, claim in _CLAIMS.items()
)


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """What the chosen tickets and their controls reached; of the pilot also what each rate did."""
    searches = {name: part for name, part in parts.items() if not name.startswith(_RATES)}
    arms = pd.concat([reached(part) for part in searches.values()], ignore_index=True)
    tables = {UNITS: between(QUESTIONS, arms), "arms": arms}
    rates = [_rates(part) for name, part in parts.items() if name not in searches]
    return tables | ({"rates": pd.concat(rates, ignore_index=True)} if rates else {})


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """What every arm reached, and how large the chosen tickets are."""
    return in_subsets(results["arms"])


def _rates(part_runs: PartRuns) -> pd.DataFrame:
    """What dense prompts of each learning rate came to.

    Columns:
        task; rate (of weights in float32, which says so); validation, test (accuracy, means over seeds).
    """
    table = reached(part_runs, "dense", _rate)
    means = table.groupby(["task", "arm"], sort=False)[["validation", "test"]].mean()
    return means.reset_index().rename(columns={"arm": "rate"})


def _rate(settings: Mapping[str, Any]) -> str:
    in_full = settings.get("model.precision") == "float32"
    return f"{settings['training.learning_rate']}{', float32' if in_full else ''}"


STUDY = Study(
    "lm-pruning",
    "Does pruning help on a language model?",
    Path(__file__).parent,
    QUESTIONS,
    collect,
    describe,
    dense_prompts,
)
