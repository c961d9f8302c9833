"""All that is known of each token of the prompt on a token map: kept or dropped, scores, costs, the words near it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from prunekit.analysis import tables, unit_scores
from prunekit.plots.report.page_parts import Column, Hover, Table, number, table_of
from prunekit.runs.reader import RunReader

# words of a token that are named, the nearest first
_WORDS = 3
_COLUMNS = {
    "token": Column("token"),
    "kept": Column("pieces kept"),
    "dropped_in": Column("dropped in round"),
    "score": Column("score, mean of its pieces", number(4)),
    "left_out": Column("loss added without it", number(4, "+z")),
    "words": Column("nearest words"),
}


def token_details(run: RunReader, cells: pd.DataFrame, *, with_model: bool) -> pd.DataFrame:
    """A row for each token of the map.

    Args:
        cells: of `prunekit.plots.token_map`.
        with_model: also the words whose embeddings lie nearest to the dense prompt's tokens, for which the frozen model
            is loaded.

    Columns:
        token; kept (count of its pieces); dropped_in (round, NaN where it is kept); score (mean over the kept pieces,
            in units of the score); left_out (nats: what leaving it out of the dense prompt adds, where that was
            measured); words (the nearest first, where asked for).
    """
    kept = cells["kept"].astype(bool)
    by_token = cells.assign(kept=kept, score=cells["score"].where(kept)).groupby("token")
    details = by_token.agg(kept=("kept", "sum"), dropped_in=("dropped_in", "max"), score=("score", "mean"))
    details["dropped_in"] = details["dropped_in"].where(details["kept"] == 0)
    seed = int(cells["seed"].iloc[0])
    details["left_out"] = _left_out(run, seed).reindex(details.index)
    if with_model:
        details["words"] = _words(run, seed).reindex(details.index)
    return details.reset_index()


def as_table(details: pd.DataFrame, cells: pd.DataFrame) -> Table:
    """The tokens as a table, dearest first where their worth was measured."""
    by = "left_out" if details["left_out"].notna().any() else "score"
    ordered = details.sort_values(by, ascending=False, kind="stable").dropna(axis="columns", how="all")
    return table_of(ordered, _COLUMNS, f"The tokens of seed {cells['seed'].iloc[0]}, one by one")


def as_hover(details: pd.DataFrame, cells: pd.DataFrame) -> Hover:
    """What a reader is told of each token and each of its cells."""
    ordered = cells.sort_values(["token", "piece"])
    words = [_of_cell(*row) for row in ordered[["kept", "score", "dropped_in"]].itertuples(index=False, name=None)]
    pieces = int(cells["piece"].nunique())
    rows = [words[start : start + pieces] for start in range(0, len(words), pieces)]
    return Hover([_of_token(row) for row in details.to_dict("records")], rows)


def _of_cell(kept: bool, score: float, dropped_in: int) -> str:
    return f"score {score:.3g}" if kept else f"dropped in round {dropped_in}"


def _of_token(row: Mapping[Any, Any]) -> str:
    costs = [f"without it {row['left_out']:+.3f} nats"] if pd.notna(row["left_out"]) else []
    words = [f"near {row['words']}"] if isinstance(row.get("words"), str) else []
    return "; ".join([f"token {row['token']}", *costs, *words])


def _left_out(run: RunReader, seed: int) -> pd.Series:
    """By token what leaving it out of the dense prompt of a seed costs, on the most examples that were measured."""
    measured = tables.measured([run])
    costs = measured[
        (measured["kind"] == "leave-one-out") & (measured["level"] == "token") & (measured["seed"] == seed)
        & (measured["arm"] == "dense")
    ]  # fmt: skip
    most = costs.sort_values("examples", ascending=False, kind="stable").drop_duplicates("token")
    return most.set_index("token")["score"].astype(float)


def _words(run: RunReader, seed: int) -> pd.Series:
    """By token the words that lie nearest; none of keys and values, or where the model is not where it was."""
    from prunekit.analysis import model_access
    from prunekit.support.errors import ConfigError, DataError

    if run.settings()["model"]["position"] == "prefix-kv":
        return pd.Series(dtype=object)
    try:
        embedding, names = model_access.embedding(run)
    except (ConfigError, DataError):
        return pd.Series(dtype=object)
    values = next(prompt.values for prompt in tables.subjects(run) if int(str(prompt.keys["seed"])) == seed)
    near = unit_scores.nearest_words(values, embedding, names, top=_WORDS)
    return near.groupby("token")["word"].agg(", ".join)
