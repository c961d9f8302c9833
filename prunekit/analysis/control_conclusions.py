"""What the comparisons of a ticket with its controls show, in sentences made of their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from prunekit.analysis import verdicts
from prunekit.analysis.controls import ALL_TASKS, LABELS


def conclusions(comparisons: pd.DataFrame, *, ticket: str = "ticket") -> list[str]:
    """What `controls.compare` showed, what it could not show and why; each scope's primary comparison comes first.

    Args:
        comparisons: of `controls.compare`.
        ticket: the arm that it was given.
    """
    label = LABELS.get(ticket, ticket)
    sentences = [line for scope in comparisons["scope"].unique() for line in _of_scope(comparisons, scope, label)]
    unsure = comparisons[~comparisons["verdict"].isin([verdicts.HOLDS, verdicts.OTHER_WAY])]
    if ((unsure["low"] > 0) | (unsure["high"] < 0)).any():
        sentences.append(
            "Where p shows no difference, an interval without 0 shows none either: it is of one comparison, not "
            "corrected, and takes differences to be normal."
        )
    return sentences


def _of_scope(comparisons: pd.DataFrame, scope: str, ticket: str) -> Iterator[str]:
    rows = comparisons[comparisons["scope"] == scope]
    labels = {str(arm): LABELS.get(str(arm), str(arm)) for arm in rows["against"]}
    if scope == ALL_TASKS:
        labels = {arm: label + _on_some_tasks(comparisons, arm) for arm, label in labels.items()}
    for row in rows.to_dict("records"):
        label = labels[row["against"]] + (" (primary)" if row["family"] == "primary" else "")
        if row["family"] == "primary" or row["verdict"] != verdicts.INCONCLUSIVE:
            yield f"{scope}: {ticket} better than {label}: {_verdict(row)}."
    yield from _inconclusive(rows, scope, ticket, labels)
    primary, corrected = rows["verdict"].iloc[0], rows[rows["family"] == "corrected"]
    if (corrected["verdict"] == verdicts.HOLDS).any() and primary == verdicts.INCONCLUSIVE:
        yield f"{scope}: better than controls, yet inconclusive against {labels[rows['against'].iloc[0]]}."


def _inconclusive(rows: pd.DataFrame, scope: str, ticket: str, labels: dict[str, str]) -> Iterator[str]:
    """Of what cannot be concluded, one sentence per reason."""
    corrected = rows[rows["family"] == "corrected"]
    unpaired = corrected[corrected["units"] == 0]
    if len(unpaired):
        yield f"{scope}: no unit has both {ticket} and {_listed(unpaired, labels)}: nothing can be concluded."
    no_difference = (rows["verdict"] == verdicts.INCONCLUSIVE) | rows["verdict"].map(verdicts.is_equivalent)
    unsure = rows[(rows["units"] > 0) & no_difference]
    few = unsure["units"] < unsure["units_needed"]
    for (units, needed), group in unsure[few].groupby(["units", "units_needed"]):
        family = f" in a family of {len(corrected)}" if (group["family"] == "corrected").all() else ""
        smallest = group["smallest_p"].iloc[0]
        limit = (
            "there is no verdict" if np.isnan(smallest) else f"the sign-flip test cannot go below p = {smallest:.2g}"
        )
        yield (
            f"{scope}: with {units} unit{'' if units == 1 else 's'} {limit}; {needed} units are needed{family} "
            f"to show a difference from {_listed(group, labels)}."
        )
    undecided = unsure[~few & (unsure["verdict"] == verdicts.INCONCLUSIVE)]
    if len(undecided):
        margin = undecided["margin"].iloc[0]
        names = _listed(undecided, labels)
        yield f"{scope}: neither a difference nor equivalence within {margin:g} is shown for {names}."


def _verdict(row: dict[Any, Any]) -> str:
    if row["units"] == 0:
        return "no unit has both, so the ticket cannot be called better"
    verdict, equivalence = row["verdict"], f"p = {row['p_equivalence']:.2g}"
    if verdicts.is_all_equal(verdict):
        return f"{verdict} ({verdicts.equivalent(row['margin'])}: {equivalence})"
    interval = "" if np.isnan(row["low"]) else f" [{row['low']:z.3f}, {row['high']:z.3f}]"
    p = f"p = {row['p']:.2g}" if row["family"] == "primary" else f"corrected p = {row['p_corrected']:.2g}"
    if verdicts.is_equivalent(verdict):
        p = f"{p}; of equivalence {equivalence}"
    return f"{verdict} ({row['difference']:+z.3f}{interval}, {p})"


def _listed(rows: pd.DataFrame, labels: dict[str, str]) -> str:
    return "; ".join(labels[arm] for arm in rows["against"])  # some labels hold a comma


def _on_some_tasks(comparisons: pd.DataFrame, against: str) -> str:
    """A note where a mean over all tasks is one over fewer."""
    single = comparisons[comparisons["scope"] != ALL_TASKS]
    paired_tasks = int(((single["against"] == against) & (single["units"] > 0)).sum())
    tasks = single["scope"].nunique()
    return "" if paired_tasks in (0, tasks) else f" (on {paired_tasks} of {tasks} tasks)"
