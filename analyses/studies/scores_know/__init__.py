"""Study C: do the scores that prune know what is needed, and do better scores pick better tickets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from analyses.studies.effects import LEARNED, OWN, Question, between
from analyses.studies.scores_know import exact
from analyses.studies.scores_know.planted import found_words
from analyses.studies.study import UNITS, PartRuns, Study, Tables, by_task, on_all_cores, reached, runs_of

_SOURCE = "XPrompt, section 3.2"
#: Smallest differences of interest: of a rank correlation; of a share of planted words.
_RHO, _WORDS = 0.2, 0.1
#: What scores that know nothing come to on average, exactly: random ones would only add their own luck.
_CHANCE = "chance"

# of the rank correlation with leave-one-out over tokens
_RANKS = tuple(
    Question(name, claim, source, first, second, _RHO, measure="rank correlation")
    for name, claim, source, first, second in (
        ("ranks", "The score ranks tokens by what leaving them out costs", _SOURCE, "absolute", _CHANCE),
        ("ranks, magnitude", "The score ranks tokens better than their length does", OWN, "absolute", "magnitude"),
        (
            "ranks, sign",
            "Taking absolute values costs: the signed score ranks tokens better",
            OWN,
            "signed",
            "absolute",
        ),
        ("ranks, square", "Squares rank tokens better than absolute values", OWN, "squared", "absolute"),
    )
)
# of the test accuracy of the tickets that each score picks
_TICKETS = tuple(
    Question(name, claim, source, first, second, LEARNED)
    for name, claim, source, first, second in (
        ("tickets, random", "The score picks better tickets than chance", _SOURCE, "absolute", "random"),
        ("tickets, magnitude", "The score picks better tickets than length does", OWN, "absolute", "magnitude"),
        ("tickets, sign", "The signed score picks better tickets", OWN, "signed", "absolute"),
    )
)
# of the share of an instruction's words that are found among filler
_PLANTED = tuple(
    Question(name, claim, source, first, second, _WORDS, measure="share of planted words")
    for name, claim, source, first, second in (
        ("planted, chance", "The score finds planted words better than chance", _SOURCE, "absolute", _CHANCE),
        ("planted, exact", "Leave-one-out finds planted words that the score misses", OWN, "leave-one-out", "absolute"),
    )
)

QUESTIONS = (*_RANKS, *_TICKETS, *_PLANTED)


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """Rank correlations per prompt, the tickets of every score, and what is parts of planted words."""
    prompts = parts["trained"]
    agreement = on_all_cores(partial(exact.agreement, seeds=prompts.seeds), [run.path for run in runs_of(prompts)])
    tickets = reached(parts["tickets"], "ticket", lambda settings: str(settings["pruning.score"]))
    planted = found_words(prompts.seeds)
    return {
        UNITS: compared(agreement, tickets, planted),
        "agreement": agreement,
        "tickets": tickets,
        "planted": planted,
    }


def compared(agreement: pd.DataFrame, tickets: pd.DataFrame, planted: pd.DataFrame) -> pd.DataFrame:
    """The units of all questions. With a chance ordering of the tokens the expected rank correlation is 0.

    Columns:
        those of `effects.units`.
    """
    left_out = agreement[agreement["with"] == "leave-one-out"]
    chance = left_out[left_out["arm"] == "absolute"].assign(arm=_CHANCE, spearman=0.0)
    left_out = pd.concat([left_out, chance], ignore_index=True)
    of_questions = [
        between(_RANKS, left_out, "spearman"), between(_TICKETS, tickets), between(_PLANTED, planted, "found"),
    ]  # fmt: skip
    return pd.concat(of_questions, ignore_index=True)


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """Means over prompts, by task."""
    agreement, tickets, planted = (results[name] for name in ("agreement", "tickets", "planted"))
    correlations = agreement.pivot_table(
        index=["with", "arm"], columns="task", values="spearman", sort=False
    ).reset_index()
    return [
        ("Spearman's rank correlation with what was measured, means over prompts", correlations),
        ("Test accuracy of the tickets that each score picks", by_task(tickets)),
        ("Share of an instruction's words among the best-scored tokens", by_task(planted, "found")),
    ]


STUDY = Study("scores-know", "Do the scores know what is needed?", Path(__file__).parent, QUESTIONS, collect, describe)
