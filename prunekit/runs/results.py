"""The one table of what the tickets of a run came to; whoever shows or compares results selects from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from prunekit.runs.paths import RunKey

if TYPE_CHECKING:
    import pandas as pd

#: What is told of the time that a round took, in seconds, examples a second, and members that shared it.
TIMES = ("seconds", "examples_per_second", "members")
#: What is told of a request behind a prefix of keys and values, and behind all its tokens: seconds a token.
REQUEST_TIMES = ("prefill_seconds", "decode_seconds", "dense_prefill_seconds", "dense_decode_seconds")


class Results(Protocol):
    """What is asked of a run."""

    def result(self, key: RunKey) -> dict[str, Any]:
        """What a finished round came to."""

    def timing(self, key: RunKey) -> dict[str, float]:
        """The times of a round; empty where they are not known."""


def results_table(run: Results, keys: Iterable[RunKey], *, times: bool = False) -> pd.DataFrame:
    """One row per finished ticket, in the order of the keys.

    Args:
        times: also how long each round took.

    Columns:
        stage (str: the folder at the run's root, "" is the dense round); arm (str: a control's name or the trial of a
            search, "" the ticket itself); those of `result.json`, where metrics by split are columns such as
            `test_accuracy`; with `times` those of `TIMES`, NaN where not known, and of prefixes `REQUEST_TIMES`.

    Raises:
        ArtifactError: where the run is damaged.
    """
    import pandas as pd

    return pd.DataFrame([_row(run, key) | (_times(run, key) if times else {}) for key in keys])


def _row(run: Results, key: RunKey) -> dict[str, Any]:
    return {"stage": str(key.stage.top), "arm": key.stage.arm, **_flat(run.result(key))}


def _times(run: Results, key: RunKey) -> dict[str, float]:
    timing = run.timing(key)
    of_request = {name: timing[name] for name in REQUEST_TIMES if name in timing}
    return {name: timing.get(name, math.nan) for name in TIMES} | of_request


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """Nested metrics as columns such as `test_accuracy`."""
    row: dict[str, Any] = {}
    for name, value in result.items():
        row |= {f"{name}_{inner}": item for inner, item in value.items()} if isinstance(value, dict) else {name: value}
    return row
