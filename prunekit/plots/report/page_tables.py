"""The tables of a page, from those of the analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from prunekit.analysis import controls, tables
from prunekit.analysis.request_cost import CACHE_MEMORY
from prunekit.plots.report.page_parts import Column, Table, number, pairs, probability, significant, table_of, yes_no
from prunekit.runs import summary
from prunekit.runs.paths import DENSE
from prunekit.runs.reader import RunReader

# rows of the numbers under a figure, and of a table of single tokens
MOST_ROWS = 200


def _arm(name: str) -> str:
    return controls.LABELS.get(name, name)


_THREE = number(3)
_DENSITY = number(2)
_SIGNED = number(3, "+z")

_ROUNDS = {
    "round": Column("round"),
    "tokens": Column("tokens"),
    "pieces": Column("pieces"),
    "density": Column("density", _DENSITY),
    "seeds": Column("seeds"),
    "validation": Column("validation", _THREE),
    "test": Column("test", _THREE),
    "low": Column("95 % low", _THREE),
    "high": Column("high", _THREE),
}
_REQUESTS = {
    "round": Column("round"),
    "tokens": Column("tokens", number(0)),
    "density": Column("density", _DENSITY),
    "cache_bytes": Column("bytes of cache", "{:,.0f}".format),
    "requests": Column(f"fit {CACHE_MEMORY:g} GB", "{:,}".format),
    "prefill_ms": Column("ms to read a token", number(2)),
    "dense_prefill_ms": Column("behind all", number(2)),
    "decode_ms": Column("ms to write a token", number(2)),
    "dense_decode_ms": Column("behind all", number(2)),
}
_SEEDS = {
    "round": Column("round"),
    "seed": Column("seed"),
    "tokens": Column("tokens"),
    "pieces": Column("pieces"),
    "density": Column("density", _DENSITY),
    "parameters": Column("parameters"),
    "head_parameters": Column("head parameters"),
    "steps": Column("updates"),
    "kept_step": Column("kept at"),
    "validation": Column("validation", _THREE),
    "test": Column("test", _THREE),
    "seconds": Column("seconds", number(0)),
    "status": Column("status"),
}
_TRIALS = {
    "rank": Column("rank"),
    "parameters": Column("free numbers"),
    "tokens": Column("tokens"),
    "pieces": Column("pieces"),
    "cells": Column("cells"),
    "seeds": Column("seeds"),
    "validation": Column("validation", _THREE),
}
_CHOSEN = {
    "seed": Column("seed"),
    "tokens": Column("tokens"),
    "rank": Column("rank"),
    "density": Column("density", _DENSITY),
    "validation": Column("validation", _THREE),
    "test": Column("test", _THREE),
}
_ARMS = {
    "arm": Column("arm", _arm),
    "units": Column("units"),
    "tokens": Column("tokens", number(1)),
    "density": Column("density", _DENSITY),
    "updates": Column("updates", number(0)),
    "test": Column("test", _THREE),
    "low": Column("95 % low", _THREE),
    "high": Column("high", _THREE),
}
_COMPARED = {
    "against": Column("against", _arm),
    "family": Column("family"),
    "units": Column("pairs"),
    "difference": Column("ticket less it", _SIGNED),
    "low": Column("95 % low", _SIGNED),
    "high": Column("high", _SIGNED),
    "p": Column("p", probability),
    "smallest_p": Column("smallest p", probability),
    "p_corrected": Column("p Holm", probability),
    "p_equivalence": Column("p equivalent", probability),
    "verdict": Column("verdict"),
}
_GROUPS = {
    "layer": Column("layer"),
    "head": Column("head", lambda head: "all" if head < 0 else str(head)),
    "part": Column("part"),
    "seed": Column("seed"),
    "round": Column("round"),
    "score": Column("score", number(4)),
    "low": Column("95 % low", number(4)),
    "high": Column("high", number(4)),
    "p_corrected": Column("p Holm", probability),
    "negative": Column("negative", yes_no),
}
_UNITS = {
    "token": Column("token"),
    "piece": Column("piece"),
    "seed": Column("seed"),
    "score": Column("score", number(4)),
    "error": Column("std error", number(4)),
    "low": Column("95 % low", number(4)),
    "high": Column("high", number(4)),
    "p_corrected": Column("p Holm", probability),
    "negative": Column("negative", yes_no),
    "test_cost": Column("on test", number(4)),
    "confirmed": Column("confirmed", yes_no),
}


def rounds(results: pd.DataFrame, stage: str, metric: str) -> Table:
    """The rounds of a pruning, the dense one first, as means over seeds."""
    entries = [vars(entry) for entry in summary.summarise(results, metric) if entry.stage in (DENSE, stage)]
    frame = pd.DataFrame(entries, columns=list(summary.RoundSummary.__dataclass_fields__))
    frame = frame.astype({"low": float, "high": float})
    return table_of(frame, _ROUNDS, f"Rounds, {metric}: means over seeds, 95 % t interval of test")


def requests(costs: pd.DataFrame) -> Table:
    """What a request behind each round's prefix keeps and takes.

    Args:
        costs: of `prunekit.analysis.request_cost`.
    """
    caption = (
        f"What a request costs: keys and values of its prefix, how many such fit {CACHE_MEMORY:g} GB, and milliseconds "
        "to read and to write a token, measured in turns with a request behind all tokens"
    )
    measured = costs.dropna(axis="columns", how="all")  # no times where they are not known
    return table_of(measured, _REQUESTS, caption)


def seeds(rows: pd.DataFrame, metric: str) -> Table:
    """Every seed in every round.

    Args:
        rows: of `prunekit.analysis.tables.rounds`, one stage and arm with its dense round.
        metric: the primary one.
    """
    frame = rows.sort_values(["round", "seed"])
    idle = {"head_parameters": not frame["head_parameters"].any(), "status": (frame["status"] == "done").all()}
    frame = frame.drop(columns=[name for name, same in idle.items() if same])
    return table_of(frame, _SEEDS, f"Seed by seed, {metric}; seconds are those of the whole cohort")


def searched(run: RunReader, stage: str, metric: str) -> list[Table]:
    """What a search tried, and what it chose."""
    tried = tables.trials(run, stage)
    ended = tried[tried["status"] == "done"]
    sizes = ["rank", "parameters"] if "rank" in tried else ["tokens", "pieces", "cells"]
    means = ended.groupby(sizes).agg(seeds=("seed", "nunique"), validation=("validation", "mean")).reset_index()
    chosen_by = summary.chosen_by(run.results(), metric)
    means = means.sort_values("validation", ascending=chosen_by == "loss", kind="stable")
    by = "" if chosen_by == metric else f" by its {chosen_by}"
    chosen = tables.chosen(run, stage)
    return [
        table_of(means, _TRIALS, f"What was tried, best first: validation {chosen_by}, means over seeds"),
        table_of(chosen, _CHOSEN, f"What each seed chose on validation{by}, and its only look at test: {metric}"),
    ]


def compared(described: pd.DataFrame, comparisons: pd.DataFrame, metric: str) -> list[Table]:
    """The arms and the paired comparisons, scope by scope."""
    side_by_side = []
    for scope in described["scope"].unique():
        arms, pairs = (table[table["scope"] == scope] for table in (described, comparisons))
        side_by_side.append(table_of(arms, _ARMS, f"{scope}: test {metric} by arm, 95 % interval over seeds"))
        side_by_side.append(
            table_of(pairs, _COMPARED, f"{scope}: the ticket against each other arm, paired over seeds")
        )
    return side_by_side


def importance(measured: pd.DataFrame) -> list[Table]:
    """What `prunekit score` measured, one table per kind and level, best first.

    Args:
        measured: of `tables.measured`.
    """
    by_kind = []
    for (kind, level), rows in measured.groupby(["kind", "level"], sort=False):
        kept = rows[rows["kept"].astype(bool)].sort_values("score", ascending=False, kind="stable")
        kept = kept.drop(columns="piece") if level == "token" else kept
        kept = kept.dropna(axis="columns", how="all")
        first = rows.iloc[0]
        caption = f"{kind} per {level}, on {first['examples']} examples of {first['split']}; larger = keep"
        by_kind.append(table_of(kept, _UNITS, caption, MOST_ROWS))
    return by_kind


def groups(measured: pd.DataFrame) -> list[Table]:
    """What leaving out whole layers, heads, keys or values of prefixes costs, one table per level, dearest first.

    Args:
        measured: of `tables.measured_groups`.
    """
    by_level = []
    for level, rows in measured[measured["kept"].eq(True)].groupby("level", sort=False):
        first = rows.iloc[0]
        dearest = rows.sort_values("score", ascending=False, kind="stable").dropna(axis="columns", how="all")
        caption = f"leaving one {level} of all tokens out, on {first['examples']} examples of {first['split']}"
        by_level.append(table_of(dearest, _GROUPS, caption, MOST_ROWS))
    return by_level


def drawn(table: pd.DataFrame, title: str) -> Table:
    """The numbers under a figure: every column that is not the same all the way down."""
    varying = [name for name in table if table[name].nunique(dropna=False) > 1] or list(table)
    columns = {str(name): Column(str(name).replace("_", " "), _rounded) for name in varying}
    return table_of(table, columns, f"The numbers of {title}", MOST_ROWS)


def answers(table: pd.DataFrame, caption: str) -> Table:
    """Questions and answers of a study.

    Args:
        table: of `conclusions.as_table`.
        caption: of the page's table.
    """
    return table_of(table, {name: Column(name) for name in ("question", "answer", "sentence")}, caption)


def settings(nested: Mapping[str, Any], caption: str) -> Table:
    """Nested settings as names and values."""
    return pairs({name: _plain(value) for name, value in _flat(nested).items()}, caption)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _plain(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_plain, value))
    return str(value)


def _rounded(value: Any) -> str:
    return significant(value) if isinstance(value, float) else str(value)
