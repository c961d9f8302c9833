"""`python -m figures all RUN... --out DIR`: every figure that the runs allow, and a line for each that they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunekit.plots import command, style
from prunekit.plots.catalog import PICTURES
from prunekit.plots.picture import LackingError, check, opened, unfinished, write
from prunekit.support.errors import ConfigError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


NAMES = ", ".join(picture.name for picture in PICTURES)


@app.callback(help=f"Figures of runs. One alone: python -m figures.NAME RUN...; NAME is one of {NAMES}.")
def _group() -> None:
    """Makes `all` a word of its own beside which others can come."""


@app.command("all")
def all_figures(
    runs: command.Runs,
    out: Annotated[Path, typer.Option(help="folder for the pictures and their tables")] = Path("figures"),
    suffix: Annotated[str, typer.Option(help="svg, pdf or png")] = "svg",
    columns: Annotated[
        int | None, typer.Option(min=1, max=2, help="paper columns, 3.3 or 6.9 inches; default: what suits each")
    ] = None,
    seed: command.Seed = None,
    stage: command.Stage = None,
    overwrite: command.Overwrite = False,
) -> None:
    """Draw every figure that the runs allow; say what each of the others lacks and which command would make it.

    Nothing is written where a run is damaged.
    """
    if suffix not in style.SUFFIXES:
        raise ConfigError(f"--suffix {suffix}: use one of {', '.join(style.SUFFIXES)}")
    found = opened(runs)
    note = unfinished(found)
    drawn, lacks = {}, {}
    for picture in PICTURES:
        try:
            table = picture.table(found, seed=seed, stage=stage)
            drawn[picture.name] = (picture.render(table, suffix, columns, note), table)
        except LackingError as lack:
            lacks[picture.name] = str(lack)
    for name, (_, table) in drawn.items():
        check(out / f"{name}.{suffix}", table, overwrite=overwrite)  # all of them before the first is written
    for name, (content, table) in drawn.items():
        write(out / f"{name}.{suffix}", content, table, overwrite=overwrite)
    command.say_note(note)
    for name, reason in lacks.items():
        command.say(f"{name}: not drawn: {reason}")
    command.say(f"{len(drawn)} of {len(PICTURES)} figures written to {out}, each with its table as CSV")


if __name__ == "__main__":
    command.run(app, "python -m figures", None)
