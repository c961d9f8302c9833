"""Docstrings as Markdown: the house's plain lines ("values: [P, H] starting values.") become lists.

A docstring of this house says of each parameter or field "name: what it is", two spaces apart or on lines of their own.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_WORDS = "Raises|Returns|Args|Attributes|Columns|Yields"
# "Raises: what, where", and "Args:" above an indented list
_SAID = re.compile(rf"^({_WORDS}):(?= \S)", re.MULTILINE)
_TITLED = re.compile(rf"^({_WORDS}):[ ]*\n((?:[ ]+[^\n]*(?:\n|$))+)", re.MULTILINE)
_DESCRIPTION = re.compile(r"""description=\s*(?P<text>(?:\s*f?(?:"[^"]*"|'[^']*'))+)""")


class Tidied(griffe.Extension):
    """Rewrites every docstring of a package once it is read, and takes settings' descriptions for theirs."""

    def on_package(self, *, pkg: griffe.Module, **more: Any) -> None:
        """All objects of the package."""
        _visit(pkg)


def _visit(thing: Any) -> None:
    if thing.is_alias:
        return
    if thing.docstring is not None:
        thing.docstring.value = tidied(thing.docstring.value, _names(thing))
    elif thing.is_attribute and (found := _DESCRIPTION.search(str(thing.value or ""))):
        text = "".join(part[1:-1] for part in re.findall(r'"[^"]*"|\'[^\']*\'', found["text"]))
        thing.docstring = griffe.Docstring(tidied(text, ()), parent=thing)
    for inner in getattr(thing, "members", {}).values():
        _visit(inner)


def _names(thing: Any) -> tuple[str, ...]:
    """What a docstring may explain by name: parameters, and the fields of a class."""
    if thing.is_function:
        return tuple(one.name for one in thing.parameters)
    if thing.is_class:
        init = thing.members.get("__init__")
        own = tuple(one.name for one in init.parameters) if init is not None and init.is_function else ()
        return (*own, *(name for name, inner in thing.members.items() if not inner.is_alias and inner.is_attribute))
    return ()


def tidied(text: str, names: tuple[str, ...]) -> str:
    """The Markdown of a docstring.

    names: those that it may explain, each of which starts an item of a list.
    """
    return "\n\n".join(_block(block, names) for block in re.split(r"\n\s*\n", text.strip("\n")))


def _block(block: str, names: tuple[str, ...]) -> str:
    lines = block.splitlines()
    if all(line.startswith("    ") for line in lines):
        return block  # a formula or an example: Markdown's own sign for code
    block = _SAID.sub(r"\n\n**\1:**", _safe(block))
    block = _TITLED.sub(lambda found: f"\n\n**{found[1]}:**\n\n{_items(found[2])}\n\n", block)
    return "\n\n".join(_listed(part, names) for part in re.split(r"\n\n+", block.strip("\n")))


def _items(text: str) -> str:
    """The lines of an indented block as a list; deeper ones go on with the item before."""
    lines = [line for line in text.splitlines() if line.strip()]
    least = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    return "\n".join(f"- {line[least:]}" if line[least : least + 1] != " " else f"  {line.strip()}" for line in lines)


def _listed(block: str, names: tuple[str, ...]) -> str:
    """Each "name: ..." at the start of a line, or behind two spaces, as an item of a list."""
    if not names:
        return block
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    start = re.compile(rf"(?:(?<=\n)[ ]*|^[ ]*|[ ]{{2,}})(?P<names>(?:{known})(?:, (?:{known}))*)(?= \(|:)")
    found = list(start.finditer(block))
    if not found:
        return block
    parts = [block[: found[0].start()].rstrip()]
    ends = [one.start() for one in found[1:]] + [len(block)]
    for one, end in zip(found, ends, strict=True):
        words = ", ".join(f"`{name}`" for name in one["names"].split(", "))
        parts.append(f"- {words}{' '.join(block[one.end() : end].split())}")
    return parts[0] + "\n\n" + "\n".join(parts[1:])


def _safe(text: str) -> str:
    """Shapes such as [S, P][H] are no links, <pad> is no element, a lone star is no emphasis; code stays as it is."""
    pieces = re.split(r"(`[^`]*`)", text)
    for sign, safe in ((r"\](?=[\[(])", r"\\]"), (r"<(?=[A-Za-z/])", "&lt;"), (r"\*(?=\S)", r"\\*")):
        pieces[::2] = [re.sub(sign, safe, piece) for piece in pieces[::2]]
    return "".join(pieces)
