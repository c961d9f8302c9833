"""How often the rule of all verdicts errs: simulated studies of which the truth is set, judged by the real code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import stdtr

from prunekit.analysis import verdicts
from prunekit.support import statistics
from prunekit.support.inference import ALPHA, infer
from prunekit.support.statistics import Floats

#: The most that false verdicts may come to.
BOUND = 0.06
ERRORS = ("shape", "design", "rule", "mean", "studies", "larger", "smaller", "equivalent", "inconclusive")
RATES = ("shape", "design", "false_holds", "false_equivalent", "equivalent_when_equal")

#: Deviates of mean 0, in the shape that is named.
Noise = Callable[[np.random.Generator, tuple[int, int]], Floats]
#: A verdict, and where a difference was found, whatever its size: 1 for a larger first arm, -1, or 0 for none.
Judged = tuple[str, int]
_STEP = 0.5


@dataclass(frozen=True)
class Case:
    """Studies of one kind; all sizes are in margins.

    Attributes:
        shape: what is peculiar to it.
        subsets: of each task.
        seeds: on each training subset.
        within: deviation of seeds, by task.
        between: deviation of subsets, by task.
        shifts: of tasks about their mean.
        noise: of subsets and of seeds.
        step: differences are multiples of it, as those of accuracies are; 0 for any.
    """

    shape: str
    subsets: tuple[int, ...] = (6, 6, 6)
    seeds: int = 2
    within: tuple[float, ...] = (0.8, 0.8, 0.8)
    between: tuple[float, ...] = (0.8, 0.8, 0.8)
    shifts: tuple[float, ...] = (0.0, 0.0, 0.0)
    noise: Noise = lambda random, size: random.normal(size=size)
    step: float = 0.0

    @property
    def design(self) -> str:
        """Such as "3 tasks x 6 subsets x 2 seeds"."""
        counts = " or ".join(map(str, dict.fromkeys(self.subsets)))
        return " x ".join(
            f"{count} {word}{'' if count == '1' else 's'}"
            for count, word in ((str(len(self.subsets)), "task"), (counts, "subset"), (str(self.seeds), "seed"))
        )

    def draw(self, random: np.random.Generator, mean: float) -> list[Floats]:
        """Differences of one study, of each task [subsets, seeds]."""
        tasks = []
        for subsets, within, between, shift in zip(self.subsets, self.within, self.between, self.shifts, strict=True):
            of_subsets = mean + shift + between * self.noise(random, (subsets, 1))
            values = of_subsets + within * self.noise(random, (subsets, self.seeds))
            tasks.append(np.round(values / self.step) * self.step if self.step else values)
        return tasks


def _skewed(skewness: float) -> Noise:
    """Of a gamma distribution, with a deviation of 1."""
    shape = 4 / skewness**2
    return lambda random, size: (random.gamma(shape, size=size) - shape) / shape**0.5


def _heavy(random: np.random.Generator, size: tuple[int, int]) -> Floats:
    return random.standard_t(3, size=size) / 3**0.5


_HEAVY, _DISCRETE = "heavy tails (t, 3 degrees of freedom)", "steps with ties"
#: The shapes that the bound is on.
SHAPES = (
    Case("normal"),
    Case("skewed (skewness 1.4)", noise=_skewed(1.4)),
    Case(_HEAVY, noise=_heavy),
    Case(_DISCRETE, within=(0.3,) * 3, between=(0.3,) * 3, step=_STEP),
    Case("unequal tasks", (4, 6, 10), 2, (0.3, 0.6, 1.5), (0.3, 0.6, 1.5), (-0.3, 0.0, 0.3)),
    Case("few subsets, seeds alike", (4,), 6, (0.15,), (0.45,), (0.0,)),
)
#: Beyond the six: as skewed as an exponential distribution.
VERY_SKEWED = Case("very skewed (skewness 2)", noise=_skewed(2.0))
#: One task on one subset, as most runs of a user are.
_ONE = Case("normal", (1,), 6, (0.8,), (0.0,), (0.0,))
SEEDS_ALONE = (
    _ONE,
    replace(_ONE, shape="skewed (skewness 1)", noise=_skewed(1.0)),
    replace(_ONE, shape=_HEAVY, noise=_heavy),
    replace(_ONE, shape=_DISCRETE, within=(0.4,), step=_STEP),
)
#: A mean of 0.4 margins over strata that differ by several: fixed tasks, and training subsets of one task.
APART = (
    Case("tasks apart", (1,) * 8, 6, (0.3,) * 8, (0.0,) * 8, tuple(np.linspace(-3, 3, 8))),
    Case("subsets apart", (8,), 6, (0.3,), (2.0,), (0.0,)),
)
_APART_MEAN = 0.4


def simulated(studies: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Verdicts on simulated studies.

    Columns:
        shape; design; rule ("now", or "before": signs of all seeds flipped, subsets as strata); mean (true difference,
            in margins); studies; larger, smaller (shares that find such a difference, with a p below 0.05, whatever the
            verdict makes of its size); equivalent, inconclusive (shares of the verdicts).
    """
    cases = [(case, mean, "now") for case in (*SHAPES, VERY_SKEWED, *SEEDS_ALONE) for mean in (0.0, 1.0, -1.0)]
    cases += [(case, _APART_MEAN, rule) for case in APART for rule in ("before", "now")]
    return pd.DataFrame(
        [_row(*case, studies, [seed, number]) for number, case in enumerate(cases)], columns=list(ERRORS)
    )


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """False verdicts of each kind of study, of its worse direction.

    Args:
        table: of `simulated`.

    Columns:
        shape, design; false_holds (a difference is found where the true mean is 0); false_equivalent (where it is one
            margin); equivalent_when_equal (share of equivalence where the mean is 0, which is right).
    """
    return pd.DataFrame(list(_rates(table[table["mean"].isin([0.0, 1.0, -1.0])])), columns=list(RATES))


