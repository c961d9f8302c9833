"""Would so many units show an effect of such a size? Simulated before a study runs, by the rule that will decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prunekit.analysis.stratum import Stratum
from prunekit.support.inference import ALPHA, FEWEST, Inference, infer

#: Random sign flips of one simulated study: enough for a share, too few for a p that is reported.
_FLIPS = 1999


@dataclass(frozen=True)
class Power:
    """Shares of simulated studies, in [0, 1].

    Attributes:
        difference: that find a true difference of the size in question.
        equivalence: that find two arms equivalent within it whose mean difference is 0.
        false: that find a difference where that mean is 0.
    """

    difference: float
    equivalence: float
    false: float


def simulate(
    strata: Sequence[Stratum],
    seeds: int,
    effect: float,
    *,
    comparisons: int = 1,
    alpha: float = ALPHA,
    draws: int = 500,
    seed: int = 0,
) -> Power:
    """The power of a paired comparison over tasks, with the tasks' own effects and spreads.

    Args:
        strata: the tasks, such as a pilot's (`stratum.strata_of`).
        seeds: on each training subset of each task.
        effect: the smallest of interest, of the mean over tasks; the margin of equivalence too.
        comparisons: in the family; the first of Holm's correction is what the smallest p must pass, so this is a lower
            bound for the others.
        draws: simulated studies; a share of 0.8 of 500 is accurate to +-0.035.

    Raises:
        ValueError: without tasks, or with fewer than two units in one.
    """
    if not strata or any(max(stratum.subsets, seeds if stratum.subsets == 1 else 0) < 2 for stratum in strata):
        raise ValueError("name at least one stratum, and two units or more in each")
    random = np.random.default_rng(seed)
    counts = np.zeros(3)
    for _ in range(draws):
        shifted, centred = (_study(strata, random, seeds, mean) for mean in (effect, 0.0))
        enough = shifted.units >= FEWEST  # with fewer there is no verdict
        counts += (
            enough and shifted.p * comparisons < alpha,
            enough and centred.equivalence(effect) < alpha / 2 and centred.alike(effect),
            centred.p * comparisons < alpha,
        )
    return Power(*(float(count) for count in counts / draws))


def seeds_for(
    strata: Sequence[Stratum],
    effect: float,
    *,
    power: float = 0.8,
    comparisons: int = 1,
    alpha: float = ALPHA,
    most: int = 200,
) -> int | None:
    """The fewest seeds per training subset with which `difference` and `equivalence` reach `power`; None beyond `most`.

    Found by doubling and halving, each step simulated; accurate to the noise of `simulate`. Where training subsets
    differ, no number of seeds may do.

    Args:
        strata: the tasks.
        effect: as of `simulate`.
        comparisons: how many Holm corrects for.
    """

    def enough(seeds: int) -> bool:
        simulated = simulate(strata, seeds, effect, comparisons=comparisons, alpha=alpha, draws=200)
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


def _study(strata: Sequence[Stratum], random: np.random.Generator, seeds: int, mean: float) -> Inference:
    return infer([stratum.draw(random, seeds, mean) for stratum in strata], _FLIPS)
