"""The search for a learning rate: every rate for every seed, chosen on `validation`; test is seen at the chosen one.

Trainings lie in `rates/rate=0.05/seed=0/round=00`, shared by all grids of a run, and never see the test split. What
was chosen among a grid for some seeds is written again, with its look at it, in `rates-<id4>/seed=0/round=00`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prunekit.experiment.prepare import Prepared
from prunekit.experiment.round_runner import Progress, RoundRunner, RoundSpec
from prunekit.experiment.run import begun
from prunekit.runs.paths import RunKey, Stage
from prunekit.runs.run import Run
from prunekit.support.digest import identity

#: Where the trainings lie.
RATES = Stage("rates")
#: One training: its learning rate and seed.
Key = tuple[float, int]


@dataclass(frozen=True)
class Found:
    """What a search for a learning rate found in a run.

    Attributes:
        stage: where the chosen tickets lie.
        rates: those that were tried, for `seeds`, and the multiple of the run's own that each is.
        chosen: the best of them, None where no training came to its end.
    """

    run: Run
    stage: Stage
    rates: Mapping[float, float]
    seeds: tuple[int, ...]
    chosen: float | None


def search_rates(prepared: Prepared, factors: Sequence[float], out: Path, watch: Progress) -> Found:
    """Train every seed at every rate, choose one rate for all seeds, and look at test with it.

    Args:
        factors: multiples of the experiment's own learning rate. What is done already is loaded, not done again.
    """
    seeds = prepared.experiment.seeds
    rates = grid(prepared.plan.learning_rate, factors)
    with begun(prepared, out, watch) as (work, cohorts):
        asked = {"learning_rates": list(rates), "seeds": sorted(seeds)}
        stage = Stage.of(RATES, identity(asked, 4))
        work.directory.write_stage(RATES, {"holds": "trainings at one learning rate each, without test"})
        work.directory.write_stage(stage, asked)
        reached = {key: value for rate in rates for key, value in _train(work, rate, cohorts).items()}
        chosen = best({key: reached[key] for key in reached if key[1] in seeds}, prepared.plan.learning_rate)
        if chosen is not None:
            ended = [seed for seed in seeds if reached[chosen, seed] is not None]
            work.finish({RunKey(stage, seed, 0): _key(chosen, seed) for seed in ended})
    return Found(work.directory, stage, rates, tuple(seeds), chosen)


def grid(rate: float, factors: Sequence[float]) -> dict[float, float]:
    """The rates to try, of three digits, ascending, and the factor of each; factors: multiples of `rate`."""
    return {float(f"{rate * factor:.3g}"): factor for factor in sorted(factors)}


def best(reached: Mapping[Key, float | None], own: float) -> float | None:
    """The rate of the best mean over seeds, None where no training came to its end.

    A rate at which fewer seeds came to their end loses to one at which more did.

    Args:
        reached: the validation metric by rate and seed, None where it diverged.
        own: the rate that wins a tie, or else the one that is nearest to it by its logarithm, the smaller of two.
    """
    values: dict[float, list[float]] = {}
    for (rate, _), value in reached.items():
        values.setdefault(rate, []).extend([] if value is None else [value])

    def rank(rate: float) -> tuple[int, float, float, float]:
        ended = values[rate]
        mean = math.fsum(ended) / max(1, len(ended))
        return len(ended), round(mean, 9), -abs(round(math.log(rate / own), 6)), -rate

    tried = [rate for rate, ended in values.items() if ended]
    return max(tried, key=rank, default=None)


def _train(work: RoundRunner, rate: float, cohorts: Sequence[Sequence[int]]) -> dict[Key, float | None]:
    """The validation metric of every seed at a rate, cohort by cohort as the run was cut."""
    prepared = work.prepared
    turn = RoundSpec(f"learning rate {rate:g}", replace(prepared.plan, learning_rate=rate), test=False, score=False)
    reached: dict[Key, float | None] = {}
    for seeds in cohorts:
        learned = work.learn({_key(rate, seed): prepared.dense(seed) for seed in seeds}, turn)
        reached |= {(rate, key.seed): one.validation for key, one in learned.items()}
    return reached


def _key(rate: float, seed: int) -> RunKey:
    return RunKey(RATES.inside(f"rate={rate:g}"), seed, 0)
