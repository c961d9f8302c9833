"""`prunekit figures`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunekit.cli.options import Overwrite
from prunekit.support import terminal


def figures(
    words: Annotated[
        list[str],
        typer.Argument(
            help="run directories, then the figures to draw by name; without a name, all that the runs allow",
            metavar="RUN... [NAME...]",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the pictures and their tables")] = Path(
        "figures"
    ),
    suffix: Annotated[
        str, typer.Option("--suffix", help="svg, pdf, png, or html: to hover over, with the extra of Altair")
    ] = "svg",
    columns: Annotated[
        int | None, typer.Option(min=1, max=2, help="paper columns, 3.3 or 6.9 inches; default: what suits each")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="whose prompt is shown, where one is; default: the first there is")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="which pruning or search is shown, where a run has several")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Pictures of runs for a paper, each with the table that it shows as CSV."""
    from prunekit.plots.drawing import draw_figures, runs_and_names, write_figures

    runs, names = runs_and_names(words)
    drawings = draw_figures(runs, names, suffix=suffix, columns=columns, seed=seed, stage=stage)
    paths = write_figures(drawings, out, suffix=suffix, overwrite=overwrite)
    if drawings.note:
        terminal.Screen().say(f"unfinished: {drawings.note}")
    for name, reason in drawings.lacking.items():
        terminal.write(f"{name}: not drawn: {reason}")
    for path in paths:
        terminal.write(f"written to {path} and {path.with_suffix('.csv')}")
