"""The tables of a page, from those of the analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from prunekit.analysis import controls, tables
from prunekit.plots.report.parts import Column, Table, number, pairs, probability, significant, table_of, yes_no
from prunekit.runs import summary
from prunekit.runs.run import Run

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
_CELLS = {
    "tokens": Column("tokens"),
    "pieces": Column("pieces"),
    "cells": Column("cells"),
    "seeds": Column("seeds"),
    "validation": Column("validation", _THREE),
}
_CHOSEN = {
    "seed": Column("seed"),
    "tokens": Column("tokens"),
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
    found = [one for one in summary.summarise(results, metric) if one.stage in ("", stage)]
    frame = pd.DataFrame([vars(one) for one in found], columns=list(summary.RoundSummary.__dataclass_fields__))
    frame = frame.astype({"low": float, "high": float})
    return table_of(frame, _ROUNDS, f"Rounds, {metric}: means over seeds, 95 % t interval of test")


def seeds(rows: pd.DataFrame, metric: str) -> Table:
    """Every seed in every round. rows: of `prunekit.analysis.tables.rounds`, one stage and arm with its dense round."""
    frame = rows.sort_values(["round", "seed"])
    idle = {"head_parameters": not frame["head_parameters"].any(), "status": (frame["status"] == "done").all()}
    frame = frame.drop(columns=[name for name, same in idle.items() if same])
    return table_of(frame, _SEEDS, f"Seed by seed, {metric}; seconds are those of the whole cohort")


def searched(run: Run, stage: str, metric: str) -> list[Table]:
    """What a search tried, and what it chose."""
    tried = tables.trials(run, stage)
    done = tried[tried["status"] == "done"]
    keys = ["tokens", "pieces", "cells"]
    means = done.groupby(keys).agg(seeds=("seed", "nunique"), validation=("validation", "mean")).reset_index()
    means = means.sort_values("validation", ascending=False, kind="stable")
    arms = tables.arms(run, stage)
    chosen = arms[arms["arm"] == "ticket"].sort_values("seed")
    return [
        table_of(means, _CELLS, f"What was tried, best first: validation {metric}, means over seeds"),
        table_of(chosen, _CHOSEN, f"What each seed chose on validation, and its only look at test: {metric}"),
    ]


def compared(described: pd.DataFrame, comparisons: pd.DataFrame, metric: str) -> list[Table]:
    """The arms and the paired comparisons, scope by scope."""
    made = []
    for scope in described["scope"].unique():
        mine = described[described["scope"] == scope]
        made.append(table_of(mine, _ARMS, f"{scope}: test {metric} by arm, 95 % interval over seeds"))
        mine = comparisons[comparisons["scope"] == scope]
        made.append(table_of(mine, _COMPARED, f"{scope}: the ticket against each other arm, paired over seeds"))
    return made


def importance(measured: pd.DataFrame) -> list[Table]:
    """What `prunekit score` measured, one table per kind and level, best first. measured: of `tables.measured`."""
    made = []
    for (kind, level), rows in measured.groupby(["kind", "level"], sort=False):
        kept = rows[rows["kept"].astype(bool)].sort_values("score", ascending=False, kind="stable")
        kept = kept.drop(columns="piece") if level == "token" else kept
        kept = kept.dropna(axis="columns", how="all")
        first = rows.iloc[0]
        caption = f"{kind} per {level}, on {first['examples']} examples of {first['split']}; larger = keep"
        made.append(table_of(kept, _UNITS, caption, MOST_ROWS))
    return made


def drawn(table: pd.DataFrame, title: str) -> Table:
    """The numbers under a figure: every column that is not the same all the way down."""
    told = [name for name in table if table[name].nunique(dropna=False) > 1] or list(table)
    columns = {str(name): Column(str(name).replace("_", " "), _shown) for name in told}
    return table_of(table, columns, f"The numbers of {title}", MOST_ROWS)


def answers(table: pd.DataFrame, caption: str) -> Table:
    """Questions and answers of a study. table: of `conclusions.as_table`."""
    return table_of(table, {name: Column(name) for name in ("question", "answer", "sentence")}, caption)


def settings(found: Mapping[str, Any], caption: str) -> Table:
    """Nested settings as names and values."""
    return pairs({name: _plain(value) for name, value in _flat(found).items()}, caption)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _plain(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_plain, value))
    return str(value)


def _shown(value: Any) -> str:
    return significant(value) if isinstance(value, float) else str(value)
