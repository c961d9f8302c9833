"""`prunekit compare`: parameterisations side by side, with one budget of updates, each at its best learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit.experiment import dry_run as foresight
from prunekit.experiment.learning_rate import RATES, Found, grid, search_rates
from prunekit.experiment.prepare import Prepared, prepare
from prunekit.experiment.settings import Experiment
from prunekit.prompts import METHODS, Method
from prunekit.runs.paths import RESULTS, RunKey
from prunekit.support import atomic, terminal, toml
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError, DivergedError
from prunekit.support.statistics import cut, t_interval
from prunekit.tasks.metrics import bounds

#: Multiples of each method's own learning rate that are tried where none are asked for.
FACTORS = (0.3, 1.0, 3.0)
CONFIDENCE = 0.95
_SETTINGS = "comparison.toml"


@dataclass(frozen=True)
class Wish:
    """How `compare` was called.

    Attributes:
        methods: which; empty for all that need no further flag.
        factors: multiples of each method's own learning rate.
    """

    out: Path
    methods: tuple[Method, ...] = ()
    factors: tuple[float, ...] = FACTORS
    dry_run: bool = False
    json: bool = False


def parse_methods(text: str | None) -> tuple[Method, ...]:
    """The methods of "direct,dpt"; empty where none are named.

    Raises:
        ConfigError: naming the one that there is not.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    for name in names:
        if name not in METHODS:
            raise ConfigError(f'--methods: there is no "{name}"; choose of {", ".join(METHODS)}')
    return tuple(method for method in METHODS if method in names)


def parse_factors(text: str | None) -> tuple[float, ...]:
    """The factors of "0.3,1,3", ascending.

    Raises:
        ConfigError: where one is no positive number.
    """
    try:
        found = FACTORS if text is None else tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        found = ()
    if not found or not all(0 < factor < math.inf for factor in found):
        raise ConfigError(f"--learning-rates {text}: give multiples of each method's own rate, such as 0.3,1,3")
    return found


def compare(experiments: Sequence[Experiment], wish: Wish) -> None:
    """Train every method at every rate on every task, or go on where it was stopped; then show the table.

    Raises:
        DivergedError: at the end where a method came to its end at no rate; the others are kept and shown.
    """
    screen = terminal.Screen()
    prepared = _all_prepared(experiments, wish, screen)
    _introduce(prepared, wish, screen)
    if wish.dry_run:
        _foresee(prepared, wish)
        return
    found = []
    for number, one in enumerate(prepared, start=1):
        screen.say(f"{number} of {len(prepared)}: {one.experiment.prompt.method} on {one.task.name}")
        found.append(search_rates(one, wish.factors, wish.out, screen))
    trainings = pd.concat([_trainings(*pair) for pair in zip(prepared, found, strict=True)], ignore_index=True)
    path = _write(trainings, found, wish)
    ends = bounds(*(one.task.metrics[0] for one in prepared))
    table = summarise(trainings, [_seconds(one) for one in found], ends)
    if wish.json:
        facts = {"methods": terminal.records(table), "trainings": terminal.records(trainings), "written": str(path)}
        terminal.write_json(facts)
    else:
        _show(table, trainings, prepared, wish)
        terminal.write(f"written to {path}")
    lost = table[table["seeds"] == 0]
    if len(lost):
        names = ", ".join(lost["method"])
        raise DivergedError(f"no training of {names} came to its end; try smaller factors with --learning-rates")


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
            seconds, validation, test (means over those seeds); low, high (95 % t interval of test, NaN below two
            seeds); majority (test metric of the most common answer).
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


def _all_prepared(experiments: Sequence[Experiment], wish: Wish, screen: terminal.Screen) -> list[Prepared]:
    """Every task with every method, on one model: what is wrong with the last is said before the first is trained."""
    prepared: list[Prepared] = []
    for experiment in experiments:
        if any(experiment.task.name == one.experiment.task.name for one in prepared):
            raise ConfigError(f"--task names {experiment.task.name} twice")
        for method in wish.methods or _ready(experiment, screen):
            sources = experiment.prompt.subspace_from if method == "intrinsic" else None
            prompt = experiment.prompt.model_copy(update={"method": method, "subspace_from": sources})
            try:
                made = prepare(
                    experiment.model_copy(update={"prompt": prompt}), prepared[0].model if prepared else None
                )
            except ConfigError as error:
                raise ConfigError(f"{method}: {error}") from error
            prepared.append(made)
    return prepared


def _ready(experiment: Experiment, screen: terminal.Screen) -> list[Method]:
    """All methods, but intrinsic prompts only where it was said what they are made from."""
    prompt = experiment.prompt
    if prompt.subspace_from or prompt.subspace == "random":
        return list(METHODS)
    screen.say("intrinsic is left out: it needs --subspace-from RUN,RUN (or --subspace random, its control)")
    return [method for method in METHODS if method != "intrinsic"]


def _introduce(prepared: Sequence[Prepared], wish: Wish, screen: terminal.Screen) -> None:
    first = prepared[0]
    settings, plan = first.experiment, first.plan
    methods = dict.fromkeys(one.experiment.prompt.method for one in prepared)
    screen.say(
        f"{len(methods)} methods on {settings.model.name}, {settings.prompt.tokens} prompt tokens: each for seeds "
        f"{', '.join(map(str, settings.seeds))} at {', '.join(f'{one:g}' for one in wish.factors)} x its own learning "
        f"rate, {plan.train_steps} updates of {plan.batch_size} at most, evaluated every {plan.evaluate_every}, "
        f"patience {plan.patience}"
    )
    for note in dict.fromkeys(note for one in prepared for note in one.notes):
        screen.say(note)
    for one in prepared:
        for note in one.making.notes:
            screen.say(f"{one.experiment.prompt.method}: {note}")


