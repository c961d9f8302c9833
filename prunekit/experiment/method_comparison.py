"""Parameterisations side by side, with one budget of updates, each at its best learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit.experiment import cost, dry_run, pace
from prunekit.experiment.budget import Budget, Trainings, check_minutes, fitted
from prunekit.experiment.learning_rate import RATES, RateSearch, grid, search_rates
from prunekit.experiment.prepare import Prepared, prepare
from prunekit.experiment.round_runner import Progress
from prunekit.experiment.run import with_whole_cohorts
from prunekit.experiment.settings import Experiment
from prunekit.models import FrozenModel
from prunekit.prompts import METHODS, Method
from prunekit.runs.paths import RESULTS, RunKey
from prunekit.support import atomic, toml
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError, DivergedError
from prunekit.support.statistics import cut, t_interval
from prunekit.tasks.metrics import bounds

#: Multiples of each method's own learning rate that are tried where none are asked for.
FACTORS = (0.3, 1.0, 3.0)
CONFIDENCE = 0.95
_SETTINGS = "comparison.toml"


@dataclass(frozen=True)
class Comparison:
    """What a comparison of parameterisations found.

    Attributes:
        table: a row for each task and method, as `summarise` makes it.
        trainings: a row for each training, as it is written to results.parquet.
        metrics: each task's primary metric.
        chosen_by: of each task what on validation chose the rate: that metric, or the "loss" where answers are written.
        factors: the multiples of each method's own rate that were tried.
        folder: where both tables can be made anew from.
    """

    table: pd.DataFrame
    trainings: pd.DataFrame
    metrics: Mapping[str, str]
    chosen_by: Mapping[str, str]
    factors: tuple[float, ...]
    folder: Path

    def check_ended(self) -> None:
        """Whether every method has a training that came to its end.

        Raises:
            DivergedError: naming the methods that have none.
        """
        lost = self.table[self.table["seeds"] == 0]
        if len(lost):
            names = ", ".join(lost["method"])
            raise DivergedError(f"no training of {names} came to its end; try smaller factors with --learning-rates")


def methods_of(names: str | Sequence[str] | None) -> tuple[Method, ...]:
    """The methods of "direct,dpt", or of a list of names; empty where none are named.

    Raises:
        ConfigError: naming the one that there is not.
    """
    names = (names or "").split(",") if isinstance(names, str | None) else names
    wanted = [name.strip() for name in names if name.strip()]
    for name in wanted:
        if name not in METHODS:
            raise ConfigError(f'--methods: there is no "{name}"; choose of {", ".join(METHODS)}')
    return tuple(method for method in METHODS if method in wanted)


def factors_of(factors: str | Sequence[float] | None) -> tuple[float, ...]:
    """The factors of "0.3,1,3", or of a list of numbers, ascending.

    Raises:
        ConfigError: where one is no positive number.
    """
    parts = factors.split(",") if isinstance(factors, str) else factors
    try:
        numbers = FACTORS if parts is None else tuple(sorted({float(part) for part in parts}))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < factor < math.inf for factor in numbers):
        raise ConfigError(f"--learning-rates {factors}: give multiples of each method's own rate, such as 0.3,1,3")
    return numbers


def compare_methods(
    experiments: Sequence[Experiment],
    out: Path,
    methods: Sequence[Method],
    factors: tuple[float, ...],
    progress: Progress,
    model: FrozenModel | None = None,
    minutes: float | None = None,
) -> Comparison:
    """Train every method at every rate on every task, or go on where it was stopped.

    Args:
        experiments: one a task.
        methods: empty for all that need no further setting.
        factors: multiples of each method's own learning rate.
        model: that of the experiments, where it is loaded already.
        minutes: that all may take; updates and examples that are not set are chosen to fit, alike for every method.

    Raises:
        ConfigError: in one line, before anything is trained.
    """
    fitting = Fitting(tuple(methods), factors, out, minutes)
    prepared = _all_prepared(experiments, fitting, progress, model)
    searches = []
    for number, candidate in enumerate(prepared, start=1):
        progress.say(f"{number} of {len(prepared)}: {candidate.experiment.prompt.method} on {candidate.task.name}")
        searches.append(search_rates(candidate, factors, out, progress))
    trainings = pd.concat([_trainings(*pair) for pair in zip(prepared, searches, strict=True)], ignore_index=True)
    metrics = {candidate.task.name: candidate.task.metrics[0] for candidate in prepared}
    table = summarise(trainings, [_seconds(search) for search in searches], bounds(*metrics.values()))
    chosen_by = {candidate.task.name: candidate.task.chosen_by for candidate in prepared}
    return Comparison(table, trainings, metrics, chosen_by, factors, _write(trainings, searches, factors, out))


@dataclass(frozen=True)
class Fitting:
    """What is trained on each task, and what it may take.

    Attributes:
        methods: empty for all that need no further setting.
        factors: multiples of each method's own learning rate.
        out: folder of the runs, where an earlier call left what it chose.
        minutes: of all tasks together; None for as long as it takes.
    """

    methods: tuple[Method, ...]
    factors: tuple[float, ...]
    out: Path
    minutes: float | None = None

    def __post_init__(self) -> None:
        check_minutes(self.minutes)


def forecast_comparison(experiments: Sequence[Experiment], fitting: Fitting, progress: Progress) -> pd.DataFrame:
    """How many trainings `compare_methods` would make, and for how many minutes at most; nothing is written.

    Columns:
        task, method, trainings, minutes.
    """
    rows: list[dict[str, Any]] = []
    for prepared in _all_prepared(experiments, fitting, progress):
        part = _part(with_whole_cohorts(prepared, fitting.out), fitting.factors)
        (spent,) = cost.costs([part], cost.Workload.of(prepared), pace.measured(prepared))
        rows.append(
            {"task": prepared.task.name, "method": part.title, "trainings": part.tickets, "minutes": spent.minutes}
        )
    return pd.DataFrame(rows)


def _part(prepared: Prepared, factors: Sequence[float]) -> dry_run.Part:
    """The trainings of a method: every seed at every rate."""
    settings, prompt = prepared.experiment, prepared.experiment.prompt
    count = len(grid(prepared.plan.learning_rate, factors)) * len(settings.seeds)
    return dry_run.Part(prompt.method, str(prompt.tokens), str(prompt.pieces), count, prompt.tokens)


def summarise(
    trainings: pd.DataFrame, seconds: Sequence[float], ends: tuple[float, float] = (-math.inf, math.inf)
) -> pd.DataFrame:
    """One row per task and method, at its chosen rate.

    Args:
        trainings: as written to results.parquet.
        seconds: of one training, in the order of tasks and methods.
        ends: what the metric can be; intervals are cut there.

    Columns:
        task, method, parameters, head_parameters; rate (NaN where all diverged); seeds that came to their end; updates,
            seconds, validation (what chose the rate), test (means over those seeds); low, high (95 % t interval of
            test, NaN below two seeds); majority (test metric of the most common answer).
    """
    rows = []
    groups = trainings.groupby(["task", "method"], sort=False)
    for ((task, method), part), spent in zip(groups, seconds, strict=True):
        kept = part[part["chosen"] & (part["status"] == "done")]
        first, test = part.iloc[0], kept["test"].to_numpy(dtype=float)
        low, high = cut(t_interval([test], CONFIDENCE), ends) if len(kept) > 1 else (math.nan, math.nan)
        rows.append(
            {
                "task": task,
                "method": method,
                "parameters": int(first["parameters"]),
                "head_parameters": int(first["head_parameters"]),
                "rate": kept["rate"].iloc[0] if len(kept) else math.nan,
                "seeds": len(kept),
                "updates": kept["updates"].mean(),
                "seconds": spent,
                "validation": kept["validation"].mean(),
                "test": test.mean() if len(kept) else math.nan,
                "low": low,
                "high": high,
                "majority": first["majority"],
            }
        )
    return pd.DataFrame(rows)


def _all_prepared(
    experiments: Sequence[Experiment], fitting: Fitting, progress: Progress, model: FrozenModel | None = None
) -> list[Prepared]:
    """Every task with every method, on one model: what is wrong with the last is said before the first is trained."""
    prepared: list[Prepared] = []
    for experiment in experiments:
        if any(experiment.task.name == earlier.experiment.task.name for earlier in prepared):
            raise ConfigError(f"--task names {experiment.task.name} twice")
        started, methods = time.monotonic(), fitting.methods or tuple(_ready(experiment, progress))
        of_task = _of_methods(experiment, methods, prepared[0].model if prepared else model)
        if fitting.minutes is not None:
            share = replace(fitting, methods=methods, minutes=fitting.minutes / len(experiments))
            of_task = _fitted(of_task, experiment, share, progress, started)
        prepared += of_task
    _introduce(prepared, fitting, progress)
    return prepared


def _of_methods(experiment: Experiment, methods: Sequence[Method], model: FrozenModel | None) -> list[Prepared]:
    """A task with every method, on one model."""
    prepared: list[Prepared] = []
    for method in methods:
        prepared.append(_prepared(experiment, method, prepared[0].model if prepared else model))
    return prepared


def _fitted(
    prepared: Sequence[Prepared], experiment: Experiment, fitting: Fitting, progress: Progress, started: float
) -> list[Prepared]:
    """The methods of a task cut to fit into its minutes, all to the same updates and examples.

    Args:
        prepared: with nothing given up.
        fitting: of this task alone.
        started: when its minutes began, by the monotonic clock.
    """
    varied = (*fitting.methods, *map(str, fitting.factors))
    budget = Budget("compare", controls=False, minutes=fitting.minutes or math.inf, varied=varied, started=started)

    def trainings() -> Trainings:
        timed = [([_part(candidate, fitting.factors)], pace.measured(candidate)) for candidate in prepared]
        return lambda rounds: timed

    choice = fitted(budget, experiment, fitting.out, prepared[0], trainings, progress.say)
    facts = choice.facts(budget.request(experiment, prepared[0]))
    cut = _of_methods(choice.on(experiment), fitting.methods, prepared[0].model)
    return [replace(candidate, budget=facts) for candidate in cut]


def _prepared(experiment: Experiment, method: Method, model: FrozenModel | None) -> Prepared:
    sources = experiment.prompt.subspace_from if method == "intrinsic" else None
    prompt = experiment.prompt.model_copy(update={"method": method, "subspace_from": sources})
    try:
        return prepare(experiment.model_copy(update={"prompt": prompt}), model)
    except ConfigError as error:
        raise ConfigError(f"{method}: {error}") from error


def _ready(experiment: Experiment, progress: Progress) -> list[Method]:
    """All methods, but intrinsic prompts only where it was said what they are made from."""
    prompt = experiment.prompt
    if prompt.subspace_from or prompt.subspace == "random":
        return list(METHODS)
    progress.say("intrinsic is left out: it needs --subspace-from RUN,RUN (or --subspace random, its control)")
    return [method for method in METHODS if method != "intrinsic"]


def _introduce(prepared: Sequence[Prepared], fitting: Fitting, progress: Progress) -> None:
    settings, plan = prepared[0].experiment, prepared[0].plan
    trained = (with_whole_cohorts(candidate, fitting.out).experiment.seeds for candidate in prepared)
    seeds = ", ".join(map(str, sorted({*chain(*trained)})))
    methods = dict.fromkeys(candidate.experiment.prompt.method for candidate in prepared)
    progress.say(
        f"{len(methods)} methods on {settings.model.name}, {settings.prompt.tokens} prompt tokens: each for seeds "
        f"{seeds} at {', '.join(f'{factor:g}' for factor in fitting.factors)} x its own learning rate, "
        f"{plan.train_steps} updates of {plan.batch_size} at most, evaluated every {plan.evaluate_every}, "
        f"patience {plan.patience}"
    )
    for note in dict.fromkeys(note for candidate in prepared for note in candidate.notes):
        progress.say(note)
    for candidate in prepared:
        for note in candidate.prompt_factory.notes:
            progress.say(f"{candidate.experiment.prompt.method}: {note}")


def _trainings(prepared: Prepared, search: RateSearch) -> pd.DataFrame:
    """One row per training: what was reached on validation, and at the chosen rate on test."""
    settings, metric = prepared.experiment, prepared.task.metrics[0]
    results = search.run.results()
    chosen = results[(results["stage"] == search.stage) & (results["arm"] == "")]
    # a metric that no training of a run came to has no column
    test = chosen.set_index("seed").get(f"test_{metric}", pd.Series(dtype=float))
    rows = []
    for rate, factor in search.rates.items():
        cells = results[(results["stage"] == RATES) & (results["arm"] == f"rate={rate:g}")]
        for _, cell in cells[cells["seed"].isin(search.seeds)].sort_values("seed").iterrows():
            is_chosen = rate == search.chosen
            rows.append(
                {
                    "task": prepared.task.name,
                    "labels": settings.task.labels,
                    "model": settings.model.name,
                    "method": settings.prompt.method,
                    "parameters": int(cell["parameters"]),
                    "head_parameters": int(cell["head_parameters"]),
                    "factor": factor,
                    "rate": rate,
                    "seed": int(cell["seed"]),
                    "status": cell["status"],
                    "updates": int(cell["steps"]),
                    "kept_step": int(cell["kept_step"]),
                    "validation": float(cell.get(f"validation_{prepared.task.chosen_by}", math.nan)),
                    "chosen": is_chosen,
                    "test": float(test.get(cell["seed"], math.nan)) if is_chosen else math.nan,
                    "majority": float(cell["majority_test"]),
                }
            )
    return pd.DataFrame(rows)


def _seconds(search: RateSearch) -> float:
    """Mean seconds of one training at the chosen rate; members that trained side by side share their time."""
    if search.chosen is None:
        return math.nan
    times = [search.run.timing(RunKey(f"{RATES}/rate={search.chosen:g}", seed, 0)) for seed in search.seeds]
    each = [timing["training_seconds"] / timing["members"] for timing in times if timing]
    return math.fsum(each) / len(each) if each else math.nan


def _write(trainings: pd.DataFrame, searches: Sequence[RateSearch], factors: Sequence[float], out: Path) -> Path:
    """The table of all trainings, without times, and where they lie."""
    runs = [str(search.run.path.relative_to(out)) for search in searches]
    facts = {"runs": runs, "stages": [search.stage for search in searches], "factors": list(factors)}
    folder = out / f"methods-{identity(facts)}"
    atomic.replace(folder / _SETTINGS, toml.dump(facts).encode())
    atomic.replace(folder / RESULTS, atomic.as_parquet(trainings))
    return folder
