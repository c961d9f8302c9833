"""Tests and intervals for paired differences: arrays in, numbers out, nothing about prompts.

`prunekit.support.inference` puts them together to the rule that decides.

`strata` holds one array per task, of one number per unit. The estimate is the mean of the means of the strata, so that
every task counts the same whatever its number of seeds; all spread is spread within strata. What is inferred holds
for further units of the same strata (other seeds on these tasks), not for further strata (other tasks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Strata = Sequence[Floats]

EXACT_UNITS = 16  # all 2**16 sign flips are tried; beyond, a random part of them
RANDOM_FLIPS = 99_999
TIE = 1e-10  # relative: sums of the same differences in another order are equal


def estimate(strata: Strata) -> float:
    """The mean of the means of the strata; NaN without any unit."""
    return float(np.mean([np.mean(values) for values in strata])) if strata else float("nan")


def sign_flip(strata: Strata, seed: int = 0, flips: int = RANDOM_FLIPS) -> float:
    """Two-sided p of the hypothesis that every difference is as likely to have the other sign.

    Exact up to `EXACT_UNITS` units; beyond, from random flips, the observed one counted among them so that p is valid
    (Phipson and Smyth 2010). Assumes no distribution. 1 without any unit. Of several strata that differ it finds
    little, since what they differ by counts as spread.

    Args:
        flips: how many random ones.
    """
    # the estimate as a sum over units: flipping a unit flips its term
    terms = np.concatenate([values / (values.size * len(strata)) for values in strata]) if strata else np.zeros(0)
    reached = abs(terms.sum()) - TIE * np.abs(terms).sum()
    if terms.size > EXACT_UNITS:
        signs = np.random.default_rng(seed).integers(0, 2, (flips, terms.size), dtype=np.int8) * 2 - 1
        return float((1 + np.count_nonzero(np.abs(signs @ terms) >= reached)) / (1 + flips))
    sums = np.zeros(1)
    for term in terms:
        sums = np.concatenate([sums + term, sums - term])
    return float(np.mean(np.abs(sums) >= reached))


def smallest_p(units: int) -> float:
    """The smallest p that `sign_flip` can reach: two flips of all, or the observed one alone among the random ones."""
    return min(1.0, max(2.0 ** (1 - units), 1 / (1 + RANDOM_FLIPS) if units > EXACT_UNITS else 0.0))


def units_needed(comparisons: int, alpha: float) -> int:
    """The units with which the first of `comparisons` under Holm's correction can come below `alpha`."""
    units = 1
    while comparisons * 2.0 ** (1 - units) >= alpha:
        units += 1
    return units


def holm(p: Floats) -> Floats:
    """Holm's corrected p [m] of p [m]: below alpha for any true null in at most a share alpha of all families."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    corrected = np.empty(p.size)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def standard_error(strata: Strata) -> tuple[float, float]:
    """Of the estimate, from variances within strata, and its degrees of freedom (Welch and Satterthwaite).

    NaN where a stratum has fewer than two units; 0, with a freedom of 1, where no unit differs from its stratum's.
    """
    if not strata or min(values.size for values in strata) < 2:
        return float("nan"), float("nan")
    # equal values have no variance, whatever the rounding of their mean, or of the means that they are
    parts = np.array([0.0 if _agree(values) else values.var(ddof=1) / values.size for values in strata])
    if not parts.any():
        return 0.0, 1.0
    shares = parts / parts.sum()
    freedom = 1 / np.sum(shares**2 / np.array([values.size - 1 for values in strata]))
    return float(np.sqrt(parts.sum()) / len(strata)), float(freedom)


def t_interval(strata: Strata, confidence: float) -> tuple[float, float]:
    """The t interval of the estimate; NaN where a stratum has fewer than two units."""
    error, freedom = standard_error(strata)
    reach = float(_t_reach(error, freedom, confidence))
    return estimate(strata) - reach, estimate(strata) + reach


def t_intervals(samples: Floats, confidence: float) -> tuple[Floats, Floats]:
    """The t interval of the mean of each row of `samples` [rows, units]: lows and highs [rows]."""
    units = samples.shape[1]
    mean, deviation = samples.mean(axis=1), samples.std(axis=1, ddof=1)
    reach = _t_reach(deviation, units - 1, confidence) / units**0.5
    return mean - reach, mean + reach


def cut(interval: tuple[float, float], bounds: tuple[float, float]) -> tuple[float, float]:
    """An interval of a mean without what the mean cannot be; for showing it, nothing is inferred from the cut.

    Args:
        bounds: the least and the most that it can be, in its own unit.
    """
    low, high = np.clip(interval, *bounds)
    return float(low), float(high)


def all_equal(strata: Strata) -> bool:
    """Whether every single difference is 0, which no test needs to tell."""
    return bool(strata) and all(not values.any() for values in strata)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar p: are the examples that a single side has right split evenly? 1 where there are none.

    Args:
        only_first: how many examples the first side alone has right.
        only_second: how many examples the second side alone has right.
    """
    from scipy import stats  # a second of import, which training does without until its end

    return float(stats.binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0


def clustered_interval(differences: NDArray[Any], confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean of `differences` [examples, seeds], whole rows resampled.

    A row stays together: the same example under all seeds is not several examples. NaN without any.
    """
    if differences.size == 0:
        return float("nan"), float("nan")
    # rows of equal sum are interchangeable, so drawing how often each sum comes up is drawing the rows, only faster
    sums, counts = np.unique(differences.sum(axis=1), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=resamples)
    means = drawn @ sums / differences.size
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _t_reach(error: Any, freedom: float, confidence: float) -> Any:
    """Half the width of a t interval, from one standard error or from many."""
    from scipy import stats  # as above

    return stats.t.ppf((1 + confidence) / 2, freedom) * error


def _agree(values: Floats) -> bool:
    return bool(np.ptp(values) <= TIE * np.abs(values).max())