def _foresee(prepared: Sequence[Prepared], wish: Wish) -> None:
    """`--dry-run`: how many trainings, and minutes at most."""
    parts: list[dict[str, Any]] = []
    for one in prepared:
        settings = one.experiment
        count = len(grid(one.plan.learning_rate, wish.factors)) * len(settings.seeds)
        part = foresight.Part(settings.prompt.method, str(settings.prompt.tokens), str(settings.prompt.pieces), count)
        (minutes,) = foresight.minutes(one, [part])
        parts.append({"task": one.task.name, "method": part.title, "trainings": count, "minutes": minutes})
    total = sum(part["minutes"] for part in parts)
    if wish.json:
        terminal.write_json({"parts": parts, "minutes": total})
        return
    rows = [[one["task"], one["method"], str(one["trainings"]), f"{one['minutes']:.1f}"] for one in parts]
    terminal.show(["task", "method", "trainings", "minutes at most"], rows)
    terminal.write(f"at most {total:.0f} minutes in all (some stop early)")


def _trainings(prepared: Prepared, found: Found) -> pd.DataFrame:
    """One row per training: what was reached on validation, and at the chosen rate on test."""
    settings, metric = prepared.experiment, prepared.task.metrics[0]
    results = found.run.results()
    chosen = results[(results["stage"] == found.stage) & (results["arm"] == "")]
    test = dict(zip(chosen["seed"], chosen[f"test_{metric}"], strict=True))
    rows = []
    for rate, factor in found.rates.items():
        cells = results[(results["stage"] == RATES) & (results["arm"] == f"rate={rate:g}")]
        for _, cell in cells[cells["seed"].isin(found.seeds)].sort_values("seed").iterrows():
            is_chosen = rate == found.chosen
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
                    "validation": float(cell[f"validation_{metric}"]),
                    "chosen": is_chosen,
                    "test": float(test.get(cell["seed"], math.nan)) if is_chosen else math.nan,
                    "majority": float(cell["majority_test"]),
                }
            )
    return pd.DataFrame(rows)


def _seconds(found: Found) -> float:
    """Mean seconds of one training at the chosen rate; members that trained side by side share their time."""
    if found.chosen is None:
        return math.nan
    times = [found.run.timing(RunKey(RATES.inside(f"rate={found.chosen:g}"), seed, 0)) for seed in found.seeds]
    each = [one["training_seconds"] / one["members"] for one in times if one]
    return math.fsum(each) / len(each) if each else math.nan


def _write(trainings: pd.DataFrame, found: Sequence[Found], wish: Wish) -> Path:
    """The table of all trainings, without times, and where they lie."""
    runs = [str(one.run.path.relative_to(wish.out)) for one in found]
    facts = {"runs": runs, "stages": [one.stage for one in found], "factors": list(wish.factors)}
    folder = wish.out / f"methods-{identity(facts)}"
    atomic.replace(folder / _SETTINGS, toml.dump(facts).encode())
    atomic.replace(folder / RESULTS, atomic.as_parquet(trainings))
    return folder


def _show(table: pd.DataFrame, trainings: pd.DataFrame, prepared: Sequence[Prepared], wish: Wish) -> None:
    for task, part in table.groupby("task", sort=False):
        first = next(one for one in prepared if one.task.name == task)
        metric = first.task.metrics[0]
        shuffled = ", shuffled answers" if first.experiment.task.labels == "shuffled" else ""
        rows = [_row(one) for one in part.to_dict("records")]
        title = f"{task}{shuffled}: {metric} at the rate chosen on validation, seconds of one training"
        terminal.show(["method", "params", "rate", "seeds", "updates", "s", "validation", "test"], rows, title=title)
        terminal.write(f"always the most common answer: test {metric} {part['majority'].mean():.3f}")
        if len(wish.factors) > 1:
            _show_rates(trainings[trainings["task"] == task], metric, wish)


def _row(one: dict[Any, Any]) -> list[str]:
    """One method: what it trains, at which rate, at what cost, and what it reached."""
    head = f"+{one['head_parameters']}" if one["head_parameters"] else ""
    cells = [one["method"], f"{one['parameters']}{head}"]
    if not one["seeds"]:
        return [*cells, "diverged", "0", "", "", "", ""]
    interval = "" if math.isnan(one["low"]) else f" [{one['low']:.3f}, {one['high']:.3f}]"
    return [
        *cells,
        f"{one['rate']:g}",
        str(one["seeds"]),
        f"{one['updates']:.0f}",
        f"{one['seconds']:.1f}",
        f"{one['validation']:.3f}",
        f"{one['test']:.3f}{interval}",
    ]


def _show_rates(trainings: pd.DataFrame, metric: str, wish: Wish) -> None:
    """Every method's sweep, and whose best rate stands at its end."""
    means = trainings.pivot_table(index="method", columns="factor", values="validation", sort=False)
    means = means.reindex(columns=sorted(means.columns))
    columns = ["method", *[f"x {factor:.3g}" for factor in means.columns]]
    rows = [[str(method), *[terminal.number(value) for value in line]] for method, line in means.iterrows()]
    terminal.show(columns, rows, title=f"validation {metric} by multiple of the method's own rate, mean over seeds")
    inside = means.iloc[:, 1:-1].max(axis=1)
    edges = [str(method) for method in means.index[means.max(axis=1) > inside]]
    if edges and len(wish.factors) > 2:
        terminal.write(f"best at an end of its sweep: {', '.join(edges)}; --learning-rates may take it further")
