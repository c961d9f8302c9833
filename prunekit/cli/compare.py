"""`prunekit compare`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunekit.cli.options import DryRun, ExperimentFile, Json, Minutes, Out
from prunekit.cli.table import Column, digits, print_table
from prunekit.experiment import settings_io
from prunekit.experiment.settings import PromptSettings
from prunekit.support import terminal

if TYPE_CHECKING:
    import pandas as pd

    from prunekit.experiment.method_comparison import Comparison

# all of a prompt's but the method, which is varied
_PROMPT = tuple(f"prompt.{name}" for name in PromptSettings.model_fields if name != "method")


@settings_io.with_settings("", "model", "task", *_PROMPT, "training", "machine")
def compare(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    methods: Annotated[
        str | None, typer.Option("--methods", help="such as direct,dpt; default: all that need no further flag")
    ] = None,
    learning_rates: Annotated[
        str | None,
        typer.Option("--learning-rates", help="multiples of each method's own rate to choose from; default: 0.3,1,3"),
    ] = None,
    minutes: Minutes = None,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train every parameterisation on one budget, each at its best learning rate, and compare. Run again to resume."""
    experiments = settings_io.experiments(experiment, settings)  # before torch is imported
    from prunekit.experiment import method_comparison as library

    named, factors, screen = library.methods_of(methods), library.factors_of(learning_rates), terminal.Screen()
    if dry_run:
        fitting = library.Fitting(named, factors, out, minutes)
        _print_forecast(library.forecast_comparison(experiments, fitting, screen), json=json)
        return
    comparison = library.compare_methods(experiments, out, named, factors, screen, minutes=minutes)
    if json:
        tables = {"methods": comparison.table, "trainings": comparison.trainings}
        facts = {name: terminal.records(table) for name, table in tables.items()}
        terminal.write_json(facts | {"written": str(comparison.folder)})
    else:
        print_comparison(comparison)
        terminal.write(f"written to {comparison.folder}")
    comparison.check_ended()


def print_comparison(comparison: Comparison) -> None:
    """Task by task: every method at its chosen rate, then at all rates."""
    trainings = comparison.trainings
    for task, methods in comparison.table.groupby("task", sort=False):
        metric, of_task = comparison.metrics[str(task)], trainings[trainings["task"] == task]
        chosen_by = comparison.chosen_by[str(task)]
        how = "on validation" if chosen_by == metric else f"by its {chosen_by} on validation, which is shown"
        shuffled = ", shuffled answers" if (of_task["labels"] == "shuffled").any() else ""
        print_methods(methods, f"{task}{shuffled}: {metric} at the rate chosen {how}, seconds of one training")
        terminal.write(f"always the most common answer: test {metric} {methods['majority'].mean():.3f}")
        if len(comparison.factors) > 1:
            print_rates(of_task, chosen_by)


def print_methods(table: pd.DataFrame, title: str) -> None:
    """One line a method: what it trains, at which rate, at what cost, and what it reached."""
    columns = ["method", "params", "rate", "seeds", "updates", "validation", "test", "s"]
    terminal.show(columns, [_row(method) for method in table.to_dict("records")], title=title)


def _row(method: dict[Any, Any]) -> Sequence[str]:
    head = f"+{method['head_parameters']}" if method["head_parameters"] else ""
    front = [method["method"], f"{method['parameters']}{head}"]
    if not method["seeds"]:
        return [*front, "diverged", "0", "", "", "", ""]
    interval = "" if math.isnan(method["low"]) else f" [{method['low']:.3f}, {method['high']:.3f}]"
    return [
        *front,
        f"{method['rate']:g}",
        str(method["seeds"]),
        f"{method['updates']:.0f}",
        f"{method['validation']:.3f}",
        f"{method['test']:.3f}{interval}",
        f"{method['seconds']:.1f}",
    ]


def print_rates(trainings: pd.DataFrame, chosen_by: str) -> None:
    """Every method at every rate, of trainings that ended, and whose best rate stands at an end of those tried."""
    ended = trainings[trainings["status"] == "done"]
    means = ended.pivot_table(index="method", columns="factor", values="validation", sort=False)
    means = means.reindex(index=trainings["method"].unique(), columns=sorted(trainings["factor"].unique()))
    columns = {"method": Column("method"), **{factor: Column(f"x {factor:.3g}", digits(3)) for factor in means}}
    print_table(
        means.reset_index(), columns, f"validation {chosen_by} by multiple of the method's own rate, mean over seeds"
    )
    better = -means if chosen_by == "loss" else means
    inside = better.iloc[:, 1:-1].max(axis=1).fillna(-math.inf)
    edges = [str(method) for method in better.index[better.max(axis=1) > inside]]
    if edges and len(means.columns) > 2:
        terminal.write(f"best at an end of its sweep: {', '.join(edges)}; --learning-rates may take it further")


def _print_forecast(table: pd.DataFrame, *, json: bool) -> None:
    total = table["minutes"].sum()
    if json:
        terminal.write_json({"parts": table.to_dict("records"), "minutes": float(total)})
        return
    columns = {name: Column(name) for name in ("task", "method", "trainings")}
    print_table(table, columns | {"minutes": Column("minutes at most", digits(1))})
    terminal.write(f"at most {total:.0f} minutes in all (some stop early)")
