"""Is the pruned ticket better than its controls? Tables of arms in, tables of paired comparisons out.

An *arm* is one way to get a prompt: the ticket, a control, a base line. A unit is a seed on one task, or a (task, seed)
pair with tasks as strata. Units whose arm is missing or not finite (training diverged, nothing was dropped whose
complement could be taken) are left out pair by pair: `units` counts what is left, and what is concluded holds for seeds
that finish. `control_conclusions` puts it into sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from prunekit.analysis import verdicts
from prunekit.pruning.controls import CONTROLS
from prunekit.pruning.ratio_search import GRID_LINES
from prunekit.support import statistics
from prunekit.support.errors import ConfigError, DataError
from prunekit.support.inference import ALPHA, FEWEST, Inference, infer

#: Shown beside the others; whether a dense prompt beats them is asked of `prunekit.runs.baselines`.
BASE_LINES = ("majority", "no-prompt", "instruction", "shots", "probe-cls", "probe-mean", "untrained", "lora")
#: What every comparison is planned against: the dense prompt, trained as long.
PRIMARY = CONTROLS[0].name
#: How people read each arm, in the order of tables and figures.
LABELS = {
    "majority": "most common answer",
    "no-prompt": "no prompt",
    "instruction": "written instruction",
    "shots": "examples in context",
    "probe-cls": "linear probe, [CLS]",
    "probe-mean": "linear probe, mean",
    "untrained": "untrained prompt",
    "lora": "LoRA (ceiling)",
    "dense": "dense",
    PRIMARY: CONTROLS[0].label,
    "ticket": "ticket",
    **{line.name: line.label for line in GRID_LINES},
    **{control.name: control.label for control in CONTROLS[1:]},
}
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
        scope: a task, or "all tasks".    arm: as in `LABELS`, in that order.    units: finished seeds.
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
            by_task = [finished[(finished["task"] == task) & (finished["arm"] == arm)] for task in tasks]
            rows.append({"scope": scope, "arm": arm} | _described(by_task, confidence, bounds))
    return pd.DataFrame(rows, columns=list(DESCRIBED))


def _described(by_task: Sequence[pd.DataFrame], confidence: float, bounds: tuple[float, float]) -> dict[str, float]:
    strata = [table["test"].to_numpy(dtype=float) for table in by_task]
    strata = strata if all(values.size for values in strata) else []
    low, high = statistics.cut(statistics.t_interval(strata, confidence), bounds)
    means = {name: float(np.mean([table[name].mean() for table in by_task])) for name in MEANS}
    return means | {"units": sum(map(len, by_task)), "test": statistics.estimate(strata), "low": low, "high": high}


def compare(
    arms: pd.DataFrame,
    *,
    ticket: str = "ticket",
    primary: str = PRIMARY,
    margin: float = 0.01,
    alpha: float = ALPHA,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The ticket against every other arm but the base lines, unit by unit, over all tasks first, then task by task.

    The claim of every row is that the ticket is better. A study has one primary comparison, named beforehand and not
    corrected: that of the first scope. The same against `primary` on single tasks shows where it comes from. All others
    of a scope are one family; scopes are not corrected for each other, nor p_equivalence for anything. Everything holds
    for other seeds on these tasks.

    Columns:
        scope: a task, or "all tasks".    against: the other arm.    family: "primary" or "corrected".
        units: pairs of finished seeds; 0 where there are none (the primary always has a row).
        difference: ticket minus other, mean over units; over tasks the mean of the task means, of tasks with a pair.
        low, high: t interval of the difference, of the spread within tasks, which test and equivalence have too; NaN
            with fewer than two units in a task, or where no unit differs from another. Not corrected.
        p: two-sided. On one task the sign-flip permutation test, exact up to 16 units, else 99,999 random flips; over
            tasks the t test of the interval, since flips would take what tasks differ by for spread. 1 without units.
        smallest_p: the smallest p that so many flipped units can give; NaN over tasks.
        p_corrected: Holm over the corrected family of the scope; NaN for the primary.
        units_needed: units that can bring a flipped p, times the size of the family, below `alpha`; over tasks those
            without which there is no verdict.
        p_equivalence: two one-sided paired t tests within +-margin; 1 with fewer than two units in a task.
        margin: in units of the metric.
        verdict: of `prunekit.analysis.verdicts.judged`, by p (primary) or p_corrected.

    Raises:
        ConfigError: where `ticket` and `primary` are the same arm.
    """
    if ticket == primary:
        raise ConfigError(f'the primary comparison sets "{ticket}" against itself; name another arm')
    results = _finished(arms).pivot(index=["task", "seed"], columns="arm", values="test")
    rows: list[dict[str, Any]] = []
    for scope, tasks in _scopes(arms):
        present = _ordered(arms.loc[arms["task"].isin(tasks), "arm"])
        others = [arm for arm in present if arm not in (ticket, primary, *BASE_LINES)]
        of_scope = []
        inferences = []
        for against in (primary, *others):
            inferences.append(infer([[values] for values in _differences(results, tasks, ticket, against)]))
            family = ("primary", 1) if against == primary else ("corrected", len(others))
            row = {"scope": scope, "against": against, "family": family[0], "margin": margin}
            row |= _reachable(inferences[-1], family[1], alpha)
            of_scope.append(row | _tests(inferences[-1], margin, confidence))
        corrected = statistics.holm(np.array([row["p"] for row in of_scope[1:]]))
        for row, inference, p in zip(of_scope, inferences, (float("nan"), *corrected), strict=True):
            row["p_corrected"] = p
            deciding = inference.p if row["family"] == "primary" else float(p)
            row["verdict"] = verdicts.judged(inference, deciding, margin, alpha=alpha)
        rows += of_scope
    return pd.DataFrame(rows)[list(COMPARED)] if rows else pd.DataFrame(columns=list(COMPARED))


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
        only_ticket, only_other: answers right by one arm alone, or better where they are written; in a pooled row
            summed over seeds.
        p_mcnemar: exact McNemar test (of better answers, the sign test); NaN in a pooled row, whose answers to one
            example are not independent.
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
            for number, table in (*((int(column), by_seed[[column]]) for column in by_seed), (POOLED, by_seed)):
                differences = table.dropna().to_numpy(dtype=np.float64).round(12)
                low, high = statistics.clustered_interval(differences, confidence, resamples, seed)
                row = {"task": task, "seed": number, "against": against, "low": low, "high": high}
                rows.append(row | _example_counts(differences, pooled=number == POOLED))
    return pd.DataFrame(rows, columns=list(PER_EXAMPLE))


