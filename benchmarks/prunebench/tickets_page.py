"""The tables of tickets, and the page around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from benchmarks.page import table
from benchmarks.prunebench.entry import Entry
from benchmarks.prunebench.page import EPOCH_EXAMPLES
from benchmarks.prunebench.tickets import CHANCE, DEFAULT, PIECES, SIZES, TEST_EXAMPLES, TRAIN_EXAMPLES
from prunekit.analysis import controls
from prunekit.support.statistics import Floats, cut, estimate, t_interval

#: In accuracy: a smaller difference does not matter.
MARGIN = 0.02
#: On so many rows a finder is to be better than the default, beyond the interval, and worse on none.
ENOUGH_ROWS = 2


def comparisons(measured: pd.DataFrame) -> pd.DataFrame:
    """Each finder's tickets against those of the default and of the random mask, paired over seeds.

    Args:
        measured: of `TicketPlan.measure`.

    Columns:
        size; finder; those of `prunekit.analysis.controls.compare`: over all tasks first, then task by task.
    """
    parts = []
    for (size, finder), _ in measured.groupby(["size", "finder"], sort=False):
        others = [name for name in (DEFAULT, CHANCE) if name != finder]
        of_size = measured[(measured["size"] == size) & measured["finder"].isin([finder, *others])]
        arms = of_size.rename(columns={"finder": "arm"})
        compared = controls.compare(arms, ticket=str(finder), primary=others[0], margin=MARGIN)
        parts.append(compared.assign(size=size, finder=finder))
    return pd.concat(parts, ignore_index=True)


def standings(compared: pd.DataFrame) -> pd.DataFrame:
    """On how many rows, a task at a size each, a finder's tickets are better than the default's, or worse.

    Args:
        compared: of `comparisons`.

    Columns:
        finder; rows; better, worse (rows whose whole 95 % interval lies above 0, or below).
    """
    single = compared[(compared["against"] == DEFAULT) & (compared["scope"] != controls.ALL_TASKS)]
    rows = [
        (finder, len(of_finder), int((of_finder["low"] > 0).sum()), int((of_finder["high"] < 0).sum()))
        for finder, of_finder in single.groupby("finder", sort=False)
    ]
    return pd.DataFrame(rows, columns=["finder", "rows", "better", "worse"])


def passing(table: pd.DataFrame) -> pd.DataFrame:
    """The finders, but for chance, whose tickets are better than the default's on enough rows and worse on none.

    Args:
        table: of `standings`.
    """
    is_better = (table["better"] >= ENOUGH_ROWS) & (table["worse"] == 0)
    return table[is_better & (table["finder"] != CHANCE)]


def verdict(table: pd.DataFrame) -> str:
    """Which finders' tickets are never worse than the default's and better on enough rows, or that none is.

    Args:
        table: of `standings`.
    """
    counted = "; ".join(f"{row.finder} better on {row.better}, worse on {row.worse}" for row in table.itertuples())
    names = ", ".join(passing(table)["finder"])
    bar = f"better than {DEFAULT} on at least {ENOUGH_ROWS} rows and worse on none"
    sentence = f"Tickets of {names} are {bar}." if names else f"No finder's tickets are {bar}."
    return (
        f"{sentence} Beyond the 95 % interval, of up to {table['rows'].max()} rows (a task at a size each): {counted}. "
        "Where nothing differs, one row in forty is better by luck, and one worse."
    )


def page(measured: pd.DataFrame, finders: Sequence[Entry], command: str) -> str:
    """The page as Markdown.

    Args:
        measured: of `TicketPlan.measure`.
        finders: its entries.
        command: that prints it again.
    """
    compared = comparisons(measured)
    return _PAGE.format(
        command=command, seeds=measured["seed"].nunique(), tasks=measured["task"].nunique(),
        updates=int(measured["updates"].iloc[0]), train=TRAIN_EXAMPLES, test=TEST_EXAMPLES, epoch=EPOCH_EXAMPLES,
        default=DEFAULT, margin=MARGIN, verdict=verdict(standings(compared)),
        sizes=table(_SIZES, _size_rows(measured, compared)),
        finders=table(_FINDERS, [_finder_row(measured, entry) for entry in finders]),
        rows=table(*_single_rows(measured, compared)),
    )  # fmt: skip


_SIZES = (
    "size", "finder", "accuracy", "before its updates", f"less {DEFAULT}", "verdict", f"less {CHANCE}", "verdict",
)  # fmt: skip
_FINDERS = ("finder", "agreement above chance", "examples", "epochs, of tokens", "epochs, of tokens and pieces")


def _size_rows(measured: pd.DataFrame, compared: pd.DataFrame) -> Iterator[list[str]]:
    """A row for each size and finder, over all tasks."""
    for (size, finder), of_both in measured.groupby(["size", "finder"], sort=False):
        row = [str(size), str(finder), _interval(of_both, "test"), f"{estimate(_strata(of_both, 'pruned')):.3f}"]
        for against in (DEFAULT, CHANCE):
            pairs = compared[(compared["size"] == size) & (compared["finder"] == finder)]
            pairs = pairs[pairs["against"] == against]
            row += _difference(pairs.iloc[0]) if len(pairs) else ["", ""]
        yield row


def _difference(pair: pd.Series) -> list[str]:
    """What is said of the first scope of a comparison."""
    spread = "" if pd.isna(pair["low"]) else f" [{pair['low']:+.3f}, {pair['high']:+.3f}]"
    return [f"{pair['difference']:+.3f}{spread}", str(pair["verdict"])]


def _finder_row(measured: pd.DataFrame, entry: Entry) -> list[str]:
    """What a finder costs, and whether it keeps the same twice."""
    of_finder = measured[measured["finder"] == entry.name]
    above = of_finder.assign(above=(of_finder["jaccard"] - of_finder["chance"]) / (1 - of_finder["chance"]))
    by_seed = above.groupby(["task", "seed"], sort=False)["above"].mean().reset_index()
    whole = of_finder["size"].map(lambda size: SIZES[size].pieces == PIECES)
    costs = [_epochs(of_finder[whole]), _epochs(of_finder[~whole])]
    return [entry.name, _interval(by_seed, "above", (-1.0, 1.0)), str(entry.examples), *costs]


def _epochs(rows: pd.DataFrame) -> str:
    return "" if rows.empty else f"{rows['passes'].mean() / 2 / EPOCH_EXAMPLES:.2f}"


def _single_rows(measured: pd.DataFrame, compared: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows, a task at a size each: accuracies of all finders, those beyond the default's marked."""
    finders = list(dict.fromkeys(measured["finder"]))
    marks = compared[compared["against"] == DEFAULT].set_index(["scope", "size", "finder"])
    rows = []
    for (task, size), of_row in measured.groupby(["task", "size"], sort=False):
        means = of_row.groupby("finder")["test"].mean()
        cells = [
            f"{means[finder]:.3f}{_mark(marks, (str(task), str(size), finder))}" if finder in means else ""
            for finder in finders
        ]
        rows.append([str(task), str(size), f"{of_row.groupby('seed')['dense'].first().mean():.3f}", *cells])
    return ["task", "size", "dense", *finders], rows


