"""The ratios that a search tried, without the test split, which none of them saw."""

from __future__ import annotations

import pandas as pd

from prunekit.runs import summary
from prunekit.runs.paths import LOG, Stage, is_trial
from prunekit.runs.reader import RunReader

TRIALS = ("seed", "tokens", "pieces", "cells", "validation", "steps", "status")
CURVES = ("seed", "tokens", "pieces", "step", "validation")


def trials(run: RunReader, stage: str) -> pd.DataFrame:
    """What a search tried.

    Columns:
        seed, tokens, pieces, cells (counts), validation (what chooses: the primary metric, or the loss in nats a token
            where answers are written), steps (updates), status.
    """
    results = run.results()
    chooses = summary.chosen_by(results, run.settings()["metric"])
    tried = results[(results["stage"] == stage) & results["arm"].map(is_trial)]
    table: pd.DataFrame = tried.rename(columns={f"validation_{chooses}": "validation"}).reindex(columns=list(TRIALS))
    return table.reset_index(drop=True)


def trial_curves(run: RunReader, stage: str) -> pd.DataFrame:
    """How the trials of a search came on.

    Columns:
        seed, tokens, pieces (counts), step (updates), validation (what chooses, at that evaluation; as in `trials`).
    """
    chooses = summary.chosen_by(run.results(), run.settings()["metric"])
    tables = []
    for key in run.tickets():
        if key.stage.is_trial and key.stage.top == Stage(stage):
            result, log = run.result(key), run.table(key, LOG)
            log = log[(log["split"] == "validation") & (log["metric"] == chooses) & (log["step"] > 0)]
            sizes = {name: result[name] for name in ("seed", "tokens", "pieces")}
            tables.append(log[["step", "value"]].rename(columns={"value": "validation"}).assign(**sizes))
    table: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.reindex(columns=list(CURVES))
