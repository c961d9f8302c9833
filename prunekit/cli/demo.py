"""`prunekit demo`."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from prunekit.cli.options import Overwrite
from prunekit.support import atomic, terminal


def demo(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="write the page here; default: a temporary file, opened at once")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """A page to play with: move a slider over density, and see tokens drop and answers change; it needs no network."""
    from prunekit.plots.demo import page
    from prunekit.runs import outputs

    path = out or Path(tempfile.mkdtemp(prefix="prunekit-")) / "demo.html"
    outputs.check(path, overwrite=overwrite, is_ours=lambda content: f'content="{page.GENERATOR}"'.encode() in content)
    atomic.replace(path, page.render().encode())
    if out is None and not webbrowser.open(path.resolve().as_uri()):
        terminal.write("no browser was found: open the page yourself")
    terminal.write(f"written to {path}")
