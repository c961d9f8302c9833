"""Study C: do the scores that prune know what is needed, and do better scores pick better tickets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from analyses.studies.effects import OWN, Question, units
from analyses.studies.scores_know import exact
from analyses.studies.scores_know.planted import found_words
from analyses.studies.study import UNITS, Found, Study, Tables, on_all_cores, reached, runs_of

_SOURCE = "XPrompt, section 3.2"
#: Of a rank correlation; of a share of planted words; of accuracy, where a task is learned whole or hardly at all.
_RHO, _WORDS, _ACCURACY = 0.2, 0.1, 0.1
#: What scores that know nothing come to on average, exactly: random ones would only add their own luck.
_CHANCE = "chance"

# question: claim, source, first score, second score; the value is the rank correlation with leave-one-out over tokens
_RANKS = (
    ("ranks", "The score ranks tokens by what leaving them out costs", _SOURCE, "absolute", _CHANCE),
    ("ranks, magnitude", "The score ranks tokens better than their length does", OWN, "absolute", "magnitude"),
    ("ranks, sign", "Taking absolute values costs: the signed score ranks tokens better", OWN, "signed", "absolute"),
    ("ranks, square", "Squares rank tokens better than absolute values", OWN, "squared", "absolute"),
)
# the same for the report accuracy of the tickets that each score picks
_TICKETS = (
    ("tickets, random", "The score picks better tickets than chance", _SOURCE, "absolute", "random"),
    ("tickets, magnitude", "The score picks better tickets than length does", OWN, "absolute", "magnitude"),
    ("tickets, sign", "The signed score picks better tickets", OWN, "signed", "absolute"),
)
# and for the share of an instruction's words that are found among filler
_PLANTED = (
    ("planted, chance", "The score finds planted words better than chance", _SOURCE, "absolute", _CHANCE),
    ("planted, exact", "Leave-one-out finds planted words that the score misses", OWN, "leave-one-out", "absolute"),
)

QUESTIONS = tuple(
    Question(name, claim, source, first, second, margin)
    for group, margin in ((_RANKS, _RHO), (_TICKETS, _ACCURACY), (_PLANTED, _WORDS))
    for name, claim, source, first, second in group
)


def collect(found: Mapping[str, Found]) -> dict[str, pd.DataFrame]:
    """Rank correlations per prompt, the tickets of every score, and what is found of planted words."""
    prompts = found["trained"]
    agreement = on_all_cores(partial(exact.agreement, seeds=prompts.seeds), runs_of(prompts))
    tickets = reached(found["tickets"], "ticket", lambda settings: str(settings["pruning.score"]))
    planted = found_words(prompts.seeds)
    return {
        UNITS: compared(agreement, tickets, planted),
        "agreement": agreement,
        "tickets": tickets,
        "planted": planted,
    }


def compared(agreement: pd.DataFrame, tickets: pd.DataFrame, planted: pd.DataFrame) -> pd.DataFrame:
    """The units of all questions. With a chance ordering of the tokens the expected rank correlation is 0.

    Columns: those of `effects.units`.
    """
    left_out = agreement[agreement["with"] == "leave-one-out"]
    chance = left_out[left_out["arm"] == "absolute"].assign(arm=_CHANCE, spearman=0.0)
    left_out = pd.concat([left_out, chance], ignore_index=True)
    made = [units(name, _pair(left_out, one, other), "arm", "spearman") for name, *_, one, other in _RANKS]
    made += [units(name, _pair(tickets, one, other), "arm") for name, *_, one, other in _TICKETS]
    made += [units(name, _pair(planted, one, other), "arm", "found") for name, *_, one, other in _PLANTED]
    return pd.concat(made, ignore_index=True)


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """Means over prompts, by task."""
    agreement, tickets, planted = (results[name] for name in ("agreement", "tickets", "planted"))
    by_task = agreement.pivot_table(index=["with", "arm"], columns="task", values="spearman", sort=False).reset_index()
    return [
        ("Spearman's rank correlation with what was measured, means over prompts", by_task),
        ("Report accuracy of the tickets that each score picks", _wide(tickets, "report")),
        ("Share of an instruction's words among the best-scored tokens", _wide(planted, "found")),
    ]


def _pair(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    return table[table["arm"].isin([first, second])]


def _wide(table: pd.DataFrame, value: str) -> pd.DataFrame:
    return table.pivot_table(index="arm", columns="task", values=value, sort=False).reset_index()


STUDY = Study("scores-know", "Do the scores know what is needed?", Path(__file__).parent, QUESTIONS, collect, describe)
