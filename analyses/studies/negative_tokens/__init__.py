"""Study A: are there tokens and pieces that do harm, and is it training on the task that makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analyses.studies.effects import Question
from analyses.studies.effects import units as units_of
from analyses.studies.negative_tokens import null
from analyses.studies.study import UNITS, PartRuns, Study, Tables, short_models
from analyses.studies.subsets import by_subset
from prunekit.analysis import tables

CLAIM = "XPrompt, sections 1 and 3"
#: The least that XPrompt's ratios prune: two tokens of twenty, and as large a share of the pieces.
MARGIN = 0.1
#: What is compared, by level.
TOKENS, PIECES = "share of tokens", "share of pieces"
_KEYS = ["task", "model", "seed", "arm", "level"]
#: What the same tests name where no unit does harm.
NULL = "no effect"

QUESTIONS = (
    Question("tokens", "A trained prompt has tokens that do harm", CLAIM, "trained", NULL, MARGIN, measure=TOKENS),
    Question("pieces", "A trained prompt has pieces that do harm", CLAIM, "trained", NULL, MARGIN, measure=PIECES),
    Question(
        "tokens by training", "Training makes harmful tokens: a prompt at its start has fewer", CLAIM,
        "trained", "untrained", MARGIN, measure=TOKENS,
    ),
    Question(
        "tokens by the task", "The task makes harmful tokens: training on shuffled labels makes fewer", CLAIM,
        "trained", "shuffled", MARGIN, measure=TOKENS,
    ),
)  # fmt: skip


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """Counts per prompt, and the shares that the questions are about."""
    tokens = token_counts([parts["prompts"]])
    pieces = counts(on_labels(parts["prompts"], "given"), "trained", "piece")
    of_pieces = units_of("pieces", _with_null(pieces), "arm", "confirmed_share")
    return {
        UNITS: pd.concat([token_units(tokens), of_pieces], ignore_index=True),
        "counts": pd.concat([tokens, pieces], ignore_index=True),
    }


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """How many units are negative, and how much leaving out the worst of them gains."""
    return [
        summary(results["counts"]),
        (
            "What the same tests name where no unit does harm, simulated; the highest shares are those of *no effect*",
            null.table(),
        ),
    ]


def summary(table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """A title, and the means over prompts of a table of `counts`: a row for each task, arm and level."""
    rows = table.groupby(["task", "arm", "level"], sort=False).agg(
        prompts=("seed", "size"), units=("units", "mean"), negative=("negative", "mean"),
        confirmed=("confirmed", "mean"), prompts_with_one=("confirmed", lambda column: int((column > 0).sum())),
        largest_gain=("largest_gain", "max"),
    )  # fmt: skip
    return "Negative on validation, confirmed on test (means over prompts; gains in nats)", rows.reset_index()


def token_counts(parts: Sequence[PartRuns]) -> pd.DataFrame:
    """Counts of the tokens of prompts on given labels, at their start and trained, then of those on shuffled labels.

    What a prompt of shuffled labels does is measured on the given ones too.

    Columns:
        those of `counts`; arm is "trained", "untrained" or "shuffled".
    """
    given = [counts(on_labels(part, "given"), "trained", "token") for part in parts]
    changed = {"task.labels": "given"}
    shuffled = [counts(on_labels(part, "shuffled"), "shuffled", "token", changed) for part in parts]
    return pd.concat([*given, *shuffled], ignore_index=True)


def token_units(tokens: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table of units, of the questions "tokens", "tokens by training" and "tokens by the task".

    Args:
        tokens: of `token_counts`.
    """
    arm = tokens["arm"]
    of_questions = {
        "tokens": _with_null(tokens[arm == "trained"]),
        "tokens by training": tokens[arm != "shuffled"],
        "tokens by the task": tokens[arm != "untrained"],
    }
    rows = [units_of(name, table, "arm", "confirmed_share") for name, table in of_questions.items()]
    return pd.concat(rows, ignore_index=True)


def on_labels(part_runs: PartRuns, labels: str) -> PartRuns:
    """The prompts that were trained on such labels."""
    return replace(part_runs, runs=tuple(run for run in part_runs.runs if run[1]["task.labels"] == labels))


def counts(part_runs: PartRuns, name: str, level: str, changed: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row per prompt, of one level of units; the trained prompts' arm is called by that name.

    Args:
        changed: of `tables.measured`.

    Columns:
        task, model, seed, arm, level; units (kept), negative (on validation), confirmed (on test too), counts;
            confirmed_share (of units); largest_gain (nats that the loss falls by leaving one confirmed unit out, 0
            where there is none).
    """
    by_run = (
        by_subset(tables.measured([tables.opened(path)], changed, partial=True), settings)
        for path, settings, _ in part_runs.runs
    )
    measured = pd.concat([table for table in by_run if len(table)], ignore_index=True)
    measured = measured[(measured["kind"] == "leave-one-out") & (measured["level"] == level)]
    measured = short_models(measured[measured["kept"].astype(bool)])
    measured["arm"] = measured["arm"].map({"dense": name, "untrained": "untrained"})
    rows = []
    for keys, units in measured.groupby(_KEYS, sort=False):
        confirmed = units["confirmed"].fillna(False).astype(bool)
        negative = units["negative"].fillna(False).astype(bool)
        gain = float(-units.loc[confirmed, "test_cost"].min()) if confirmed.any() else 0.0
        rows.append(dict(zip(_KEYS, keys, strict=True)) | {
            "units": len(units), "negative": int(negative.sum()), "confirmed": int(confirmed.sum()),
            "confirmed_share": confirmed.mean(), "largest_gain": gain,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _with_null(table: pd.DataFrame) -> pd.DataFrame:
    """The same prompts beside an arm that has as many harmful units as the tests name where there are none.

    Args:
        table: of `counts`.
    """
    named = table.assign(arm=NULL, confirmed_share=table["level"].map(null.rate))
    return pd.concat([table, named], ignore_index=True)


STUDY = Study("negative-tokens", "Are there tokens that do harm?", Path(__file__).parent, QUESTIONS, collect, describe)
