"""`python -m analyses.studies.negative_tokens.null`: what share of units the study's tests call harmful where none is.

A share cannot be negative, so that "more than none" asks nothing: any unit that the tests name by mistake would do. It is
compared with the share that the very same two tests, on validation and again on test, name of prompts of which no unit
matters: what leaving out costs an example is drawn with mean 0. Costs of mean 0 with a long tail to the right are named
more often than the level allows (`prunekit.analysis.token_importance.negative`), and measured costs have such a tail;
so the rate is the highest of three shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from prunekit.analysis.token_importance import confirm, negative
from prunekit.support import atomic
from prunekit.support.statistics import Floats

_TABLE = Path(__file__).parent / "null.csv"
#: Of the study: by level, units of a prompt and examples of each split.
_SIZES = {"token": (20, 200), "piece": (320, 64)}
_SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "normal": lambda draw, size: draw.normal(size=size),
    "exponential": lambda draw, size: draw.exponential(size=size) - 1.0,
    "log-normal": lambda draw, size: draw.lognormal(size=size) - np.exp(0.5),
}


def rate(level: str) -> float:
    """The share of units (in [0, 1]) that is named where none does harm, of the worst shape, from the kept table."""
    table = pd.read_csv(_TABLE)
    return float(table.loc[table["level"] == level, "share"].max())


def simulated(prompts: int = 200, seed: int = 0) -> pd.DataFrame:
    """The two tests on prompts without effect.

    Args:
        prompts: of each level and shape.

    Columns:
        level; shape (of the costs over examples); prompts; named (share of prompts with a negative unit on
            validation); share (of units that are confirmed on test, mean over prompts).
    """
    return pd.DataFrame(list(_rows(prompts, np.random.default_rng(seed))))


def _rows(prompts: int, draw: np.random.Generator) -> Iterator[dict[str, object]]:
    for level, size in _SIZES.items():
        for shape, costs in _SHAPES.items():
            named, shares = [], []
            for number in range(prompts):
                table = negative(costs(draw, size), seed=number)
                chosen = int(table["negative"].sum())
                again = confirm(costs(draw, (chosen, size[1])), table, seed=number) if chosen else None
                named.append(chosen > 0)
                shares.append(0.0 if again is None else again["confirmed"].sum() / size[0])
            yield {
                "level": level, "shape": shape, "prompts": prompts, "named": np.mean(named), "share": np.mean(shares),
            }  # fmt: skip


if __name__ == "__main__":
    text = simulated().to_csv(index=False, lineterminator="\n", float_format="%.6g")
    atomic.replace(_TABLE, text.encode())
