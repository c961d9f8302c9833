"""The page of the command line, made from the commands themselves: nothing of it is typed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import typer

from prunekit.cli.app import build_app
from prunekit.plots.catalog import FIGURES

_OPENING = """# The command line

Made from the commands themselves when this page was built; `prunekit VERB --help-all` prints the same, and
`prunekit VERB --help` (or `-h`) what is used every day. `--install-completion` teaches your shell to complete verbs and
flags. Flags named under
*Settings* are also the keys of an experiment file (`--experiment FILE`) and, with underscores, the keyword arguments
of the [functions](reference/prunekit.md) of the same names. Exit codes: 0 done, 1 the run failed, 2 usage or
configuration, 130 after Ctrl-C, 143 after SIGTERM.
"""


def page() -> str:
    """Every verb with its arguments and flags, as Markdown."""
    root = typer.main.get_command(build_app())
    verbs = list(_verbs(root, "prunekit"))
    flags = [[_flags(option), _help_and_default(option)] for option in root.params]
    rows = [[f"[`{name}`](#{_anchor(name)})", _help(verb)] for name, verb in verbs]
    figures = [
        [_code(figure.name), escape(figure.shows, quote=False), _own_flags(figure.choices)] for figure in FIGURES
    ]
    parts = [_OPENING, _table(["verb", "what it does"], rows), _table(["before a verb", ""], flags)]
    parts += [*(_verb(name, verb) for name, verb in verbs)]
    parts += ["## Figures {#figures}", _table(["figure", "what it shows", "flags of its own"], figures)]
    return "\n\n".join(parts) + "\n"


def _verbs(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its whole name."""
    inner = getattr(command, "commands", None)
    if inner is None or getattr(command, "invoke_without_command", False):
        yield name, command
    for word, command in (inner or {}).items():
        yield from _verbs(command, f"{name} {word}")


def _verb(name: str, command: Any) -> str:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    panels: dict[str, list[Any]] = {}
    for param in command.params:
        if param.param_type_name == "option" and not param.hidden and param.name != "help":
            panels.setdefault(param.rich_help_panel or "Flags", []).append(param)
    words = [_name(arg) + ("..." if arg.nargs == -1 and "..." not in _name(arg) else "") for arg in arguments]
    usage = " ".join([name, *words, *(["[flags]"] if panels else [])])
    parts = [f"## {name} {{#{_anchor(name)}}}", _help(command), f"`{usage}`"]
    if any(argument.help for argument in arguments):
        rows = [[_code(_name(argument)), escape(argument.help or "")] for argument in arguments]
        parts.append(_table(["argument", "what it is"], rows))
    for title, options in panels.items():
        rows = [[_flags(option), _takes(option), _help_and_default(option)] for option in options]
        parts += [f"**{title}**", _table(["flag", "takes", "what it does"], rows)]
    return "\n\n".join(parts)


def _help(command: Any) -> str:
    return escape(" ".join((command.help or "").split()), quote=False)


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _flags(option: Any) -> str:
    return " ".join(_code(flag) for flag in (*option.opts, *option.secondary_opts))


def _takes(option: Any) -> str:
    if option.is_flag:
        return ""
    kind = getattr(option.type_descriptor.annotation, "__name__", "TEXT").upper()
    return _code(option.metavar or {"STR": "TEXT", "FLOAT": "NUMBER"}.get(kind, kind))


def _help_and_default(option: Any) -> str:
    """Help and default; the settings' own help names theirs."""
    text = escape(option.help or "", quote=False)
    default = option.default
    is_shown = default not in (None, False, "") and "default:" not in text and not option.is_flag
    return f"{text} (default: {escape(str(default))})" if is_shown else text


def _own_flags(choices: tuple[str, ...]) -> str:
    return " ".join(_code(f"--{choice}") for choice in choices)


def _code(text: str) -> str:
    """Code that may stand in a table: a bar would end the cell."""
    return f"<code>{escape(text).replace('|', '&#124;')}</code>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _anchor(name: str) -> str:
    return name.replace(" ", "-")
