"""How the effective rank of a prompt goes while it is trained; for DPT also the directions that are left open."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import tables, training
from prunekit.plots import lines, naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import dense_prompts
from prunekit.runs.reader import RunReader

MEASURE = "entropy"
#: The name that rows of DPT's study have in place of a matrix.
POSITIVE = "positive entries of Sigma"


def table_of(runs: Sequence[RunReader]) -> pd.DataFrame:
    """The entropy rank at every snapshot of the dense round; for prompts U ReLU(Sigma) V also its positive entries.

    Columns:
        those of `prunekit.analysis.training.path`; positive entries are rows of matrix "positive entries of Sigma",
            measure "count".

    Raises:
        LackingError: where a run has no snapshots, or no training of it came to its end.
    """
    snapshots = [
        tables.snapshots(run, int(str(prompt.keys["seed"]))) for run in runs for prompt in dense_prompts(run)
    ]  # fmt: skip
    for of_prompt in snapshots:
        if len(of_prompt.values) < 2:
            raise LackingError(f"{of_prompt.keys['run']}: fewer than two snapshots; use a smaller --evaluate-every")
    path = training.path(snapshots)
    # a change of nothing, at the start, has no rank and no p
    entropy = path[(path["measure"] == MEASURE) & path["p"].notna()]
    positive = training.positive([of_prompt for of_prompt in snapshots if of_prompt.sigma is not None])
    if positive.empty:
        return entropy.reset_index(drop=True)
    count = positive.rename(columns={"positive": "value"}).assign(matrix=POSITIVE, measure="count")
    return pd.concat([entropy, count.reindex(columns=entropy.columns)], ignore_index=True)


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A thin line per prompt, a thick one for their median; the band holds 95 % of random matrices."""
    lines.bundles(table, ax, "step", "value", "matrix")
    style.whole(ax.xaxis)
    ax.set_xlabel("update")
    ax.set_ylabel("effective rank (entropy)")
    ax.set_title(naming.title(table), color=style.QUIET)
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "rank_while_training",
    "The effective (entropy) rank of prompts, of their change and of the centred prompt while they are trained, over "
    "the band of Gaussian matrices of equal shape; thin lines are seeds.",
    table_of,
    draw,
    height=lines.height,
)
