"""The figures of a page: those of `figures` that a run allows, and for each of the others what it lacks."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

import pandas as pd

from prunekit.plots.report import sheets
from prunekit.plots.report.parts import Figure, Missing
from prunekit.plots.report.svg import inline
from prunekit.runs.run import Run

# they evaluate the frozen model, which takes it and its data to be where they were, and minutes where it is large
NEED_MODEL = frozenset({"functional_rank"})


@dataclass(frozen=True)
class Pictures:
    """By name: what was drawn, the tables behind it, and what could not be drawn."""

    drawn: dict[str, Figure] = field(default_factory=dict)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)

    def of(self, *names: str) -> tuple[list[Figure], list[Missing]]:
        """The named figures that there are, and what is missing of them."""
        return (
            [self.drawn[name] for name in names if name in self.drawn],
            [self.missing[name] for name in names if name in self.missing],
        )

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*self.drawn, *self.missing]


def draw(run: Run, anchor: str, again: str, *, with_model: bool) -> Pictures:
    """Every figure that a run allows, and the others with their reasons.

    Args:
        anchor: unlike those of other runs of the page.
        again: the command that makes this page.
        with_model: also those that evaluate the frozen model.

    Raises:
        ArtifactError: where the run is damaged.
    """
    from prunekit.plots.catalog import PICTURES
    from prunekit.plots.picture import LackingError, unfinished

    note = unfinished([run])
    made = Pictures()
    for picture in PICTURES:
        words = picture.name.replace("_", " ")
        title = words[:1].upper() + words[1:]
        if picture.name in NEED_MODEL and not with_model:
            made.missing[picture.name] = Missing(title, "it evaluates the frozen model again", f"{again} --with-model")
            continue
        try:
            table = picture.table_of([run])
        except LackingError as lack:
            made.missing[picture.name] = Missing(title, str(lack))
            continue
        drawing = picture.render(table, "svg", note=note).decode()
        shown = inline(drawing, f"{anchor}-{picture.name}-", textwrap.shorten(picture.shows, 300))
        made.frames[picture.name] = table
        made.drawn[picture.name] = Figure(
            title, picture.shows, shown, sheets.drawn(table, title), wide=picture.columns == 2
        )
    return made
