"""The token map: of each cell its score, of each token what leaving it out costs and the words near it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from prunekit.plots import naming
from prunekit.plots.interactive.chart import Chart, altair, data, titled, tooltip
from prunekit.plots.report.token_details import token_details
from prunekit.runs.reader import RunReader


def detailed(runs: Sequence[RunReader], table: pd.DataFrame) -> pd.DataFrame:
    """The cells, and of each token left_out (nats) and words (the nearest first), where there are any."""
    details = token_details(runs[0], table, with_model=True)
    return table.merge(details[["token", "left_out", "words"]], how="left", on="token")


def draw(table: pd.DataFrame) -> Any:
    """Rows are tokens, columns pieces; what was dropped is grey, by its round."""
    alt = altair()
    under = alt.selection_point(on="pointerover", fields=["token", "piece"], empty=False)
    kept = table["kept"].astype(bool)
    costs = {name: words for name, words in (("left_out", "loss added without it: +.3f"), ("words", "nearest words"))
             if name in table and table[name].notna().any()}  # fmt: skip
    told = {"token": "token", "piece": "piece"}
    score = alt.Color("score:Q", title=f"score ({table['kind'].iloc[0]})").scale(range="heatmap")
    dropped = alt.Color("dropped_in:O", title="dropped in round").scale(range="ordinal")
    layers = []
    for cells, color, more in (
        (table[kept], score, {"score": "score: .4~g"}),
        (table[~kept], dropped, {"dropped_in": "dropped in round"}),
    ):
        layers.append(
            alt.Chart(data(cells))
            .mark_rect(style="ink")
            .encode(
                x=alt.X("piece:O", title="piece").axis(labelAngle=0).scale(paddingInner=0.06),
                y=alt.Y("token:O", title="token").scale(paddingInner=0.1),
                color=color,
                strokeWidth=alt.condition(under, alt.value(2), alt.value(0)),
                tooltip=tooltip(**told, **more, **costs),
            )
        )
    layers[0] = layers[0].add_params(under)
    cells = alt.layer(*layers).resolve_scale(color="independent").properties(height={"step": 18})
    return titled(cells, naming.of_ticket(table.iloc[0]))


CHART = Chart(
    draw,
    "Point at a cell to read its score or the round in which it was dropped, what leaving its token out costs, and the "
    "words nearest to it.",
    detailed,
)
