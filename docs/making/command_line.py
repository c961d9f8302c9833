"""The page of the command line, made from the commands themselves: nothing of it is typed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import typer

from prunekit.cli.app import app
from prunekit.plots.__main__ import app as all_figures
from prunekit.plots.catalog import PICTURES

_OPENING = """# The command line

Made from the commands themselves when this page was built; `prunekit VERB --help` prints the same. Flags named under
*Settings* are also the keys of an experiment file (`--experiment FILE`) and, with underscores, the keyword arguments
of `prunekit.prune`, `tune` and `search`. Exit codes: 0 done, 1 the run failed, 2 usage or configuration,
130 after Ctrl-C, 143 after SIGTERM.
"""


def page() -> str:
    """Every verb with its arguments and flags, as Markdown."""
    parts = [_OPENING, "| verb | what it does |\n| --- | --- |"]
    verbs = list(_verbs(typer.main.get_command(app), "prunekit"))
    parts[1] += "".join(f"\n| [`{name}`](#{_anchor(name)}) | {_help(verb)} |" for name, verb in verbs)
    parts += [_verb(name, verb) for name, verb in verbs]
    parts.append("## Figures {#figures}\n\nA figure alone: `python -m figures.NAME RUN... --out FILE`, with `--columns "
                 "1|2`; the table that it shows is written beside it as CSV.\n")  # fmt: skip
    rows = [f"| `{one.name}` | {one.shows} | {_own_flags(one.choices)} |" for one in PICTURES]
    parts.append("\n".join(["| figure | what it shows | flags of its own |", "| --- | --- | --- |", *rows]))
    parts += [_verb(name, verb) for name, verb in _verbs(typer.main.get_command(all_figures), "python -m figures")]
    return "\n\n".join(parts) + "\n"


def _verbs(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its whole name."""
    inner = getattr(command, "commands", None)
    if inner is None or getattr(command, "invoke_without_command", False):
        yield name, command
    for word, one in (inner or {}).items():
        yield from _verbs(one, f"{name} {word}")


def _verb(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    panels: dict[str, list[Any]] = {}
    for one in command.params:
        if one.param_type_name == "option" and not one.hidden and one.name != "help":
            panels.setdefault(one.rich_help_panel or "Flags", []).append(one)
    words = [_name(one) + ("..." if one.nargs == -1 and "..." not in _name(one) else "") for one in arguments]
    usage = " ".join([name, *words, *(["[flags]"] if panels else [])])
    parts = [f"## {name} {{#{_anchor(name)}}}", _help(command), f"`{usage}`"]
    if any(one.help for one in arguments):
        rows = [[_code(_name(one)), escape(one.help or "")] for one in arguments]
        parts.append(_table(["argument", "what it is"], rows))
    for title, options in panels.items():
        rows = [[_flags(one), _takes(one), _told(one)] for one in options]
        parts += [f"**{title}**", _table(["flag", "takes", "what it does"], rows)]
    return "\n\n".join(parts)


def _help(command: Any) -> str:
    return escape(" ".join((command.help or "").split()), quote=False)


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _flags(option: Any) -> str:
    return " ".join(_code(one) for one in (*option.opts, *option.secondary_opts))


def _takes(option: Any) -> str:
    if option.is_flag:
        return ""
    kind = getattr(option.type_descriptor.annotation, "__name__", "TEXT").upper()
    return _code(option.metavar or {"STR": "TEXT", "FLOAT": "NUMBER"}.get(kind, kind))


def _told(option: Any) -> str:
    """Help and default; the settings' own help names theirs."""
    text = escape(option.help or "", quote=False)
    default = option.default
    shown = default not in (None, False, "") and "default:" not in text and not option.is_flag
    return f"{text} (default: {escape(str(default))})" if shown else text


def _own_flags(choices: tuple[str, ...]) -> str:
    return " ".join(_code(f"--{one}") for one in choices)


def _code(text: str) -> str:
    """Code that may stand in a table: a bar would end the cell."""
    return f"<code>{escape(text).replace('|', '&#124;')}</code>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(one)} |" for one in lines)


def _anchor(name: str) -> str:
    return name.replace("python -m ", "").replace(" ", "-")
