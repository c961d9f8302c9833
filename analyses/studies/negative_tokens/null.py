"""`python -m analyses.studies.negative_tokens.null`: what share of units the study's tests call harmful where none is.

A share cannot be negative, so that "more than none" asks nothing: any unit that the tests name by mistake would do. So
it is compared with the share that the very same two tests, on validation and again on test, name of prompts of which no
unit matters: what leaving out costs an example is drawn with mean 0. Costs of mean 0 with a long tail to the right are
named more often than the level allows (`prunekit.analysis.token_importance.negative`), and measured costs may have such
a tail; so the rate is the highest of three shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from prunekit.analysis.token_importance import confirm, negative
from prunekit.support import atomic
from prunekit.support.statistics import Floats

_TABLE = Path(__file__).parent / "null.csv"
#: Of the study: by level, units of a prompt and examples of each split.
_SIZES = {"token": (20, 200), "piece": (320, 64)}
#: Costs of mean 0.
Noise = Callable[[np.random.Generator, tuple[int, int]], Floats]
_SHAPES: dict[str, Noise] = {
    "normal": lambda random, size: random.normal(size=size),
    "exponential": lambda random, size: random.exponential(size=size) - 1.0,
    "log-normal": lambda random, size: random.lognormal(size=size) - np.exp(0.5),
}


def table() -> pd.DataFrame:
    """The kept table, of `simulated`."""
    return pd.read_csv(_TABLE)


def rate(level: str) -> float:
    """The share of units (in [0, 1]) that is named where none does harm, of the worst shape."""
    kept = table()
    return float(kept.loc[kept["level"] == level, "share"].max())


def simulated(prompts: int = 200, seed: int = 0) -> pd.DataFrame:
    """The two tests on prompts without effect.

    Args:
        prompts: of each level and shape.

    Columns:
        level; shape (of the costs over examples); prompts; named (share of prompts with a negative unit on
            validation); share (of units that are confirmed on test, mean over prompts).
    """
    cells = product(_SIZES, _SHAPES)
    return pd.DataFrame([_row(*cell, prompts, [seed, place]) for place, cell in enumerate(cells)])


def _row(level: str, shape: str, prompts: int, seeds: list[int]) -> dict[str, object]:
    random = np.random.default_rng(seeds)
    shares = [_named(random, _SHAPES[shape], _SIZES[level], number) for number in range(prompts)]
    negatives, confirmed = np.mean(np.array(shares), axis=0)
    return {"level": level, "shape": shape, "prompts": prompts, "named": negatives, "share": confirmed}


def _named(random: np.random.Generator, costs: Noise, size: tuple[int, int], seed: int) -> tuple[bool, float]:
    """Whether a unit of one prompt is negative, and the share of its units that are confirmed."""
    tested = negative(costs(random, size), seed=seed)
    chosen = int(tested["negative"].sum())
    if not chosen:
        return False, 0.0
    return True, float(confirm(costs(random, (chosen, size[1])), tested, seed=seed)["confirmed"].sum()) / size[0]


if __name__ == "__main__":
    text = simulated().to_csv(index=False, lineterminator="\n", float_format="%.6g")
    atomic.replace(_TABLE, text.encode())
