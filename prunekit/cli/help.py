"""Help that fits a screen, in plain lines: `--help` shows what is used every day, `--help-all` everything.

Words are never cut: a flag's choices break between two of them. Nothing is imported to print it.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from prunekit.cli.usual import MEANT, USUAL, Usual

# letters of a line at most, and of the column of flags
_WIDEST, _FLAGS = 100, 24
_SETTINGS = "Settings: "


class Command(TyperCommand):
    """A verb whose help is short, and whole by `--help-all`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any command, unless the whole help is asked for."""
        if "--help-all" in args:
            sys.stdout.write("\n".join(_whole(self, ctx)) + "\n")
            raise typer.Exit
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """What is used every day."""
        formatter.write("\n".join(_short(self, ctx)) + "\n")


class Group(TyperGroup):
    """Verbs, a line each."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Every verb with its line."""
        rows = [(name, self.commands[name].get_short_help_str(200)) for name in self.list_commands(ctx)]
        options: list[Any] = self.get_params(ctx)
        first = [*_wrapped(self.help or ""), "", f"Usage: {ctx.command_path} VERB ..."]
        flags = ", ".join(name for option in options for name in sorted(option.opts, key=len))
        last = f"`{ctx.command_path} VERB --help` shows a verb. Before a verb: {flags}."
        formatter.write(
            "\n".join([*first, "", *_rows(rows, max(len(name) for name, _ in rows) + 4), "", *_wrapped(last)]) + "\n"
        )

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any group; where nothing is asked, the help is shown."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            sys.stdout.write(ctx.get_help() + "\n")
            raise typer.Exit
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that is named; one that there is not is answered by what may be meant."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f'there is no "{ctx.command_path} {args[0]}"; {self._hint(ctx, args[0])}')
        return super().resolve_command(ctx, args)

    def _hint(self, ctx: Any, word: str) -> str:
        if ctx.parent is None and word in MEANT:
            verb, what = MEANT[word]
            return f"`prunekit {verb}` {what}."
        close = get_close_matches(word, self.commands, n=1)
        return f'did you mean "{close[0]}"?' if close else f"there are {', '.join(self.commands)}."


def _short(command: Any, ctx: Any) -> Iterator[str]:
    """The lines of the short help."""
    usual = USUAL.get(ctx.info_name if ctx.command_path == f"prunekit {ctx.info_name}" else "", Usual(()))
    yield from _head(command, ctx)
    if usual.examples:
        left = max((len(line) for line, what in usual.examples if what), default=0) + 2
        yield from ("", "Examples", *(f"  {line:<{left if what else 0}}{what}" for line, what in usual.examples))
    arguments, options = _kinds(command, ctx)
    direct = [option for option in options if not (option.rich_help_panel or "").startswith(_SETTINGS)]
    rows = list(usual.flags.values()) or [*map(_of_argument, arguments), *map(_row, direct)]
    yield from ("", "Options", *_rows(rows))
    if usual.flags or len(direct) < len(options):
        yield f"  {'--help-all':<{_FLAGS - 2}}every option, settings of model, task and machine too"


def _whole(command: Any, ctx: Any) -> Iterator[str]:
    """The lines of the whole help."""
    arguments, options = _kinds(command, ctx)
    yield from _head(command, ctx)
    panels: dict[str, list[tuple[str, str]]] = {"Options": [_of_argument(argument) for argument in arguments]}
    for option in options:
        panels.setdefault(option.rich_help_panel or "Options", []).append(_row(option))
    for title, rows in panels.items():
        yield from ("", title, *_rows(rows))


def _head(command: Any, ctx: Any) -> Iterator[str]:
    """How it is called, and what it does."""
    arguments, _ = _kinds(command, ctx)
    words = [(argument.metavar or argument.name.upper()) + " " for argument in arguments]
    yield f"Usage: {ctx.command_path} {''.join(words)}[OPTIONS]"
    yield from _wrapped(command.help or "")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), _width(), break_long_words=False, break_on_hyphens=False)


def _kinds(command: Any, ctx: Any) -> tuple[list[Any], list[Any]]:
    """The arguments and the options, without those that ask for help."""
    params = [param for param in command.params if not param.hidden]
    arguments = [param for param in params if param.param_type_name == "argument"]
    return arguments, [param for param in params if param.param_type_name == "option"]


def _of_argument(argument: Any) -> tuple[str, str]:
    return argument.metavar or argument.name.upper(), argument.help or ""


def _row(option: Any) -> tuple[str, str]:
    """An option and its help, with the default where the help does not name it."""
    flags = " ".join([*option.opts, *option.secondary_opts, *([] if option.is_flag else [_takes(option)])])
    text, default = option.help or "", option.default
    is_worth_it = not isinstance(default, bool) and default not in (None, "") and "default:" not in text
    return flags, f"{text} (default: {default})" if is_worth_it else text


def _takes(option: Any) -> str:
    """What stands behind a flag, such as INT."""
    kind = getattr(getattr(option, "type_descriptor", None), "annotation", str)
    name = getattr(kind, "__name__", "TEXT").upper()
    return option.metavar or {"STR": "TEXT", "FLOAT": "NUMBER", "PATH": "PATH"}.get(name, name)


def _rows(rows: Sequence[tuple[str, str]], column: int = _FLAGS) -> Iterator[str]:
    """Two columns; what is too long for the first has lines of its own, broken between words and choices alone."""
    indent, width = " " * column, _width()
    for left, text in rows:
        lines = textwrap.wrap(text, width - column, break_long_words=False, break_on_hyphens=False)
        if len(left) > column - 3:
            broken = textwrap.wrap(left.replace("|", "| "), width - 6, break_on_hyphens=False, break_long_words=False)
            yield from (
                f"{'  ' if not number else '      '}{line.replace('| ', '|')}" for number, line in enumerate(broken)
            )
            yield from (f"{indent}{line}" for line in lines)
        else:
            yield from (
                f"{f'  {left}' if not number else '':<{column}}{line}" for number, line in enumerate(lines or [""])
            )


def _width() -> int:
    """Letters of a line."""
    return min(_WIDEST, shutil.get_terminal_size((80, 24)).columns)
