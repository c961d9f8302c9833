"""The table of all entries, and the page around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from benchmarks.prunebench.entry import Entry
from benchmarks.testbed.table import markdown
from prunekit.pruning.scores.better import BETTER
from prunekit.support.statistics import cut, t_interval

#: Examples of the training epoch that costs are compared with: as many as the studies train on.
EPOCH_EXAMPLES = 256
#: The share of planted words at which a finder counts as one, and the epochs that it may cost.
ENOUGH, MOST_EPOCHS = 110 / 120, 2.0


def table_of(measured: pd.DataFrame, entries: Sequence[Entry]) -> pd.DataFrame:
    """A row for each entry, the best first.

    Args:
        measured: of `PlantedPrompts.measure`, all seeds.

    Columns:
        entry; act (what the score estimates); examples; share (of planted words that are found, the mean over seeds);
            low, high (95 % interval over seeds); whole, prompts (prompts of which every word is found); epochs (what it
            costs, in epochs of training on `EPOCH_EXAMPLES`).
    """
    rows = [_row(entry, measured[measured["entry"] == entry.name]) for entry in entries]
    return pd.DataFrame(rows).sort_values(
        ["share", "epochs"], ascending=[False, True], kind="stable", ignore_index=True
    )


def _row(entry: Entry, rows: pd.DataFrame) -> Mapping[str, object]:
    by_seed = rows.groupby("seed")[["found", "words"]].sum()
    shares = (by_seed["found"] / by_seed["words"]).to_numpy()
    low, high = cut(t_interval([shares], 0.95), (0.0, 1.0))
    whole = int((rows["found"] == rows["words"]).sum())
    return {
        "entry": entry.name, "act": entry.finder.act, "examples": entry.examples, "share": float(shares.mean()),
        "low": low, "high": high, "whole": whole, "prompts": len(rows),
        "epochs": float(rows["passes"].mean()) / 2 / EPOCH_EXAMPLES,
    }  # fmt: skip


def page(table: pd.DataFrame, entries: Sequence[Entry], command: str, seeds: int) -> str:
    """The page as Markdown.

    Args:
        table: of `table_of`.
        command: that prints it again.
        seeds: over how many its intervals are.
    """
    return _PAGE.format(
        command=command,
        seeds=seeds,
        epoch=EPOCH_EXAMPLES,
        table=finder_table(table, entries),
        verdict=verdict(table),
        better=_better(),
    )


def finder_table(table: pd.DataFrame, entries: Sequence[Entry], share: str = "share of planted words") -> str:
    """A row of Markdown for each entry.

    Args:
        table: of `table_of`.
        share: how the column of shares is called.
    """
    sources = {entry.name: entry.finder.source for entry in entries}
    rows = [
        {
            "finder": row.entry,
            share: f"{row.share:.3f} [{row.low:.3f}, {row.high:.3f}]",
            "whole prompts": f"{row.whole} of {row.prompts}",
            "examples": row.examples,
            "cost in epochs": f"{row.epochs:.2f}",
            "act": row.act,
            "source": sources[row.entry],
        }
        for row in table.itertuples()
    ]
    return markdown(rows)


def _better() -> str:
    """What `prune` says of it."""
    if BETTER is None:
        return "No score is better than the default, so that `prunekit prune` says nothing of it."
    return f"A `prunekit prune` that goes by the default, {BETTER.than}, ends in the line: {BETTER.sentence}"


def standing(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table_of` that find enough at no more than twice the cost of an epoch, the cheapest first."""
    enough = (table["share"] >= ENOUGH) & (table["epochs"] <= MOST_EPOCHS)
    return table[enough].sort_values("epochs", kind="stable")


def verdict(table: pd.DataFrame) -> str:
    """Which finders stand, and the random mask's share beside them."""
    enough = standing(table)
    chance = table.loc[table["entry"] == "random", "share"]
    beside = f" A random mask finds {chance.iloc[0]:.3f}." if len(chance) else ""
    if enough.empty:
        return f"No finder reaches {ENOUGH:.3f} (110 of 120 words) within {MOST_EPOCHS:g} epochs.{beside}"
    listed = ", ".join(f"{row.entry} ({row.share:.3f} at {row.epochs:.2f})" for row in enough.itertuples())
    return f"At least {ENOUGH:.3f} (110 of 120 words) within {MOST_EPOCHS:g} epochs, cheapest first: {listed}.{beside}"


_PAGE = """# PruneBench: planted words

`{command}`

The words of an instruction among filler, {seeds} seeds of other filler in other places on each of the testbed's twelve
tasks. Each word is worth at least 0.49 accuracy, and filler nothing: of the 20 tokens exactly these are needed. A
finder keeps as many tokens as there are words. Shares are means over seeds with 95 % intervals over them; costs are
passes forward and backward through the model, in epochs of training on {epoch} examples.

{table}
{verdict}

{better}

The truth here is itself that of leaving words out one at a time, and no word can stand in for another: that favours
finders that leave out. It says nothing of trained prompts, nor of tickets after retraining, which
`python -m benchmarks.prunebench tickets` measures.
The number of examples is the entry's own choice: measured scores need few, slopes of single examples more.

A finder of your own is a file `benchmarks/prunebench/entries/NAME.toml` with `score = "module:Class"` and `examples`.
"""
