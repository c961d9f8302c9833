"""Intervals of a metric over rows: rows are drawn again, a row's seeds kept together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

#: Of a 95 % interval.
LEVEL = 0.95
_RESAMPLES = 2_000
Floats = NDArray[np.float64]


def samples(rows: int) -> NDArray[np.int64]:
    """[R, N] rows of each sample, the same ones for the same N."""
    return np.random.default_rng(0).integers(0, rows, (_RESAMPLES, rows))


def resampled(total: Callable[[Floats], float], seeds: Sequence[Floats], drawn: NDArray[np.int64]) -> Floats:
    """The metric [R] of each sample, mean over seeds; a corpus score is computed anew of each.

    Args:
        total: the metric of [N, k] rows; their mean where k is 1.
        seeds: of each what its rows add, [N, k].
        drawn: [R, N] rows of each sample.
    """
    if seeds[0].shape[1] == 1:
        values: Floats = np.mean([part[:, 0] for part in seeds], axis=0)
        means: Floats = values[drawn].mean(axis=1)
        return means
    return np.array([np.mean([total(part[sample]) for part in seeds]) for sample in drawn])


def interval(values: Floats) -> tuple[float, float]:
    """The ends of the middle 95 % of a bootstrap's values, in their units."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
