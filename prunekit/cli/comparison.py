"""What a search tried, and the arms beside a ticket with the statistics of the comparison, as tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from prunekit.analysis import controls, halving, tables
from prunekit.pruning.schedule import rungs
from prunekit.runs.run import Run
from prunekit.support import terminal
from prunekit.tasks.metrics import bounds


def show_search(run: Run, stage: str) -> None:
    """The cells of a search: validation metric by kept tokens and pieces, what each seed chose, what halving does."""
    metric = run.settings()["metric"]
    tried = tables.trials(run, stage)
    if tried.empty:
        terminal.write(f"{stage}: no finished cell yet")
        return
    done = tried[tried["status"] == "done"]
    means = done.pivot_table(index="tokens", columns="pieces", values="validation", aggfunc="mean")
    means = means.sort_index(ascending=False).sort_index(axis=1, ascending=False)
    rows = [[str(tokens), *[terminal.number(value) for value in line]] for tokens, line in means.iterrows()]
    seeds = tried["seed"].nunique()
    terminal.show(
        ["tokens \\ pieces", *map(str, means.columns)],
        rows,
        title=f"{stage}: validation {metric} by what is kept, mean of {seeds} seed{'s' * (seeds > 1)}",
    )
    arms = tables.arms(run, stage)
    chosen = arms[arms["arm"] == "ticket"]
    terminal.show(
        ["seed", "tokens", "density", "validation", "test"],
        [
            [str(one.seed), str(one.tokens), *map(terminal.number, (one.density, one.validation, one.test))]
            for one in chosen.itertuples()
        ],
        title="chosen on validation; no other cell was looked at on test",
    )
    said = _halving(run, stage, tried)
    if said is not None:
        terminal.write(said)


def _halving(run: Run, stage: str, tried: pd.DataFrame) -> str | None:
    """What halving saved, or would have; None where it cannot be replayed (`paper` halves each of its lines apart)."""
    training = run.settings()["training"]
    steps, every = training["train_steps"], training["evaluate_every"]
    dropped = tried["status"].str.startswith("dropped")
    if dropped.any():
        made, all_of_them = int(tried["steps"].sum()), len(tried) * steps
        return (
            f"successive halving: {made} updates for {len(tried)} cells, {1 - made / all_of_them:.0%} less than "
            f"{steps} each; {int(dropped.sum())} dropped"
        )
    if not (tried["status"] == "done").any() or run.stage_settings(stage)["grid"] == "paper":
        return None
    found = halving.replay(tables.trial_curves(run, stage), rungs(steps, every))
    return (
        f"successive halving (--halving) would have saved {found['saving'].mean():.0%} of the updates, at a regret of "
        f"{found['regret'].mean():.3f} on validation (mean; largest {found['regret'].max():.3f})"
    )


def facts(runs: Sequence[tuple[Run, str]], margin: float) -> dict[str, Any]:
    """The tables of arms, comparisons and examples of several runs, for a program."""
    arms = tables.joined(runs)
    compared = controls.compare(arms, margin=margin)
    examples = pd.concat([controls.per_example(tables.predictions(run, stage)) for run, stage in runs])
    return {
        "arms": terminal.records(arms),
        "described": terminal.records(controls.describe(arms, bounds=_bounds(runs))),
        "comparisons": terminal.records(compared),
        "per_example": terminal.records(examples),
        "conclusions": controls.conclusions(compared),
    }


def show_arms(runs: Sequence[tuple[Run, str]], margin: float) -> None:
    """The table of arms of one stage of each run, over all tasks and task by task, and what can be concluded."""
    arms = tables.joined(runs)
    described = controls.describe(arms, bounds=_bounds(runs))
    compared = controls.compare(arms, margin=margin)
    metric = " / ".join(dict.fromkeys(run.settings()["metric"] for run, _ in runs))
    for scope in described["scope"].unique():
        mine = compared[compared["scope"] == scope].set_index("against").to_dict("index")
        rows = [
            _row(one, mine.get(str(one["arm"]))) for one in described[described["scope"] == scope].to_dict("records")
        ]
        terminal.show(
            ["arm", "n", "tokens", "density", "updates", "test", "ticket - arm", "p", "p Holm", "verdict"],
            rows,
            title=f"{scope}: test {metric}, 95 % intervals over seeds",
        )
    for sentence in controls.conclusions(compared):
        terminal.write(sentence)
    for run, stage in runs:
        terminal.write(_by_example(tables.predictions(run, stage)))


def _bounds(runs: Sequence[tuple[Run, str]]) -> tuple[float, float]:
    """What the primary metrics of these runs can be."""
    return bounds(*(run.settings()["metric"] for run, _ in runs))


def _by_example(predictions: pd.DataFrame) -> str:
    """The same primary comparison, over examples instead of seeds."""
    found = controls.per_example(predictions)
    found = found[found["against"] == "dense-continued"]
    pooled = found[found["seed"] == controls.POOLED]
    if pooled.empty:
        return "no pair of ticket and dense continued to compare example by example"
    one, each = pooled.iloc[0], found[found["seed"] != controls.POOLED]
    below = int((each["p_mcnemar"] < 0.05).sum())
    return (
        f"{one['task']}, example by example (these prompts, further examples): ticket - dense continued "
        f"{one['difference']:+.3f} [{one['low']:.3f}, {one['high']:.3f}]; McNemar p < 0.05 in {below} of {len(each)} "
        f"seed{'s' * (len(each) != 1)}, uncorrected"
    )


def _row(arm: dict[Any, Any], compared: dict[Any, Any] | None) -> list[str]:
    row = [
        controls.LABELS.get(arm["arm"], arm["arm"]),
        str(arm["units"]),
        f"{arm['tokens']:.1f}",
        f"{arm['density']:.3f}",
        f"{arm['updates']:.0f}",
        _interval(arm["test"], arm["low"], arm["high"]),
    ]
    if compared is None:
        return [*row, "", "", "", ""]
    return [
        *row,
        _interval(compared["difference"], compared["low"], compared["high"], sign="+"),
        _p(compared["p"]),
        "primary" if compared["family"] == "primary" else _p(compared["p_corrected"]),
        compared["verdict"],
    ]


def _interval(mean: float, low: float, high: float, sign: str = "") -> str:
    if math.isnan(mean):
        return ""
    return f"{mean:{sign}.3f}" + ("" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]")


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
