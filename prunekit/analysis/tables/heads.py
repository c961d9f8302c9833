"""The scores of a prefix's cells by token, layer and head."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prunekit.analysis.prefix_parts import Parts
from prunekit.analysis.tables.scores import SCORED, scores
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError

HEADS = (*(name for name in SCORED if name != "level"), "layer", "head", "part")


def heads(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """The scores of every round of one pruning of prefixes: a row for each token and layer, head, key or value.

    Args:
        stage: as of `tables.scores`.

    Columns:
        those of `tables.scores` without level; layer, head (-1 where a piece is a whole layer), part ("key", "value",
            or "" where it is both).

    Raises:
        ArtifactError: as `tables.scores`, and where the prompts of a run are no prefixes of keys and values, or their
            pieces neither layers nor heads nor keys and values.
    """
    tables = [_of_run(run, stage) for run in runs]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(HEADS))


def parts_of(run: RunReader) -> Parts | None:
    """The layers and heads of a run of prefixes; None of prompts of input vectors."""
    results = run.results()
    if results.empty or not {"cache_layers", "cache_heads"} <= set(results):
        return None
    first = results.dropna(subset=["cache_layers", "cache_heads"]).iloc[0]
    return Parts(int(first["cache_layers"]), int(first["cache_heads"]))


def _of_run(run: RunReader, stage: str | None) -> pd.DataFrame:
    parts = parts_of(run)
    if parts is None:
        raise ArtifactError(f"{run.path}: its prompts are not keys and values (--position prefix-kv)")
    cells = scores([run], stage)
    cells = cells[cells["level"] == "piece"].drop(columns="level")
    pieces = int(cells["piece"].max()) + 1
    group = parts.group_of(pieces)
    if group is None:
        raise ArtifactError(
            f"{run.path}: its {pieces} pieces are neither layers nor heads nor keys and values ({parts.layers} layers "
            f"of {parts.heads} heads)"
        )
    names = parts.names(group).rename_axis("piece").reset_index()
    return cells.merge(names, how="left", on="piece")[list(HEADS)]
