"""Every figure that some runs allow, drawn and written with its table, and what each of the others lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prunekit.plots.catalog import FIGURES
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.figure_files import INTERACTIVE, check_format, check_replaceable, write
from prunekit.plots.interactive import CHARTS
from prunekit.plots.interactive.page import InteractiveFigure
from prunekit.plots.run_choice import one_of_all, opened, unfinished
from prunekit.runs.address import Address
from prunekit.support.errors import ConfigError, nearest


@dataclass(frozen=True)
class Drawing:
    """A figure as it was drawn.

    Attributes:
        figure: which.
        content: bytes of the picture.
        table: what is drawn.
    """

    figure: Figure
    content: bytes
    table: pd.DataFrame


@dataclass(frozen=True)
class Drawings:
    """The figures of some runs.

    Attributes:
        drawn: those that the runs allow, in the catalog's order.
        lacking: of each of the others, by name, what it lacks and which command would make it.
        note: what of the runs is unfinished, "" where nothing is; it stands in every picture.
    """

    drawn: tuple[Drawing, ...]
    lacking: dict[str, str]
    note: str


def draw_figures(
    paths: Sequence[Path],
    names: Sequence[str] = (),
    *,
    suffix: str = "svg",
    columns: int | None = None,
    seed: int | None = None,
    stage: str | None = None,
) -> Drawings:
    """The figures of some runs.

    Args:
        paths: of run directories, or addresses such as RUN@prune-0123abcd,seed=1.
        names: of figures, which are then drawn or refused; none: every figure that the runs allow.
        suffix: "svg", "pdf", "png", or "html" for pages to hover over, of the figures that have one.
        columns: of a paper, 1 or 2: 3.3 or 6.9 inches; None for what suits each figure.
        seed: whose prompt is shown where a figure shows one; None for the first there is.
        stage: which pruning or search is shown where a run has several.

    Raises:
        ArtifactError: where a path is no run, a run is damaged, or a named figure cannot be drawn.
        ConfigError: where there is no such figure, format, seed or stage, or what draws a page is not installed.
    """
    check_format(suffix)
    named = [_named(name, suffix) for name in names]
    directories, seed, stage = one_of_all(paths, seed, stage)
    runs = opened(directories)
    figures = named or [figure for figure in _figures(suffix) if figure.applies(runs)]
    note = unfinished(runs)
    drawn, lacking = [], {}
    for figure in figures:
        try:
            table = figure.table(runs, seed=seed, stage=stage)
        except LackingError as error:
            if names:
                raise
            lacking[figure.name] = str(error)
            continue
        drawn.append(Drawing(figure, figure.render(table, suffix, columns, note), table))
    return Drawings(tuple(drawn), lacking, note)


def write_figures(drawings: Drawings, folder: Path, *, suffix: str, overwrite: bool = False) -> list[Path]:
    """The pictures as files, each with its table beside it as CSV: all of them, or none where one may not be replaced.

    Args:
        drawings: what to write.
        folder: where.
        suffix: with which it was drawn.
        overwrite: also files that are no figure of prunekit.

    Raises:
        ConfigError: in one line.
    """
    paths = [folder / f"{drawing.figure.name}.{suffix}" for drawing in drawings.drawn]
    for path, drawing in zip(paths, drawings.drawn, strict=True):
        check_replaceable(path, drawing.table, overwrite=overwrite)
    for path, drawing in zip(paths, drawings.drawn, strict=True):
        write(path, drawing.content, drawing.table, overwrite=overwrite)
    return paths


def runs_and_names(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Run directories and names of figures, told apart; a folder that is called like a figure is named `./cost`.

    Raises:
        ConfigError: where a word is neither, or there is no run.
    """
    names = [figure.name for figure in FIGURES]
    runs = [word for word in words if word not in names]
    for word in runs:
        if not Path(word).exists() and not Address.parse(word):
            raise ConfigError(f'"{word}" is neither a run directory nor a figure; {nearest(word, names)}')
    if not runs:
        raise ConfigError(f"name a run directory before the figures {', '.join(words)}")
    return [Path(run) for run in runs], [word for word in words if word in names]


def _figures(suffix: str) -> list[Figure]:
    """Those that there are in a format."""
    if suffix != INTERACTIVE:
        return list(FIGURES)
    return [InteractiveFigure.of(figure, CHARTS[figure.name]) for figure in FIGURES if figure.name in CHARTS]


def _named(name: str, suffix: str) -> Figure:
    names, by_name = [figure.name for figure in FIGURES], {figure.name: figure for figure in _figures(suffix)}
    if name not in names:
        raise ConfigError(f'no figure is called "{name}"; {nearest(name, names)}')
    if name not in by_name:
        raise ConfigError(f"{name}: no page to hover over; --suffix {INTERACTIVE} has {', '.join(CHARTS)}")
    return by_name[name]
