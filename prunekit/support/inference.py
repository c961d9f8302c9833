"""The one rule by which paired differences are judged: estimate, interval, test and equivalence from one spread.

Tasks are fixed strata: what is concluded holds for these tasks, each of which counts the same. A training subset is a
draw: where a task has several, its units are the means of its subsets, whatever number of seeds each mean is of, and
what is concluded holds for further subsets. Where it has one, its units are the seeds, and what is concluded holds for
further seeds on that subset alone; `Inference.spread` says which. Taking seeds as units where subsets differ would
call chance differences between subsets an effect (`analyses.studies.errors` measures how often).

All of it rests on the spread of units within tasks: the variance of the estimate is the mean of the tasks' variances of
their means, over their number; its degrees of freedom are those of Satterthwaite (1946, Biometrics Bulletin 2), as in
Welch's test (1947, Biometrika 34). The mean of subset means and their variance are the exact analysis of a balanced
nested design, and stay unbiased where subsets have unlike numbers of seeds. Equivalence is two one-sided t tests
(Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15), each at half of the level of the difference's two-sided
test: so that two arms are equivalent where the whole interval that is shown lies within the margin. At the usual 90 %
interval differences with a tail on one side pass more often than they may.

Seeds of one task on one subset have an exact test, which takes no normal distribution: flipped signs. It is their
test here. Over several tasks it would count what tasks differ by as spread, and find little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from prunekit.support import statistics
from prunekit.support.statistics import Floats

#: Of a task the differences of each of its training subsets, a number per seed.
Subsets = Sequence[Floats] | Floats
#: No verdict rests on fewer seeds in all.
FEWEST = 6
#: Of a p that decides.
ALPHA = 0.05


@dataclass(frozen=True)
class Inference:
    """What paired differences say of their mean over tasks.

    Attributes:
        tasks: mean of each task, in units of the measure.
        subsets: mean of each training subset of each task, in the tasks' order.
        units: pairs of seeds, over all subsets.
        estimate: mean of the tasks' means; NaN without any unit.
        error: its standard error; NaN where a task has a single unit, 0 where no unit of a task differs from another.
        freedom: degrees of freedom of that error.
        p: two-sided, of no difference; 1 where no spread can be seen.
        spread: what its units are: "seeds", "subsets", or "subsets, or seeds where a task has one subset".
        all_equal: whether the arms differ in no unit at all.
        independent: how many units the spread is over.
    """

    tasks: tuple[float, ...]
    subsets: tuple[float, ...]
    units: int
    estimate: float
    error: float
    freedom: float
    p: float
    spread: str
    all_equal: bool
    independent: int

    def interval(self, confidence: float = 1 - ALPHA) -> tuple[float, float]:
        """The t interval of the estimate; NaN where no spread was seen, since units that agree are no certainty."""
        if not self.error > 0:
            return float("nan"), float("nan")
        reach = float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        return self.estimate - reach, self.estimate + reach

    def equivalence(self, margin: float) -> float:
        """The p of two one-sided t tests of a mean difference of at least `margin` either way; small = equivalent.

        1 where a task has fewer than two units. Where no unit differs from another the sign test takes the place of
        the t test, which would be certain: 2**-units when the mean lies within the margin.
        """
        if np.isnan(self.error):
            return 1.0
        if self.error == 0:
            return 2.0**-self.independent if abs(self.estimate) < margin else 1.0
        return float(stdtr(self.freedom, (abs(self.estimate) - margin) / self.error))

    def alike(self, margin: float) -> bool:
        """Whether no two tasks' means differ by more than `margin`: else their mean is close to none of them."""
        return bool(self.tasks) and max(self.tasks) - min(self.tasks) <= margin


def infer(tasks: Sequence[Subsets], flips: int = statistics.RANDOM_FLIPS) -> Inference:
    """The rule on paired differences.

    Args:
        tasks: of each task its training subsets; of each of these the differences, one per seed. What is empty is left
            out.
        flips: random ones, where signs are flipped and not all flips can be tried.
    """
    filled = [[seeds for seeds in subsets if seeds.size] for subsets in tasks]
    filled = [subsets for subsets in filled if subsets]
    strata = [units_of(subsets) for subsets in filled]
    error, freedom = statistics.standard_error(strata)
    seeds = [values for subsets in filled for values in subsets]
    return Inference(
        tasks=tuple(float(values.mean()) for values in strata),
        subsets=tuple(float(values.mean()) for values in seeds),
        units=sum(values.size for values in seeds),
        estimate=statistics.estimate(strata),
        error=error,
        freedom=freedom,
        p=_t_test(strata, error, freedom) if _is_t(filled, error) else statistics.sign_flip(strata, flips=flips),
        spread=_spread([len(subsets) for subsets in filled]),
        all_equal=statistics.all_equal(seeds),
        independent=sum(values.size for values in strata),
    )


def units_of(subsets: Subsets) -> Floats:
    """The independent units of a task: the means of its subsets where it has several, else its seeds."""
    return subsets[0] if len(subsets) == 1 else np.array([seeds.mean() for seeds in subsets])


def _is_t(tasks: Sequence[Subsets], error: float) -> bool:
    """Whether a t test asks for a difference: neither where flipped signs are exact nor where no spread was seen."""
    return error != 0 and (len(tasks) > 1 or any(len(subsets) > 1 for subsets in tasks))


def _t_test(strata: Sequence[Floats], error: float, freedom: float) -> float:
    """1 where a task has a single unit, so that no spread can be seen."""
    return 1.0 if np.isnan(error) else float(2 * stdtr(freedom, -abs(statistics.estimate(strata)) / error))


def _spread(subsets: Sequence[int]) -> str:
    if all(count == 1 for count in subsets):
        return "seeds"
    return "subsets" if min(subsets) > 1 else "subsets, or seeds where a task has one subset"
