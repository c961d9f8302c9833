"""Tickets beside their controls on the screen: every arm with its interval, the comparisons, what can be concluded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prunekit.support import terminal

if TYPE_CHECKING:
    import pandas as pd

    from prunekit.analysis.arm_comparison import ArmComparison

_COLUMNS = ("arm", "n", "tokens", "density", "updates", "test", "ticket - arm", "p", "p Holm", "verdict")
# that a narrow terminal does without
_LEAST = ("p", "updates", "tokens", "density", "p Holm", "n")


def print_arms(comparison: ArmComparison) -> None:
    """The table of arms over all tasks and task by task, and what can be concluded."""
    from prunekit.analysis.controls import LABELS

    described, compared = comparison.described, comparison.compared
    metric = " / ".join(comparison.metrics)
    for scope in described["scope"].unique():
        by_arm = compared[compared["scope"] == scope].set_index("against").to_dict("index")
        arms = described[described["scope"] == scope].to_dict("records")
        rows = [_row(arm, LABELS.get(arm["arm"], arm["arm"]), by_arm.get(str(arm["arm"]))) for arm in arms]
        terminal.show(_COLUMNS, rows, title=f"{scope}: test {metric}, 95 % intervals over seeds", least=_LEAST)
    by_example = [_by_example(table, comparison.metrics) for table in comparison.per_example]
    for sentence in (*comparison.conclusions, *by_example):
        terminal.write(sentence)


def _by_example(table: pd.DataFrame, metrics: Sequence[str]) -> str:
    """The same primary comparison, over examples instead of seeds."""
    from prunekit.analysis.controls import POOLED
    from prunekit.tasks.text_metrics import TEXT_METRICS

    written = [TEXT_METRICS[metric] for metric in metrics if metric in TEXT_METRICS]
    table = table[table["against"] == "dense-continued"]
    pooled, seeds = table[table["seed"] == POOLED], table[table["seed"] != POOLED]
    if pooled.empty and any(not metric.mean for metric in written):
        return f"{' / '.join(metrics)} is of all rows together: no ticket is compared with another example by example"
    if pooled.empty:
        return "no pair of ticket and dense continued to compare example by example"
    over_all = pooled.iloc[0]
    test = "sign test" if written else "McNemar"
    below = int((seeds["p_mcnemar"] < 0.05).sum())
    return (
        f"{over_all['task']}, example by example (these prompts, further examples): ticket - dense continued "
        f"{over_all['difference']:+.3f} [{over_all['low']:.3f}, {over_all['high']:.3f}]; {test} p < 0.05 in {below} "
        f"of {len(seeds)} seed{'s' * (len(seeds) != 1)}, uncorrected"
    )


def _row(arm: dict[Any, Any], label: str, compared: dict[Any, Any] | None) -> Sequence[str]:
    size = [f"{arm['tokens']:.1f}", f"{arm['density']:.3f}", f"{arm['updates']:.0f}"]
    row = [label, str(arm["units"]), *size, _interval(arm["test"], arm["low"], arm["high"])]
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
