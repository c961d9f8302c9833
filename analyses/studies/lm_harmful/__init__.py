"""Study L: are there tokens that do harm in the prompts of a language model, and does training make them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analyses.studies.effects import Question, units
from analyses.studies.negative_tokens import CLAIM, MARGIN, NULL, TOKENS, counts, null, on_labels, summary, with_null
from analyses.studies.study import UNITS, PartRuns, Study, Tables, in_subsets, reached

QUESTIONS = (
    Question(
        "tokens", "A language model's trained prompt has tokens that do harm", CLAIM, "trained", NULL, MARGIN,
        measure=TOKENS,
    ),
    Question(
        "tokens by training", "Training makes harmful tokens in a language model's prompt: at its start it has fewer",
        CLAIM, "trained", "untrained", MARGIN, measure=TOKENS,
    ),
    Question(
        "tokens by the task", "The task makes them: training on shuffled labels makes fewer", CLAIM, "trained",
        "shuffled", MARGIN, measure=TOKENS,
    ),
)  # fmt: skip


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """Counts per prompt, the shares that the questions are about, and what the prompts reached."""
    given, shuffled = ([on_labels(part, labels) for part in parts.values()] for labels in ("given", "shuffled"))
    # what a prompt of shuffled labels does is measured on the given ones
    tokens = pd.concat(
        [
            *(counts(part, "trained", "token") for part in given),
            *(counts(part, "shuffled", "token", {"task.labels": "given"}) for part in shuffled),
        ],
        ignore_index=True,
    )
    of_questions = [
        units("tokens", with_null(tokens[tokens["arm"] == "trained"]), "arm", "confirmed_share"),
        units("tokens by training", tokens[tokens["arm"] != "shuffled"], "arm", "confirmed_share"),
        units("tokens by the task", tokens[tokens["arm"] != "untrained"], "arm", "confirmed_share"),
    ]
    arms = pd.concat([reached(part) for part in given], ignore_index=True)
    arms = arms[arms["arm"].isin(["dense", "untrained"])]
    return {UNITS: pd.concat(of_questions, ignore_index=True), "counts": tokens, "arms": arms}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """How many tokens are negative, what the prompts reached, and what the tests name where no token does harm."""
    named = null.table()
    return [
        summary(results["counts"]),
        *in_subsets(results["arms"]),
        (
            "What the same tests name where no token does harm, simulated; the highest share is that of *no effect*",
            named[named["level"] == "token"],
        ),
    ]


STUDY = Study(
    "lm-harmful", "Are there tokens that do harm in a language model's prompt?", Path(__file__).parent, QUESTIONS,
    collect, describe,
)  # fmt: skip
