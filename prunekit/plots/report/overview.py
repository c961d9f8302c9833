"""Several runs side by side: a row for each, which one can sort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from prunekit.plots.report.page_parts import Column, Section, Table, table_of
from prunekit.runs.reader import RunReader

_COLUMNS = ("run", "task", "model", "method", "seeds")


def side_by_side(runs: Sequence[RunReader], sections: Sequence[Section]) -> Table:
    """What each run was, and the numbers that its section opens with.

    Args:
        runs: as many as there are sections.
        sections: each with its opening.
    """
    rows = [_row(run, section) for run, section in zip(runs, sections, strict=True)]
    frame = pd.DataFrame(rows)
    columns = {name: Column(name) for name in (*_COLUMNS, *(str(name) for name in frame if name not in _COLUMNS))}
    table = table_of(frame, columns, "The runs of this page, side by side; a click on a heading sorts")
    return replace(table, filters=True)


def _row(run: RunReader, section: Section) -> dict[str, str | int]:
    settings = run.settings()
    facts = {
        "run": run.path.name,
        "task": settings["task"]["name"],
        "model": settings["model"]["name"],
        "method": settings["prompt"]["method"],
        "seeds": len(settings["seeds"]),
    }
    numbers = section.opening.numbers if section.opening else ()
    return facts | {number.label.lower(): number.value for number in numbers}
