"""`prunekit presets`."""

from __future__ import annotations

from typing import Annotated

import typer

from prunekit.cli.options import Json
from prunekit.experiment import presets as library
from prunekit.support import terminal


def presets(
    name: Annotated[str | None, typer.Argument(help="print this one's file, to read or to change")] = None,
    json: Json = False,
) -> None:
    """List the settings of papers that ship with prunekit, for `--experiment NAME`."""
    if name is not None:
        terminal.write(library.text(name).rstrip("\n"))
        return
    rows = [[preset, library.description(preset)] for preset in library.names()]
    if json:
        terminal.write_json([{"name": preset, "description": line} for preset, line in rows])
        return
    terminal.show(
        ["name", "settings of"], rows, title="settings as published, for --experiment NAME; flags go over them"
    )