def apart(table: pd.DataFrame) -> pd.DataFrame:
    """What the rule before and now say of a mean over strata that differ.

    Columns:
        shape, design, rule, larger, smaller, equivalent, inconclusive.
    """
    rows = table[table["mean"] == _APART_MEAN]
    return rows.drop(columns=["mean", "studies"]).reset_index(drop=True)


def _rates(table: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    for (shape, design), rows in table.groupby(["shape", "design"], sort=False):
        zero, edges = rows[rows["mean"] == 0], rows[rows["mean"] != 0]
        worse = max(zero["larger"].item(), zero["smaller"].item())
        yield shape, design, worse, edges["equivalent"].max(), zero["equivalent"].item()


def _row(case: Case, mean: float, rule: str, studies: int, seeds: list[int]) -> tuple[object, ...]:
    random = np.random.default_rng(seeds)
    judge = _now if rule == "now" else _before
    judged = [judge(case.draw(random, mean)) for _ in range(studies)]
    shares = (
        np.mean([way == 1 for _, way in judged]),
        np.mean([way == -1 for _, way in judged]),
        # arms that are equal in all units are said to be that
        np.mean([verdicts.is_equivalent(word) or verdicts.is_all_equal(word) for word, _ in judged]),
        np.mean([word == verdicts.INCONCLUSIVE for word, _ in judged]),
    )
    return case.shape, case.design, rule, mean, studies, *shares


def _now(tasks: Sequence[Floats]) -> Judged:
    inference = infer(tasks)
    return verdicts.judged(inference, inference.p, 1.0), _way(inference.estimate, inference.p)


def _before(tasks: Sequence[Floats]) -> Judged:
    """Each subset a fixed stratum, seeds the units: signs flipped for a difference, a t test for equivalence."""
    strata = [seeds for subsets in tasks for seeds in subsets]
    error, freedom = statistics.standard_error(strata)
    mean = statistics.estimate(strata)
    way = _way(mean, statistics.sign_flip(strata, flips=999))
    if stdtr(freedom, (abs(mean) - 1.0) / error) < ALPHA:
        return verdicts.equivalent(1.0), way
    return {1: verdicts.HOLDS, -1: verdicts.OTHER_WAY}.get(way, verdicts.INCONCLUSIVE), way


def _way(mean: float, p: float) -> int:
    return 0 if not p < ALPHA else 1 if mean > 0 else -1