def _refuse_repeats(table: pd.DataFrame, keys: list[str]) -> None:
    """A unit that comes twice would count as two, and every p would be too small."""
    if (repeated := table.duplicated(keys)).any():
        first = table.loc[repeated, keys].iloc[0]
        raise DataError(f"two rows for {', '.join(f'{key} {first[key]}' for key in keys)}; keep one of them")


def _finished(arms: pd.DataFrame) -> pd.DataFrame:
    _refuse_repeats(arms, ["task", "seed", "arm"])
    return arms[np.isfinite(arms["test"].astype(float))]


def _ordered(arms: pd.Series[Any]) -> list[str]:
    """Arms in the order of `LABELS`; others after them, by name."""
    order = list(LABELS)
    return sorted(set(arms), key=lambda arm: (order.index(arm) if arm in LABELS else len(order), arm))


def _scopes(arms: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    tasks = sorted(set(arms["task"]))
    if len(tasks) > 1:
        yield ALL_TASKS, tasks
    for task in tasks:
        yield task, [task]


def _differences(results: pd.DataFrame, tasks: list[str], ticket: str, against: str) -> list[statistics.Floats]:
    """One array per task that has pairs, ordered by seed."""
    if ticket not in results or against not in results:
        return []
    # rounded, so that 0.9 - 0.8 and 0.8 - 0.7 are the same difference
    difference = (results[ticket] - results[against]).dropna().round(12)
    task_of = difference.index.get_level_values("task")
    strata = [difference[task_of == task].to_numpy(dtype=float) for task in tasks]
    return [values for values in strata if values.size]


def _tests(inference: Inference, margin: float, confidence: float) -> dict[str, Any]:
    """Everything about one comparison that needs no other one."""
    low, high = inference.interval(confidence)
    return {
        "units": inference.units,
        "difference": inference.estimate,
        "low": low,
        "high": high,
        "p": inference.p,
        "p_equivalence": inference.equivalence(margin),
    }


def _reachable(inference: Inference, family: int, alpha: float) -> dict[str, Any]:
    """What so many units can come to, and how many are needed."""
    if len(inference.tasks) > 1:
        return {"smallest_p": float("nan"), "units_needed": FEWEST}
    return {
        "smallest_p": statistics.smallest_p(inference.units),
        "units_needed": statistics.units_needed(family, alpha),
    }


def _example_counts(differences: statistics.Floats, *, pooled: bool) -> dict[str, float]:
    only_ticket, only_other = int((differences > 0).sum()), int((differences < 0).sum())
    return {
        "examples": len(differences),
        "only_ticket": only_ticket,
        "only_other": only_other,
        "p_mcnemar": float("nan") if pooled else statistics.mcnemar(only_ticket, only_other),
        "difference": float(differences.mean()) if differences.size else float("nan"),
    }
