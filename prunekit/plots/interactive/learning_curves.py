"""Learning curves whose seeds and rounds are chosen."""

from __future__ import annotations

from typing import Any

import pandas as pd

from prunekit.plots import naming
from prunekit.plots.interactive.chart import Chart, altair, data, titled, tooltip


def draw(table: pd.DataFrame) -> Any:
    """A panel for the metric and one for the loss, a line for each seed and round; rings are the values kept."""
    alt = altair()
    rounds = sorted(int(number) for number in table["round"].unique())
    names = [f"round {number}" if number else "dense" for number in rounds]
    menu = alt.binding_select(options=[None, *rounds], labels=["all", *names], name="Rounds: ")
    seed = alt.selection_point(fields=["seed"], bind="legend")
    number = alt.selection_point(fields=["round"], bind=menu)
    metrics = [metric for metric in dict.fromkeys(table["metric"]) if metric != "loss"]
    first, *others = (_panel(table, metric, seed, number) for metric in (*metrics, "loss"))
    # what is chosen in one panel holds for both
    return titled(alt.vconcat(first.add_params(seed, number), *others), naming.title(table))


def _panel(table: pd.DataFrame, metric: str, seed: Any, number: Any) -> Any:
    alt = altair()
    part = table[table["metric"] == metric]
    title = "loss (nats)" if metric == "loss" else f"validation {metric}"
    base = alt.Chart(data(part), height=200).encode(
        x=alt.X("step:Q", title="update of the round"),
        y=alt.Y("value:Q", title=title).scale(zero=False),
        color=alt.Color("seed:N", title="seed"),
        tooltip=tooltip(seed="seed", round="round", step="update", split="split", value=f"{metric}: .4f"),
    )
    shown = base.transform_filter(number)
    lines = shown.mark_line(size=1.5).encode(
        detail=["round:N", "stage:N"],
        strokeDash=alt.StrokeDash("split:N", title="on").sort(["validation", "train"]),
        opacity=alt.condition(seed, alt.value(0.7), alt.value(0.04)),
    )
    kept = part[(part["split"] == "validation") & part["step"].eq(part["kept_step"])]
    # rings are data of their own: an expression over the fields would need a page that may evaluate text
    rings = shown.properties(data=data(kept)).mark_point(size=60, fillOpacity=0).encode(
        opacity=alt.condition(seed, alt.value(1), alt.value(0.04))
    )  # fmt: skip
    return alt.layer(lines, rings)


CHART = Chart(
    draw,
    "A click on a seed in the legend shows it alone, a click with shift adds another, a double click brings all back; "
    "the menu chooses a round. Rings are the values that were kept.",
)
