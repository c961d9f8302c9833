"""The search for a learning rate: every rate for every seed, chosen on `validation`; test is seen at the chosen one.

Trainings lie in `rates/rate=0.05/seed=0/round=00`, shared by all grids of a run, and never see the test split. The
tickets of the chosen rate are written again, with their test evaluation, in `rates-<id4>/seed=0/round=00`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prunekit.experiment.prepare import Prepared
from prunekit.experiment.round_runner import Progress, RoundRunner, RoundSpec
from prunekit.experiment.run import opened_run
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Run
from prunekit.support.digest import identity

#: Where the trainings lie.
RATES = "rates"
#: One training: its learning rate and seed.
Key = tuple[float, int]


@dataclass(frozen=True)
class RateSearch:
    """The result of a search for a learning rate.

    Attributes:
        run: where the trainings lie.
        stage: where the chosen tickets lie.
        rates: those that were tried, for `seeds`, and the multiple of the run's own that each is.
        chosen: the best of them, None where no training came to its end.
    """

    run: Run
    stage: str
    rates: Mapping[float, float]
    seeds: tuple[int, ...]
    chosen: float | None


def search_rates(prepared: Prepared, factors: Sequence[float], out: Path, progress: Progress) -> RateSearch:
    """Train every seed at every rate, choose one rate for all seeds, and look at test with it.

    Args:
        prepared: the experiment.
        factors: multiples of its own learning rate.
        out: the folder that holds runs.
        progress: where lines and progress go.
    """
    seeds = prepared.experiment.seeds
    rates = grid(prepared.plan.learning_rate, factors)
    with opened_run(prepared, out, progress) as (runner, cohorts):
        stage_settings = {"learning_rates": list(rates), "seeds": sorted(seeds)}
        stage = f"{RATES}-{identity(stage_settings, 4)}"
        runner.directory.write_stage(RATES, {"holds": "trainings at one learning rate each, without test"})
        runner.directory.write_stage(stage, stage_settings)
        metrics = {key: value for rate in rates for key, value in _train(runner, rate, cohorts).items()}
        chosen = best({key: metrics[key] for key in metrics if key[1] in seeds}, prepared.plan.learning_rate)
        if chosen is not None:
            ended = [seed for seed in seeds if metrics[chosen, seed] is not None]
            runner.finish({RunKey(stage, seed, 0): _key(chosen, seed) for seed in ended})
    return RateSearch(runner.directory, stage, rates, tuple(seeds), chosen)


def grid(rate: float, factors: Sequence[float]) -> dict[float, float]:
    """The rates to try, of three digits, ascending, and the factor of each; factors: multiples of `rate`."""
    return {float(f"{rate * factor:.3g}"): factor for factor in sorted(factors)}


def best(metrics: Mapping[Key, float | None], default_rate: float) -> float | None:
    """The rate of the best mean over seeds, None where no training came to its end.

    A rate at which fewer seeds came to their end loses to one at which more did.

    Args:
        metrics: the validation metric by rate and seed, None where it diverged.
        default_rate: wins a tie, or else the rate nearest to it by its logarithm, the smaller of two.
    """
    values: dict[float, list[float]] = {}
    for (rate, _), value in metrics.items():
        values.setdefault(rate, []).extend([] if value is None else [value])

    def rank(rate: float) -> tuple[int, float, float, float]:
        ended = values[rate]
        mean = math.fsum(ended) / max(1, len(ended))
        return len(ended), round(mean, 9), -abs(round(math.log(rate / default_rate), 6)), -rate

    tried = [rate for rate, ended in values.items() if ended]
    return max(tried, key=rank, default=None)


def _train(runner: RoundRunner, rate: float, cohorts: Sequence[Sequence[int]]) -> dict[Key, float | None]:
    """The validation metric of every seed at a rate, cohort by cohort as the run was cut."""
    prepared = runner.prepared
    spec = RoundSpec(f"learning rate {rate:g}", replace(prepared.plan, learning_rate=rate), test=False, score=False)
    metrics: dict[Key, float | None] = {}
    for seeds in cohorts:
        results = runner.learn({_key(rate, seed): prepared.dense(seed) for seed in seeds}, spec)
        metrics |= {(rate, key.seed): result.validation for key, result in results.items()}
    return metrics


def _key(rate: float, seed: int) -> RunKey:
    return RunKey(f"{RATES}/rate={rate:g}", seed, 0)
