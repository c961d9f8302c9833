"""How many directions of a prompt its loss needs: truncated to k of them and evaluated again, nothing retrained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from prunekit.analysis import functional
from prunekit.plots import lines, naming, style
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.run_choice import dense_prompts
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ConfigError, DataError

#: Draws of random directions beside a prompt's own; each costs as many evaluations as the prompt's.
RANDOM = 1
#: Examples of `validation` that are evaluated, at most.
EXAMPLES = 100
_LINES = {
    ("values", "singular"): "prompt",
    ("change", "singular"): "change from start",
    ("values", "random"): "random directions",
    ("change", "random"): "change, random directions",
}


def table_of(runs: Sequence[RunReader]) -> pd.DataFrame:
    """The loss of the dense round's prompts on `validation`, cut to k directions; this loads the frozen model.

    Columns:
        those of `prunekit.analysis.functional.curve`; tolerance (nats), rank (smallest k from which on the mean loss is
            within it), of `prunekit.analysis.functional.ranks`; line (str): what is cut, and to which directions.

    Raises:
        LackingError: where model or data are not where they were, the method has no values to be cut, or no training
            came to its end.
    """
    curve = pd.concat([curve for run in runs for curve in _curves(run)], ignore_index=True)
    ranks = functional.ranks(curve)
    keys = [name for name in curve if name in ranks]
    smallest = ranks.loc[ranks["criterion"] == "loss", [*keys, "tolerance", "rank"]]
    named = [_LINES[of, directions] for of, directions in zip(curve["of"], curve["directions"], strict=True)]
    return curve.merge(smallest, how="left", on=keys).assign(line=named)


def _curves(run: RunReader) -> Iterator[pd.DataFrame]:
    # with them come the models, which the other figures do without
    from prunekit.analysis import model_access
    from prunekit.experiment import prepare
    from prunekit.experiment.experiment_of import experiment_of

    prompts = dense_prompts(run)
    try:
        model = prepare.model_of(experiment_of(run))
        for prompt in prompts:
            evaluate = model_access.evaluator(run, int(str(prompt.keys["seed"])), examples=EXAMPLES, model=model)
            yield functional.curve(prompt, evaluate, random=RANDOM)
    except (ConfigError, DataError) as error:
        raise LackingError(f"{run.path}: {error}") from error


def draw(table: pd.DataFrame, ax: Axes) -> Axes:
    """A bundle for the prompt, its change and random directions; strokes on the axis are seeds' functional ranks."""
    drawn = table[table["line"] != _LINES["change", "random"]].drop(columns=["low", "high"])
    order = list(_LINES.values())
    drawn = drawn.sort_values("line", key=lambda names: names.map(order.index), kind="stable")
    lines.bundles(drawn, ax, "k", "difference", "line", plain=[_LINES["values", "random"]])
    tolerance = float(table["tolerance"].max())
    ax.set_yscale("symlog", linthresh=tolerance)
    lines.name_directly(ax)
    _strokes(drawn, ax)
    guide = ax.axhline(tolerance, color=style.QUIET, linestyle=style.DASHES[2], linewidth=0.8)
    style.plain(ax.yaxis)
    style.whole(ax.xaxis)
    ax.set_xlabel("directions kept")
    ax.set_ylabel("loss added (nats)")
    ax.set_title(naming.title(table), color=style.QUIET)
    stroke = Line2D([], [], color=style.QUIET, marker="|", linestyle="none", markersize=6, markeredgewidth=1.2)
    style.legend_above(ax, [guide, stroke], [f"tolerance {tolerance:g}", "functional rank of a seed"])
    return ax


def _strokes(table: pd.DataFrame, ax: Axes) -> None:
    """The smallest number of directions that is within the tolerance, of each seed."""
    for number, (_, part) in enumerate(naming.parts(table, ["line"])):
        ends = part[part["directions"] == "singular"].drop_duplicates(["run", "seed"])["rank"].dropna()
        height = 0.03 + 0.03 * number
        ax.plot(
            ends, [height] * len(ends), "|", color=style.series(number)[0], markersize=6, markeredgewidth=1.2,
            transform=ax.get_xaxis_transform(),
        )  # fmt: skip


FIGURE = Figure(
    "functional_rank",
    "The loss that truncating a trained prompt to its largest k directions adds, without retraining, beside as many "
    "random directions of the prompt; thin lines are seeds.",
    table_of,
    draw,
    height=lines.height,
)
