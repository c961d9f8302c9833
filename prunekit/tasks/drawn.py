"""Which rows are taken, where it is not all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from prunekit.support.seeding import generator

Row = TypeVar("Row")


def drawn(rows: Sequence[Row], count: int | None, draw: int = 0) -> Sequence[Row]:
    """So many rows, the same at each call, in their own order.

    Data sets are often published with all rows of a label behind one another, so that the first few have one label.

    Args:
        rows: of one split.
        count: how many; None, or no fewer than there are: all of them.
        draw: 0, 1, ...: draws of the same count share no row, as long as rows last.
    """
    if count is None or count >= len(rows):
        return rows
    import torch

    order = torch.randperm(len(rows), generator=generator("rows")).tolist()
    return [rows[place] for place in sorted(order[draw * count : (draw + 1) * count])]
