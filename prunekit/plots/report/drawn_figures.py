"""The figures of a page: those that a run allows, and for each of the others what it lacks."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace

import pandas as pd

from prunekit.plots.report import page_tables, token_details
from prunekit.plots.report.page_parts import Figure, Missing, Table
from prunekit.plots.report.svg import inline
from prunekit.runs.reader import RunReader

# they evaluate the frozen model, which takes it and its data to be where they were, and minutes where it is large
NEED_MODEL = frozenset({"functional_rank"})

# one can point at its cells
CELL_MAP = "token_map"
# of each token, named beside the map
WORDS_NEAR = "words_near"
# those that a page may open with, the best first
_OPENING = ("density_curve", "search_map", "controls", "learning_curves", "token_map", "spectrum")


@dataclass(frozen=True)
class DrawnFigures:
    """By name: what was drawn, the tables behind it and beside it, and what could not be drawn."""

    drawn: dict[str, Figure] = field(default_factory=dict)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    beside: dict[str, Table] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)

    def of(self, *names: str) -> tuple[list[Figure], list[Missing]]:
        """The named figures that there are, and what is missing of them."""
        return (
            [self.drawn[name] for name in names if name in self.drawn],
            [self.missing[name] for name in names if name in self.missing],
        )

    def opening(self) -> tuple[Figure | None, DrawnFigures]:
        """The figure that says most, and all the others; None where nothing is drawn."""
        name = next((name for name in _OPENING if name in self.drawn), None)
        others = {other: figure for other, figure in self.drawn.items() if other != name}
        return self.drawn.get(name or ""), replace(self, drawn=others)

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*self.drawn, *self.missing]


def draw(run: RunReader, anchor: str, again: str, *, with_model: bool) -> DrawnFigures:
    """Every figure that a run allows, and the others with their reasons.

    Args:
        anchor: unlike those of other runs of the page.
        again: the command that makes this page.
        with_model: also those that evaluate the frozen model.

    Raises:
        ArtifactError: where the run is damaged.
    """
    from prunekit.plots.catalog import FIGURES
    from prunekit.plots.figure import LackingError
    from prunekit.plots.run_choice import unfinished

    note = unfinished([run])
    figures = DrawnFigures()
    for figure in filter(lambda figure: figure.applies([run]), FIGURES):
        words = figure.name.replace("_", " ")
        title = words[:1].upper() + words[1:]
        if figure.name in NEED_MODEL and not with_model:
            why = "it evaluates the frozen model again"
            figures.missing[figure.name] = Missing(title, why, f"{again} --with-model")
            continue
        try:
            table = figure.table_of([run])
        except LackingError as lack:
            figures.missing[figure.name] = Missing(title, str(lack))
            continue
        picture = figure.render(table, "svg", note=note).decode()
        drawing = inline(picture, f"{anchor}-{figure.name}-", textwrap.shorten(figure.shows, 300))
        numbers = page_tables.drawn(table, title)
        figures.frames[figure.name] = table
        figures.drawn[figure.name] = Figure(title, figure.shows, drawing, numbers, wide=figure.columns == 2)
    if CELL_MAP in figures.drawn:
        _tell_tokens(figures, run, with_model=with_model)
        if not with_model:
            why = "it loads the frozen model"
            figures.missing[WORDS_NEAR] = Missing("Words near each token", why, f"{again} --with-model")
    return figures


def _tell_tokens(figures: DrawnFigures, run: RunReader, *, with_model: bool) -> None:
    """Let the token map tell what is known of each token, and put a table of that beside it."""
    cells = figures.frames[CELL_MAP]
    details = token_details.token_details(run, cells, with_model=with_model)
    figures.beside[CELL_MAP] = token_details.as_table(details, cells)
    figures.drawn[CELL_MAP] = replace(figures.drawn[CELL_MAP], hover=token_details.as_hover(details, cells))
