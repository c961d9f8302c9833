"""Examples of the test split that pruning answers otherwise than the dense prompt did: lost and won ones."""

from __future__ import annotations

from typing import Any

import pandas as pd

from prunekit.runs.paths import DENSE, PREDICTIONS, Stage
from prunekit.runs.reader import RunReader

FLIPS = ("example", "seeds", "lost", "won", "gold", "dense_choice", "pruned_choice", "loss_change")


def flips(run: RunReader, stage: Stage, number: int) -> pd.DataFrame:
    """Test examples that the dense prompt and a ticket do not both answer right, or both wrong, in every seed.

    Those that most seeds lose come first, and of them those whose loss grew most; what most seeds won comes last.

    Args:
        stage: a pruning or a search of a run whose answers are chosen.
        number: of the ticket's round.

    Columns:
        example (place in the split); seeds (int: with both answers); lost, won (int: seeds in which only the dense
            prompt, or only the ticket, is right); gold (list of places among the choices); dense_choice, pruned_choice
            (what most seeds answer, such a place); loss_change (nats: the ticket's loss less the dense prompt's, mean
            over seeds).

    Raises:
        ArtifactError: where the run is damaged.
    """
    dense, pruned = _answers(run, DENSE, 0), _answers(run, stage, number)
    both = dense.merge(pruned, on=["example", "seed"], suffixes=("_dense", "_pruned"))
    right, after = both["right_dense"].astype(bool), both["right_pruned"].astype(bool)
    both = both.assign(lost=right & ~after, won=after & ~right, loss_change=both["loss_pruned"] - both["loss_dense"])
    flipped = both[both.groupby("example")["lost"].transform("any") | both.groupby("example")["won"].transform("any")]
    table = pd.DataFrame([(example, *_row(rows)) for example, rows in flipped.groupby("example")], columns=list(FLIPS))
    order = table.assign(net=table["lost"] - table["won"])
    order = order.sort_values(["net", "loss_change"], ascending=False, kind="stable")
    return order.drop(columns="net").reset_index(drop=True)


def _answers(run: RunReader, stage: Stage, number: int) -> pd.DataFrame:
    """What the tickets of a round answer to test: example, seed, right (bool), choice, gold, loss."""
    tables = [
        run.table(key, PREDICTIONS).assign(seed=key.seed)
        for key in run.tickets()
        if (key.stage, key.round) == (stage, number)
    ]
    rows = pd.concat([table[table["split"] == "test"] for table in tables], ignore_index=True)
    right = [choice in gold for choice, gold in zip(rows["choice"], rows["gold"], strict=True)]
    return rows.assign(right=right)[["example", "seed", "right", "choice", "gold", "loss"]]


def _row(rows: pd.DataFrame) -> tuple[Any, ...]:
    """The columns of `flips` from seeds on, of one example's seeds."""
    return (
        len(rows),
        int(rows["lost"].sum()),
        int(rows["won"].sum()),
        list(rows["gold_dense"].iloc[0]),
        int(rows["choice_dense"].mode().iloc[0]),
        int(rows["choice_pruned"].mode().iloc[0]),
        float(rows["loss_change"].mean()),
    )
