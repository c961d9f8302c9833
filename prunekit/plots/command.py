"""The command of a figure: runs in, a picture and its table out, one line for every error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from prunekit.plots.picture import Picture, opened, suffix_of, unfinished, write
from prunekit.support.errors import ConfigError, PrunekitError

Runs = Annotated[list[Path], typer.Argument(help="run directories", metavar="RUN...", show_default=False)]
Out = Annotated[Path, typer.Option(help="the picture: .svg, .pdf or .png")]
Columns = Annotated[int, typer.Option(min=1, max=2, help="how many columns of a paper it spans: 3.3 or 6.9 inches")]
Seed = Annotated[int | None, typer.Option(help="whose prompt is shown, where one is; default: the first there is")]
Stage = Annotated[str | None, typer.Option(help="which pruning or search is shown, where a run has several")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there, also where it is no such figure")]
_CHOICES = {"seed": Seed, "stage": Stage}


def main(picture: Picture, arguments: Sequence[str] | None = None) -> None:
    """`python -m figures.NAME RUN... --out NAME.svg`: draw one figure and exit as the command line does."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    def draw(**given: Any) -> None:
        runs, out, columns = (given.pop(name) for name in ("runs", "out", "columns"))
        overwrite = given.pop("overwrite")
        suffix = suffix_of(out)
        found = opened(runs)
        note = unfinished(found)
        table = picture.table(found, **given)
        write(out, picture.render(table, suffix, columns, note), table, overwrite=overwrite)
        say_note(note)
        say(f"written to {out} and {out.with_suffix('.csv')}")

    flags: dict[str, tuple[Any, Any]] = {
        "runs": (Runs, Parameter.empty),
        "out": (Out, Path(f"{picture.name}.svg")),
        "columns": (Columns, picture.columns),
        "overwrite": (Overwrite, False),
        **{name: (_CHOICES[name], None) for name in picture.choices},
    }
    draw.__signature__ = Signature([  # type: ignore[attr-defined]
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in flags.items()
    ])  # fmt: skip
    app.command(help=f"{picture.shows} The table that it shows is written beside it as CSV.")(draw)
    run(app, f"python -m figures.{picture.name}", arguments)


def run(app: typer.Typer, name: str, arguments: Sequence[str] | None) -> None:
    """Run an application and exit: 0 done, 1 a run cannot be drawn, 2 usage."""
    try:
        code: Any = typer.main.get_command(app).main(arguments, prog_name=name, standalone_mode=False)
    except PrunekitError as error:
        sys.exit(_fail(str(error), error.exit_code))
    except OSError as error:
        sys.exit(_fail(f"{error.filename or ''}: {error.strerror or error}", 1))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted; files already written are whole", 130))
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own, or click's under an older typer
            sys.exit(_fail(f"{error.format_message()} See `{name} --help`.", ConfigError.exit_code))
        raise
    sys.exit(code if isinstance(code, int) else 0)


def say(line: str) -> None:
    """A line on standard output."""
    sys.stdout.write(_printable(line) + "\n")


def say_note(note: str) -> None:
    """Where runs are unfinished: a line on standard error, as the picture says it too."""
    if note:
        sys.stderr.write(_printable(f"unfinished: {note}") + "\n")


def _fail(line: str, code: int) -> int:
    sys.stderr.write(f"figures: {_printable(line)}\n")
    return code


def _printable(line: str) -> str:
    """One line that cannot steer a terminal, whatever a run is called."""
    text = " ".join(line.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
