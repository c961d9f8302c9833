"""The ratios or ranks that a search tried, without the test split, which none of them saw, and what it chose."""

from __future__ import annotations

import pandas as pd

from prunekit.analysis.tables.arms import arms
from prunekit.runs import summary
from prunekit.runs.paths import LOG, Stage, is_trial
from prunekit.runs.reader import RunReader

TRIALS = ("seed", "tokens", "pieces", "cells", "validation", "steps", "status")
CURVES = ("seed", "tokens", "pieces", "step", "validation")
CHOSEN = ("seed", "tokens", "density", "validation", "test")


def trials(run: RunReader, stage: str) -> pd.DataFrame:
    """What a search tried.

    Columns:
        seed, tokens, pieces, cells (counts), validation (what chooses: the primary metric, or the loss in nats a token
            where answers are written), steps (updates), status. Of a search over ranks, behind cells, rank and
            parameters (counts: kept directions and free numbers).
    """
    results = run.results()
    chooses = summary.chosen_by(results, run.settings()["metric"])
    tried = results[(results["stage"] == stage) & results["arm"].map(is_trial)]
    table = tried.rename(columns={f"validation_{chooses}": "validation"})
    columns, ranks = list(TRIALS), summary.ranks_of(tried)
    if ranks is not None:
        table["rank"] = ranks
        columns[4:4] = ["rank", "parameters"]
    return table.reindex(columns=columns).reset_index(drop=True)


def chosen(run: RunReader, stage: str) -> pd.DataFrame:
    """What each seed of a search chose.

    Columns:
        seed, tokens (count), density, validation, test (the primary metric). Of a search over ranks rank (count:
            kept directions) in place of tokens.
    """
    table = arms(run, stage)
    table = table.loc[table["arm"] == "ticket", list(CHOSEN)].sort_values("seed").reset_index(drop=True)
    tried = trials(run, stage)
    if "rank" not in tried:
        return table
    results = run.results()
    of_seed = results[(results["stage"] == stage) & results["arm"].eq("")].set_index("seed")
    ranks = of_seed["rank"].fillna(of_seed["tokens"]).astype(int)
    return table.assign(tokens=table["seed"].map(ranks)).rename(columns={"tokens": "rank"})


def trial_curves(run: RunReader, stage: str) -> pd.DataFrame:
    """How the trials of a search came on.

    Columns:
        seed, tokens, pieces (counts), step (updates), validation (what chooses, at that evaluation; as in `trials`).
            Of a search over ranks also rank.
    """
    chooses = summary.chosen_by(run.results(), run.settings()["metric"])
    tables = []
    columns = [*CURVES[:3], *(["rank"] if "rank" in trials(run, stage) else []), *CURVES[3:]]
    for key in run.tickets():
        if key.stage.is_trial and key.stage.top == Stage(stage):
            result, log = run.result(key), run.table(key, LOG)
            log = log[(log["split"] == "validation") & (log["metric"] == chooses) & (log["step"] > 0)]
            sizes = {name: result[name] for name in ("seed", "tokens", "pieces")}
            sizes["rank"] = summary.rank_of(result) or result["tokens"]
            tables.append(log[["step", "value"]].rename(columns={"value": "validation"}).assign(**sizes))
    table: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.reindex(columns=columns)
