"""`prunekit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunekit.cli.options import Overwrite, Tolerance
from prunekit.support import terminal


def report(
    runs: Annotated[list[Path], typer.Argument(help="run directories", metavar="RUN...", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="the page")] = Path("report.html"),
    tolerance: Tolerance = 0.01,
    with_model: Annotated[
        bool,
        typer.Option("--with-model", help="also what takes evaluating the frozen model again: the functional rank"),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """One HTML page of runs: what was asked and found, figures, controls, warnings; it needs no network."""
    from prunekit.plots.report import page_text

    page = page_text.write(runs, out, tolerance, with_model=with_model, overwrite=overwrite)
    for line in page.warnings:
        terminal.write(line)
    terminal.write(f"written to {out}")
