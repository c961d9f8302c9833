"""The density curve, each ticket and each trial of a search told when one points at it."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from prunekit.plots import density_curve, naming
from prunekit.plots.interactive.chart import Chart, altair, data, titled, tooltip
from prunekit.runs.paths import is_trial

_SIZE = {"tokens": "tokens: .3~g", "pieces": "pieces a token: .3~g", "density": "density: .3~f"}


def draw(table: pd.DataFrame) -> Any:
    """A line for each pruning with its intervals, a cross for each trial, a ring around the smallest good ticket."""
    alt = altair()
    kinds = table["arm"].map(lambda arm: "trial" if is_trial(arm) else "ticket" if arm == "ticket" else "base line")
    named = _named(table.assign(kind=kinds))
    tickets, trials = named[named["kind"] == "ticket"], named[named["kind"] == "trial"]
    metric = str(tickets["metric"].iloc[0])
    chosen = alt.selection_point(fields=["line"], bind="legend")
    encoding = {
        "x": alt.X("density:Q", title=f"density ({density_curve.counted(table)}, log scale)")
        .scale(type="log", base=2, padding=14, nice=False)
        .axis(values=_halves(float(named["density"].min())), format=".3~g"),
        "color": alt.Color("line:N", title=None),
        "opacity": alt.condition(chosen, alt.value(1), alt.value(0.08)),
    }
    test = alt.Y("test:Q", title=f"{'' if len(trials) else 'test '}{metric}").scale(zero=False)
    told = tooltip(line="pruning", round="round", **_SIZE, test="test: .3f", low="95 % from: .3f", high="to: .3f",
                   validation="validation: .3f", seeds="seeds")  # fmt: skip
    base = alt.Chart(data(tickets))
    layers = [
        _base_lines(named),
        base.mark_line().encode(**encoding, y=test, order="density:Q"),
        base.mark_rule().encode(**encoding, y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True, size=70).encode(**encoding, y=test, tooltip=told).add_params(chosen),
    ]  # fmt: skip
    if len(best := tickets[tickets["best"].eq(True)]):
        why = alt.value("smallest within tolerance of dense on validation")
        ring = alt.Chart(data(best)).mark_point(size=260, style="ink")
        layers.append(ring.encode(x=encoding["x"], y=test, tooltip=why))
    if len(trials):
        tried = tooltip(line="search", arm="trial", **_SIZE, validation="validation: .3f", seeds="seeds")
        layers.append(
            alt.Chart(data(trials))
            .mark_point(shape="cross", angle=45, size=55, filled=True)
            .encode(**encoding, y="validation:Q", tooltip=tried)
        )
    return titled(alt.layer(*layers), naming.title(tickets, tickets["seeds"].max()))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """With what each ticket's and trial's line is called, and each base line."""
    lines = [
        part.assign(line=name or density_curve.label_of(part))
        for name, part in naming.parts(table[table["kind"] == "ticket"])
    ]
    names = pd.concat(lines)[["run", "stage", "line"]].drop_duplicates()
    return table.merge(names, how="left", on=["run", "stage"])


def _halves(least: float) -> list[float]:
    """1, 1/2, 1/4, ... down to the smallest density."""
    return [2.0**-power for power in range(1 + math.floor(-math.log2(least)))]


def _base_lines(table: pd.DataFrame) -> Any:
    """What is reached without a trained prompt; of one task, those of several could not be told apart."""
    alt = altair()
    majority = table.head(1).assign(arm="most common answer", test=table["majority_test"].iloc[0])
    others = (
        table[table["kind"] == "base line"].drop_duplicates("arm").replace({"arm": {"untrained": "untrained prompt"}})
    )
    lines = (
        pd.concat([majority, others])[["arm", "test"]] if table["run"].nunique() == 1 else majority[["arm", "test"]][:0]
    )
    return alt.Chart(data(lines)).mark_rule(style="quiet", strokeDash=[4, 3], size=1.5).encode(
        y="test:Q", tooltip=tooltip(arm="base line", test="test: .3f")
    )  # fmt: skip


CHART = Chart(
    draw,
    "Point at a ticket, a trial (cross, on validation) or a base line (dashed) to read it; a click in the legend shows "
    "one pruning alone, a click with shift adds another.",
)
