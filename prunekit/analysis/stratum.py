"""One task of a study as a simulation needs it: how its effect and its units spread, such as a pilot has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prunekit.support.inference import Subsets, units_of
from prunekit.support.statistics import Floats


@dataclass(frozen=True)
class Stratum:
    """A task, its paired differences taken as normal.

    Attributes:
        within: standard deviation of seeds on one training subset, in units of the measure.
        between: standard deviation of what training subsets are worth, beyond what their seeds explain.
        subsets: number of training subsets.
        shift: its mean less the mean of all tasks.
    """

    within: float
    between: float = 0.0
    subsets: int = 1
    shift: float = 0.0

    def draw(self, random: np.random.Generator, seeds: int, mean: float) -> Floats:
        """Differences [subsets, seeds] about the mean of all tasks, shifted as this task is."""
        of_subsets = random.normal(mean + self.shift, self.between, (self.subsets, 1))
        return of_subsets + random.normal(0.0, self.within, (self.subsets, seeds))


def strata_of(tasks: Sequence[Subsets]) -> tuple[Stratum, ...]:
    """The tasks of a pilot.

    Args:
        tasks: of each task its training subsets, of each of these the differences, one per seed.

    Raises:
        ValueError: where no subset of a task has two seeds.
    """
    means = [float(units_of(subsets).mean()) for subsets in tasks]
    return tuple(
        Stratum(*_deviations(subsets), len(subsets), mean - float(np.mean(means)))
        for subsets, mean in zip(tasks, means, strict=True)
    )


def _deviations(subsets: Subsets) -> tuple[float, float]:
    """Within and between subsets: the components of a nested design, the second no less than 0."""
    freedom = sum(seeds.size - 1 for seeds in subsets)
    if freedom < 1:
        raise ValueError("no training subset has two seeds, so that no spread can be seen")
    within = sum(float(((seeds - seeds.mean()) ** 2).sum()) for seeds in subsets) / freedom
    if len(subsets) == 1:
        return float(within**0.5), 0.0
    of_means = float(units_of(subsets).var(ddof=1)) - within * float(np.mean([1 / seeds.size for seeds in subsets]))
    return float(within**0.5), max(of_means, 0.0) ** 0.5
