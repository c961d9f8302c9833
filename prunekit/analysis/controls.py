"""Is the pruned ticket better than its controls? Tables of arms in, tables of paired comparisons and sentences out.

An arm is one way to get a prompt: the ticket, its controls, base lines. A unit is a seed on one task, or a (task, seed)
pair with tasks as strata. Units whose arm is missing or not finite (a diverged lineage, nothing dropped to reverse) are
left out pair by pair: `units` counts what is left, and what is found holds for lineages that finish.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from prunekit.support import statistics
from prunekit.support.errors import ConfigError, DataError

LABELS = {
    "majority": "majority class",
    "untrained": "untrained prompt",
    "dense": "dense",
    "dense-continued": "dense continued",
    "ticket": "XPrompt ticket",
    "token-only": "token only",
    "piece-only": "piece only",
    "random": "random mask",
    "complement": "reversed mask",
    "reinit": "same mask, fresh values",
    "short-prompt": "fresh prompt, same length",
}
BASE_LINES = ("majority", "untrained")  # shown beside the arms; nobody doubts that a trained prompt beats them
ALL_TASKS = "all tasks"
POOLED = -1  # stands for all seeds where a seed is named

MEANS = ("validation", "tokens", "density", "updates")
DESCRIBED = ("scope", "arm", "units", "test", "low", "high", *MEANS)
COMPARED = (
    "scope", "against", "family", "units", "difference", "low", "high", "p", "smallest_p", "p_corrected",
    "units_needed", "p_equivalence", "margin", "verdict",
)  # fmt: skip
PER_EXAMPLE = (
    "task", "seed", "against", "examples", "only_ticket", "only_other", "p_mcnemar", "difference", "low", "high",
)  # fmt: skip


def describe(
    arms: pd.DataFrame, confidence: float = 0.95, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> pd.DataFrame:
    """What each arm reached, over all tasks first where there are several, then task by task.

    Columns:
        scope: a task, or "all tasks".    arm: as in `LABELS`, in that order.    units: finished lineages.
        test: mean of the primary metric on the test split; over tasks the mean of the task means.
        low, high: t interval of `test` over seeds, over tasks stratified (variance within tasks only, freedom by
            Welch and Satterthwaite): for other seeds on these tasks. NaN with fewer than two units in a task.
        validation, tokens, density, updates: means, of the same kind.
    Over all tasks an arm that is missing on one of them has NaN: a mean over fewer tasks is another quantity.

    Args:
        bounds: what the metric can be, as `prunekit.tasks.metrics.bounds` has it; intervals are cut there.
    """
    finished = _finished(arms)
    rows = []
    for scope, tasks in _scopes(arms):
        for arm in _ordered(arms.loc[arms["task"].isin(tasks), "arm"]):
            mine = [finished[(finished["task"] == task) & (finished["arm"] == arm)] for task in tasks]
            strata = [one["test"].to_numpy(dtype=float) for one in mine]
            full = all(one.size for one in strata)
            low, high = statistics.cut(statistics.t_interval(strata if full else [], confidence), bounds)
            row = {"scope": scope, "arm": arm, "units": sum(map(len, mine)), "low": low, "high": high}
            row["test"] = statistics.estimate(strata if full else [])
            rows.append(row | {name: float(np.mean([one[name].mean() for one in mine])) for name in MEANS})
    return pd.DataFrame(rows, columns=list(DESCRIBED))


def compare(
    arms: pd.DataFrame,
    *,
    ticket: str = "ticket",
    primary: str = "dense-continued",
    margin: float = 0.01,
    alpha: float = 0.05,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The ticket against every other arm but the base lines, unit by unit, over all tasks first, then task by task.

    A study has one primary comparison, named beforehand and not corrected: that of the first scope. The same against
    `primary` on single tasks shows where it comes from. All others of a scope are one family; scopes are not corrected
    for each other, nor p_equivalence for anything. Everything holds for other seeds on these tasks.

    Columns:
        scope: a task, or "all tasks".    against: the other arm.    family: "primary" or "corrected".
        units: pairs of finished lineages; 0 where there are none (the primary always has a row).
        difference: ticket minus other, mean over units; over tasks the mean of the task means, of tasks with a pair.
        low, high: BCa bootstrap interval, resampled within tasks; NaN with fewer than two units in a task. Too narrow
            with few units (84 % instead of 95 % with 6), so it decides nothing.
        p: two-sided sign-flip permutation test; exact up to 16 units, else 99,999 random flips. 1 without units.
        smallest_p: the smallest p that so many units can give.
        p_corrected: Holm over the corrected family of the scope; NaN for the primary.
        units_needed: units that can bring p, times the size of the family, below `alpha`.
        p_equivalence: two one-sided paired t tests within +-margin; 1 with fewer than two units in a task.
        margin: in units of the metric.
        verdict: "all n equal" where no unit differs at all; "better" or "worse" where p (primary) or p_corrected is
            below `alpha`; else "equivalent" where p_equivalence is; else "not shown".
    """
    if ticket == primary:
        raise ConfigError(f'the primary comparison sets "{ticket}" against itself; name another arm')
    reports = _finished(arms).pivot(index=["task", "seed"], columns="arm", values="test")
    tables = []
    for scope, tasks in _scopes(arms):
        known = _ordered(arms.loc[arms["task"].isin(tasks), "arm"])
        others = [arm for arm in known if arm not in (ticket, primary, *BASE_LINES)]
        rows = []
        for against in (primary, *others):
            strata = _differences(reports, tasks, ticket, against)
            low, high = statistics.bootstrap_interval(strata, confidence, seed)
            units = sum(one.size for one in strata)
            rows.append({
                "scope": scope, "against": against, "family": "primary" if against == primary else "corrected",
                "units": units, "difference": statistics.estimate(strata), "low": low, "high": high,
                "p": statistics.sign_flip(strata, seed), "smallest_p": statistics.smallest_p(units), "margin": margin,
                "units_needed": statistics.units_needed(1 if against == primary else len(others), alpha),
                "p_equivalence": statistics.equivalence(strata, margin),
                "verdict": f"all {units} equal" if statistics.all_equal(strata) else "",
            })  # fmt: skip
        corrected = [float("nan"), *statistics.holm(np.array([row["p"] for row in rows[1:]]))]
        for row, p in zip(rows, corrected, strict=True):
            row["p_corrected"] = p
            row["verdict"] = row["verdict"] or _verdict(row, alpha)
        tables += rows
    return pd.DataFrame(tables, columns=list(COMPARED))


