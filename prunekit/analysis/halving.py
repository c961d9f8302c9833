"""Successive halving against the full search, replayed on its curves: what it saves, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prunekit.pruning.ratio_search import Key, best_of, worse_half
from prunekit.pruning.schedule import Keep

COLUMNS = (
    "seed", "tokens", "pieces", "full_tokens", "full_pieces", "updates", "full_updates", "saving", "regret",
)  # fmt: skip


def replay(curves: pd.DataFrame, rungs: Sequence[int]) -> pd.DataFrame:
    """What successive halving would have chosen, had it run on the same cells.

    Args:
        curves: of the cells of a search that trained all of them to the end: seed, tokens, pieces, step, validation.
        rungs: the steps after which the worse half is dropped.

    Columns:
        seed.  tokens, pieces: the counts that halving chooses.  full_tokens, full_pieces: those of the full search.
        updates, full_updates: optimiser updates of all cells.  saving: 1 - updates / full_updates.
        regret: validation metric of the full search's choice less that of halving's.
    """
    rows = []
    for seed in sorted(curves["seed"].unique()):
        mine = curves[curves["seed"] == seed].sort_values("step")
        cells = {_key(cell): cell for _, cell in mine.groupby(["tokens", "pieces"])}
        ends = {key: int(cell["step"].max()) for key, cell in cells.items()}
        reached = {key: float(cell["validation"].max()) for key, cell in cells.items()}
        full = best_of(reached)
        alive = dict(ends)
        for rung in rungs:
            worse = worse_half({key: _so_far(cells[key], rung) for key in alive})
            ends |= {key: min(ends[key], rung) for key in worse}
            alive = {key: end for key, end in alive.items() if key not in worse}
        found = best_of({key: reached[key] for key in alive})
        updates, all_updates = sum(ends.values()), sum(int(cell["step"].max()) for cell in cells.values())
        rows.append(
            {
                "seed": seed,
                "tokens": found[1].tokens,
                "pieces": found[1].pieces,
                "full_tokens": full[1].tokens,
                "full_pieces": full[1].pieces,
                "updates": updates,
                "full_updates": all_updates,
                "saving": 1 - updates / all_updates,
                "regret": reached[full] - reached[found],
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _key(cell: pd.DataFrame) -> Key:
    first = cell.iloc[0]
    return int(first["seed"]), Keep(int(first["tokens"]), int(first["pieces"]))


def _so_far(cell: pd.DataFrame, step: int) -> float:
    return float(cell[cell["step"] <= step]["validation"].max())
