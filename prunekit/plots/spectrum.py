"""The singular values of trained prompts, over the band of random matrices of the same shape and energy."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from prunekit.analysis import spectra
from prunekit.plots import lines, naming, style
from prunekit.plots.figure import Figure
from prunekit.plots.run_choice import check_several, dense_prompts
from prunekit.runs.reader import RunReader

_NOTHING = 1e-12


def table_of(runs: Sequence[RunReader]) -> pd.DataFrame:
    """Singular values of the dense round's prompts, with the band of Gaussian matrices.

    Columns:
        those of `prunekit.analysis.spectra.spectrum`.

    Raises:
        LackingError: where no training of a run came to its end, or its prompts have one token.
    """
    prompts = [dense_prompts(run) for run in runs]
    for run, of_run in zip(runs, prompts, strict=True):
        check_several(min(of_run[0].values.shape), run, "directions of a prompt")
    return spectra.spectrum([prompt for of_run in prompts for prompt in of_run])


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A thin line per prompt, a thick one for their median; the band holds 95 % of random matrices."""
    # centring makes the last value exactly zero, which is not a finding
    present = table[table["energy"] > _NOTHING]
    several = present.groupby("matrix")["index"].transform("nunique") > 1  # two tokens have one direction when centred
    lines.bundles(present[several], ax, "index", "singular_value", "matrix")
    style.whole(ax.xaxis)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("direction, largest first")
    ax.set_ylabel("singular value")
    ax.set_title(naming.title(table), color=style.QUIET)
    style.legend_above(ax)
    return ax


FIGURE = Figure(
    "spectrum",
    "Singular values of trained prompts, of their change from the start and of the centred prompt, over the band of "
    "Gaussian matrices of equal shape and energy; thin lines are seeds.",
    table_of,
    draw,
    height=lines.height,
)
