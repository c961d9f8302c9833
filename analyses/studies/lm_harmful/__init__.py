"""Study L: are there tokens that do harm in the prompts of a language model, and does training make them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analyses.studies.effects import Question
from analyses.studies.negative_tokens import (
    CLAIM,
    MARGIN,
    NULL,
    TOKENS,
    null,
    on_labels,
    summary,
    token_counts,
    token_units,
)
from analyses.studies.study import UNITS, PartRuns, Study, Tables, dense_prompts, in_subsets, reached

QUESTIONS = (
    Question(
        "tokens", "A language model's trained prompt has tokens that do harm", CLAIM, "trained", NULL, MARGIN,
        measure=TOKENS,
    ),
    Question(
        "tokens by training", "Training makes harmful tokens: a language model's prompt has fewer at its start",
        CLAIM, "trained", "untrained", MARGIN, measure=TOKENS,
    ),
    Question(
        "tokens by the task", "The task makes harmful tokens in a language model: shuffled labels make fewer", CLAIM,
        "trained", "shuffled", MARGIN, measure=TOKENS,
    ),
)  # fmt: skip


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """Counts per prompt, the shares that the questions are about, and what the prompts reached."""
    tokens = token_counts(list(parts.values()))
    arms = pd.concat([reached(on_labels(part, "given")) for part in parts.values()], ignore_index=True)
    arms = arms[arms["arm"].isin(["dense", "untrained"])]
    return {UNITS: token_units(tokens), "counts": tokens, "arms": arms}


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
    collect, describe, dense_prompts,
)  # fmt: skip
