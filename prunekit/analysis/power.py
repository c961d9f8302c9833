"""Would so many units show an effect of such a size? Simulated before a study runs, with the tests that it will use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prunekit.support import statistics

#: Random sign flips of one simulated study: enough for a share, too few for a p that is reported.
_FLIPS = 1999


@dataclass(frozen=True)
class Power:
    """Shares of simulated studies, in [0, 1].

    Attributes:
        difference: that find a true difference of the size in question.
        equivalence: that find two equal arms equivalent within it.
        false: that find a difference where there is none.
    """

    difference: float
    equivalence: float
    false: float


def simulate(
    deviations: Sequence[float],
    units: int,
    effect: float,
    *,
    comparisons: int = 1,
    alpha: float = 0.05,
    draws: int = 500,
    seed: int = 0,
) -> Power:
    """The power of a paired comparison over strata, of normal differences.

    Args:
        deviations: standard deviation of the paired differences within each stratum, such as a pilot's on each task.
        units: in each stratum.
        effect: the smallest of interest; the margin of equivalence too.
        comparisons: in the family; the first of Holm's correction is what the smallest p must pass, so this is a lower
            bound for the others.
        draws: simulated studies; a share of 0.8 of 500 is accurate to +-0.035.

    Raises:
        ValueError: without strata, or with fewer than two units in each.
    """
    if not deviations or units < 2:
        raise ValueError("name the deviation of at least one stratum, and two units or more in each")
    random = np.random.default_rng(seed)
    counts = np.zeros(3)
    for number in range(draws):
        noise = [random.normal(0.0, deviation, units) for deviation in deviations]
        shifted = [differences + effect for differences in noise]
        counts += (
            statistics.sign_flip(shifted, number, flips=_FLIPS) * comparisons < alpha,
            statistics.equivalence(noise, effect) < alpha,
            statistics.sign_flip(noise, number, flips=_FLIPS) * comparisons < alpha,
        )
    return Power(*(counts / draws))


def units_for(
    deviations: Sequence[float],
    effect: float,
    *,
    power: float = 0.8,
    comparisons: int = 1,
    alpha: float = 0.05,
    most: int = 200,
) -> int | None:
    """The fewest units per stratum with which both `difference` and `equivalence` reach `power`; None beyond `most`.

    Found by doubling and halving, each step simulated; accurate to the noise of `simulate`.

    Args:
        deviations: standard deviation of the differences in each stratum.
        comparisons: how many Holm corrects for.
    """

    def enough(units: int) -> bool:
        simulated = simulate(deviations, units, effect, comparisons=comparisons, alpha=alpha, draws=200)
        return min(simulated.difference, simulated.equivalence) >= power

    low, high = 1, 2  # too few, perhaps enough
    while not enough(high):
        low, high = high, 2 * high
        if high > most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