def _mark(marks: pd.DataFrame, row: tuple[str, str, str]) -> str:
    if row not in marks.index:
        return ""
    low, high = marks.loc[row, ["low", "high"]]
    return " (+)" if low > 0 else " (-)" if high < 0 else ""


def _strata(rows: pd.DataFrame, column: str) -> list[Floats]:
    return [of_task[column].to_numpy(dtype=float) for _, of_task in rows.groupby("task", sort=False)]


def _interval(rows: pd.DataFrame, column: str, bounds: tuple[float, float] = (0.0, 1.0)) -> str:
    """Mean over tasks and its 95 % interval over seeds."""
    strata = _strata(rows, column)
    low, high = cut(t_interval(strata, 0.95), bounds)
    return f"{estimate(strata):.3f} [{low:.3f}, {high:.3f}]"


_PAGE = """# PruneBench: tickets

{command}

What finders keep of trained prompts, and what that is worth. On each of {tasks} tasks of the testbed a prompt of 16
tokens x 16 pieces is trained for {updates} updates on {train} examples, {seeds} seeds; each finder prunes it in one
step; what is kept starts from its trained values and is trained for {updates} updates more, whoever chose it. Accuracy
is that on {test} examples of the test split, a mean over tasks and seeds with its 95 % interval over seeds.

{verdict}

## Sizes

Differences are paired over seeds; intervals and verdicts are by the rule of all comparisons here, with {margin:g} as
the smallest difference that matters. Before its updates: accuracy on the validation split right after the pruning.

{sizes}

## Finders

Agreement above chance: each trained prompt is scored a second time, on other examples of the training split and with
other random numbers, and the Jaccard index of the two masks is set between that of random masks (0) and that of equal
ones (1). Prompts of different seeds start from other words, so that their tokens have nothing but their places in
common. Costs are passes forward and backward through the model, in epochs of training on {epoch} examples.

{finders}

## Task by task

(+) and (-): better or worse than {default} beyond the 95 % interval over seeds.

{rows}

Blank: a finder that does not tell the pieces of a token apart has no ticket of an eighth of the cells.
"""
