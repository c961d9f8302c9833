"""What a prefix of keys and values costs whoever serves it: memory and time of each request, round by round."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prunekit.analysis.tables.run_columns import run_columns
from prunekit.runs.paths import Stage
from prunekit.runs.reader import RunReader

#: Gigabytes for the prefixes of requests that are served at the same time, where nothing else is said.
CACHE_MEMORY = 8.0
COLUMNS = (
    "run", "stage", "round", "tokens", "density", "cache_bytes", "requests", "prefill_ms", "dense_prefill_ms",
    "decode_ms", "dense_decode_ms", "seeds",
)  # fmt: skip


def request_cost(runs: Sequence[RunReader], memory: float = CACHE_MEMORY) -> pd.DataFrame:
    """The rounds of runs of prefixes, dense ones included; empty where no run has a prefix.

    Args:
        memory: gigabytes (10^9 bytes) that hold the prefixes of requests.

    Columns:
        run, stage ("" is dense), round; tokens, density (kept, means over seeds); cache_bytes (keys and values of the
            prefix that a request keeps: slots x H x bytes of a number); requests (int: how many of these fit the
            memory); prefill_ms, decode_ms (measured: milliseconds to read and to write a token, medians of a few turns,
            means over seeds), dense_prefill_ms, dense_decode_ms (the same in the same turns behind all tokens), all NaN
            where the times are not known; seeds (int).
    """
    tables = [_of_run(run, memory) for run in runs]
    whole = pd.concat([table for table in tables if len(table)] or [pd.DataFrame()], ignore_index=True)
    return whole.reindex(columns=list(COLUMNS))


def of_results(results: pd.DataFrame, memory: float = CACHE_MEMORY) -> pd.DataFrame:
    """The same from a run's results table with its times; the column `run` is left out."""
    if "cache_bytes" not in results:
        return pd.DataFrame()
    of_stage = results["stage"].map(lambda stage: Stage(stage).is_dense or Stage(stage).is_pruned)
    tickets = results[of_stage & (results["arm"] == "") & (results["status"] == "done")].copy()
    for name in ("prefill", "dense_prefill", "decode", "dense_decode"):
        tickets[f"{name}_ms"] = 1000 * tickets.get(f"{name}_seconds", float("nan"))
    measures = [name for name in COLUMNS if name in tickets and name not in ("run", "stage", "round")]
    groups = tickets.groupby(["stage", "round"], sort=True)
    costs = groups[measures].mean().assign(seeds=groups.size()).reset_index()
    return costs.assign(requests=(1e9 * memory // costs["cache_bytes"]).astype(int))


def _of_run(run: RunReader, memory: float) -> pd.DataFrame:
    return of_results(run.results(times=True), memory).assign(run=run_columns(run)["run"])
