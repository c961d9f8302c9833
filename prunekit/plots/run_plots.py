"""`run.plot`: the figures of one run, each a line in a notebook."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from matplotlib.axes import Axes

from prunekit.plots import catalog, style
from prunekit.plots.figure import Figure
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ConfigError, nearest

#: What a notebook calls figures of the catalogue, where that is shorter.
SHORT = {"density": "density_curve", "curves": "learning_curves", "search": "search_map"}


class RunPlots:
    """The figures of one run: `run.plot.density()`, `.importance()`, `.token_map()`, and all others by their names.

    Each takes `ax` (matplotlib axes to draw on; None makes a picture of the figure's own size), and `seed` where the
    figure shows one prompt; each returns the Axes. `density`, `controls`, `curves` and `token_map` return an Altair
    chart to hover over with `interactive=True`. `dir(run.plot)` lists them.

    Attributes:
        run: its directory.
        stage: the pruning or search that is shown; None for the only one.
    """

    def __init__(self, run: Snapshot, stage: str | None) -> None:
        self._run, self._stage = run, stage

    def __getattr__(self, name: str) -> Callable[..., Any]:
        figures = _by_name()
        if name.startswith("_") or name not in figures:
            raise AttributeError(f'no figure is called "{name}"; {nearest(name, figures)}')
        return partial(self._draw, figures[name])

    def __call__(self, name: str, **options: Any) -> Any:
        """The figure of a name.

        Raises:
            ConfigError: where there is none, or no interactive form of it, or Altair is not installed.
            ArtifactError: where the run does not hold what it shows, naming the command that would make it.
        """
        figures = _by_name()
        if name not in figures:
            raise ConfigError(f'no figure is called "{name}"; {nearest(name, figures)}')
        return self._draw(figures[name], **options)

    def __dir__(self) -> list[str]:
        return sorted(_by_name())

    def __repr__(self) -> str:
        return f"the figures {', '.join(dir(self))}; such as run.plot.{dir(self)[0]}()"

    def _draw(self, figure: Figure, ax: Axes | None = None, seed: int | None = None, interactive: bool = False) -> Any:
        if interactive:
            return self._chart(figure, seed)
        from matplotlib import pyplot

        table = figure.table([self._run], seed=seed, stage=self._stage)
        picture = None
        if ax is None:
            size = (style.WIDTHS[figure.columns], figure.height(table, figure.columns))
            # before the style: a notebook's backend is loaded here, and what it sets must outlast the style
            picture = pyplot.figure(figsize=size, layout="constrained", dpi=140, facecolor="white")
        with style.look(figure.name):
            if picture is not None:
                ax = picture.subplots()
            return figure.draw(table, ax)

    def _chart(self, figure: Figure, seed: int | None) -> Any:
        from prunekit.plots.interactive import CHARTS
        from prunekit.plots.interactive.page import InteractiveFigure

        if figure.name not in CHARTS:
            raise ConfigError(f"{figure.name}: no interactive form; these have one: {', '.join(CHARTS)}")
        chart = CHARTS[figure.name]
        return chart.draw(InteractiveFigure.of(figure, chart).table([self._run], seed=seed, stage=self._stage))


def _by_name() -> dict[str, Figure]:
    """Every figure by its names."""
    figures = {figure.name: figure for figure in catalog.FIGURES}
    return figures | {short: figures[name] for short, name in SHORT.items() if name in figures}