def conclusions(comparisons: pd.DataFrame, *, ticket: str = "ticket") -> list[str]:
    """What `compare` showed, what it could not show and why, in plain sentences; each scope's primary comes first.

    `ticket` is the arm that `compare` was given.
    """
    scopes = list(comparisons["scope"].unique())
    said = [line for scope in scopes for line in _scope_conclusions(comparisons, scope, LABELS.get(ticket, ticket))]
    unsure = comparisons[~comparisons["verdict"].isin(["better", "worse"])]
    if ((unsure["low"] > 0) | (unsure["high"] < 0)).any():
        said.append(
            "Where p shows no difference, an interval without 0 shows none either: few units make it too narrow."
        )
    return said


def per_example(
    predictions: pd.DataFrame,
    *,
    ticket: str = "ticket",
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """On which test examples the ticket and another arm differ; base lines stay out.

    All of it holds for further examples, given these very prompts as they were trained: it says nothing of other
    seeds (`compare` does). Examples that only one of the two arms answered are left out. p is not corrected.

    Columns:
        task.    seed: that of both prompts; -1 for all seeds that have both.    against: the other arm.
        examples: distinct ones; in a pooled row those that every seed has.
        only_ticket, only_other: answers right by one arm alone; in a pooled row summed over seeds.
        p_mcnemar: exact McNemar test; NaN in a pooled row, whose answers to one example are not independent.
        difference: share right of the ticket minus that of the other; in a pooled row the mean over seeds.
        low, high: percentile bootstrap over examples, paired; in a pooled row an example is drawn with its answers of
            all seeds (a cluster).
    """
    _refuse_repeats(predictions, ["task", "seed", "arm", "example"])
    right = predictions.astype({"right": float}).pivot(index=["task", "seed", "example"], columns="arm", values="right")
    rows = []
    for task in right.index.unique("task"):
        for against in _ordered(predictions.loc[predictions["task"] == task, "arm"]):
            if ticket not in right or against in (ticket, *BASE_LINES):
                continue
            both = right.loc[task, [ticket, against]].dropna()
            by_seed = (both[ticket] - both[against]).unstack("seed")
            if by_seed.empty:
                continue
            each = [(int(one), by_seed[[one]]) for one in by_seed]
            for number, table in [*each, (POOLED, by_seed)]:
                differences = table.dropna().to_numpy().round().astype(np.int64)
                found = _example_row(differences, number == POOLED)
                low, high = statistics.clustered_interval(differences, confidence, resamples, seed)
                rows.append({"task": task, "seed": number, "against": against, "low": low, "high": high} | found)
    return pd.DataFrame(rows, columns=list(PER_EXAMPLE))


def _refuse_repeats(table: pd.DataFrame, keys: list[str]) -> None:
    """A unit that comes twice would count as two, and every p would be too small."""
    if (repeated := table.duplicated(keys)).any():
        first = table.loc[repeated, keys].iloc[0]
        raise DataError(f"two rows for {', '.join(f'{key} {first[key]}' for key in keys)}; keep one of them")


def _finished(arms: pd.DataFrame) -> pd.DataFrame:
    _refuse_repeats(arms, ["task", "seed", "arm"])
    return arms[np.isfinite(arms["test"].astype(float))]


def _ordered(names: pd.Series[Any]) -> list[str]:
    """Arms in the order of `LABELS`; others after them, by name."""
    known = list(LABELS)
    return sorted(set(names), key=lambda arm: (known.index(arm) if arm in LABELS else len(known), arm))


def _scopes(arms: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    tasks = sorted(set(arms["task"]))
    if len(tasks) > 1:
        yield ALL_TASKS, tasks
    for task in tasks:
        yield task, [task]


def _differences(reports: pd.DataFrame, tasks: list[str], ticket: str, against: str) -> list[statistics.Floats]:
    """One array per task that has pairs, ordered by seed."""
    if ticket not in reports or against not in reports:
        return []
    # rounded, so that 0.9 - 0.8 and 0.8 - 0.7 are the same difference
    difference = (reports[ticket] - reports[against]).dropna().round(12)
    found = [difference[difference.index.get_level_values("task") == task].to_numpy(dtype=float) for task in tasks]
    return [one for one in found if one.size]


def _verdict(row: dict[str, Any], alpha: float) -> str:
    p = row["p"] if row["family"] == "primary" else row["p_corrected"]
    if p < alpha:
        return "better" if row["difference"] > 0 else "worse"
    return "equivalent" if row["p_equivalence"] < alpha else "not shown"


def _example_row(differences: np.ndarray[Any, np.dtype[np.int64]], pooled: bool) -> dict[str, float]:
    only_ticket, only_other = int((differences == 1).sum()), int((differences == -1).sum())
    return {
        "examples": len(differences),
        "only_ticket": only_ticket,
        "only_other": only_other,
        "p_mcnemar": float("nan") if pooled else statistics.mcnemar(only_ticket, only_other),
        "difference": float(differences.mean()) if differences.size else float("nan"),
    }


def _scope_conclusions(comparisons: pd.DataFrame, scope: str, ticket: str) -> Iterator[str]:
    rows = comparisons[comparisons["scope"] == scope]
    names = {str(arm): LABELS.get(str(arm), str(arm)) for arm in rows["against"]}
    if scope == ALL_TASKS:
        names = {arm: name + _on_some_tasks(comparisons, arm) for arm, name in names.items()}
    corrected = rows[rows["family"] == "corrected"]
    for row in rows.to_dict("records"):
        name = names[row["against"]] + (" (primary)" if row["family"] == "primary" else "")
        if row["family"] == "primary" or row["verdict"] != "not shown":
            yield f"{scope}: {ticket} against {name}: {_found(row)}."
    # what is left cannot be concluded; one sentence per reason
    dropped_as = corrected[corrected["units"] == 0]
    if len(dropped_as):
        yield f"{scope}: no unit has both {ticket} and {_listed(dropped_as, names)}: nothing can be concluded."
    unsure = rows[(rows["units"] > 0) & rows["verdict"].isin(["not shown", "equivalent"])]
    few = unsure["units"] < unsure["units_needed"]
    for (units, needed), group in unsure[few].groupby(["units", "units_needed"]):
        family = f" in a family of {len(corrected)}" if (group["family"] == "corrected").all() else ""
        yield (
            f"{scope}: with {units} unit{'' if units == 1 else 's'} the sign-flip test cannot go below "
            f"p = {group['smallest_p'].iloc[0]:.2g}; {needed} units are needed{family} "
            f"to show a difference from {_listed(group, names)}."
        )
    open_ = unsure[~few & (unsure["verdict"] == "not shown")]
    if len(open_):
        margin = open_["margin"].iloc[0]
        yield f"{scope}: neither a difference nor equivalence within +-{margin:g} is shown for {_listed(open_, names)}."
    if (corrected["verdict"] == "better").any() and rows["verdict"].iloc[0] != "better":
        yield f"{scope}: better than controls, yet not shown to be better than {names[rows['against'].iloc[0]]}."


def _found(row: dict[Any, Any]) -> str:
    if row["units"] == 0:
        return "no unit has both, so the ticket cannot be called better"
    interval = "" if np.isnan(row["low"]) else f" [{row['low']:z.3f}, {row['high']:z.3f}]"
    p = f"p = {row['p']:.2g}" if row["family"] == "primary" else f"corrected p = {row['p_corrected']:.2g}"
    verdict = row["verdict"]
    if verdict.endswith("equal"):
        return f"{verdict} (equivalence within +-{row['margin']:g}: p = {row['p_equivalence']:.2g})"
    if verdict == "equivalent":
        verdict += f" within +-{row['margin']:g} (p = {row['p_equivalence']:.2g})"
    return f"{row['difference']:+z.3f}{interval}, {p}: {verdict}"


def _listed(rows: pd.DataFrame, names: dict[str, str]) -> str:
    return "; ".join(names[arm] for arm in rows["against"])  # some names hold a comma


def _on_some_tasks(comparisons: pd.DataFrame, against: str) -> str:
    """A note where a mean over all tasks is one over fewer."""
    single = comparisons[comparisons["scope"] != ALL_TASKS]
    paired_tasks = int(((single["against"] == against) & (single["units"] > 0)).sum())
    tasks = single["scope"].nunique()
    return "" if paired_tasks in (0, tasks) else f" (on {paired_tasks} of {tasks} tasks)"
