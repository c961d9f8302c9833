"""The ticket less each control, with the band of what matters; p values are told when one points at a row."""

from __future__ import annotations

from typing import Any

import pandas as pd

from prunekit.analysis.controls import LABELS
from prunekit.plots import naming
from prunekit.plots.interactive.chart import Chart, altair, data, titled, tooltip


def draw(table: pd.DataFrame) -> Any:
    """A row for each control, a mark for each task, inside the band nothing matters."""
    alt = altair()
    named = table.assign(control=[LABELS.get(arm, arm) for arm in table["against"]])
    margin, metric = float(table["margin"].max()), str(table["metric"].iloc[0])
    chosen = alt.selection_point(fields=["scope"], bind="legend")
    several = table["scope"].nunique() > 1
    rows = alt.Chart(data(named)).encode(
        y=alt.Y("control:N", title=None, sort=None),
        yOffset=alt.YOffset("scope:N") if several else alt.Undefined,
        color=alt.Color("scope:N", title=None, legend=alt.Undefined if several else None),
        opacity=alt.condition(chosen, alt.value(1), alt.value(0.08)),
        tooltip=tooltip(
            control="ticket less", scope="of", difference="difference: +.3f", low="95 % from: +.3f", high="to: +.3f",
            units="pairs", p="p: .3~g", p_corrected="p, Holm: .3~g", verdict="verdict",
        ),
    )  # fmt: skip
    across = f"ticket less control, test {metric}"
    band = {"low": -margin, "high": margin, "band": f"too small to matter (±{margin:g})"}
    layers = [
        alt.Chart(data(pd.DataFrame([band]))).mark_rect(style="faint").encode(x="low:Q", x2="high:Q", tooltip="band:N"),
        alt.Chart(data(pd.DataFrame([{"zero": 0}]))).mark_rule(style="ink").encode(x="zero:Q"),
        rows.mark_rule(size=2).encode(x=alt.X("low:Q", title=across), x2="high:Q"),
        rows.mark_point(filled=True, size=80).encode(x="difference:Q").add_params(chosen),
    ]
    return titled(alt.layer(*layers), naming.title(table, int(table["units"].max())))


CHART = Chart(
    draw,
    "Point at a control to read its difference, interval and p; right of the line the ticket is better, inside the "
    "grey band nothing matters. Of several tasks, a click in the legend shows one.",
)
