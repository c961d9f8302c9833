"""The Python reference: a page per module or sub-package, and a table of them all; mkdocstrings fills the pages."""

from __future__ import annotations

import ast
import json
from html import escape
from pathlib import Path
from typing import Any

PACKAGES = {
    "prunekit": "training, scoring, pruning; runs on disk; the command line",
    "analyses": "tensors and tables in, long tables out",
    "figures": "a table in, a picture out",
}

_OPENING = """# Python reference

Made from the docstrings. Shapes stand in brackets and use [the letters of the glossary](../glossary.md#letters); names
of numbers [carry their unit](../glossary.md#names-of-numbers). What `import prunekit as pk` gives is
[`prunekit.experiment.api`](prunekit.experiment.api.md), and all that most users need. A reader of the code starts at
[`prunekit.pruning.lottery`](prunekit.pruning.lottery.md), then
[`prunekit.pruning.prune`](prunekit.pruning.prune.md) and
[`prunekit.prompts.mask`](prunekit.prompts.mask.md): the whole of the science.
"""


def modules(root: Path) -> dict[str, Path]:
    """Every public module of the three packages, by dotted name; a package by its `__init__.py`."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if "notebooks" not in parts:  # scripts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def pages(root: Path) -> dict[str, str]:
    """Place on the site -> Markdown: the table of modules, and a page for each one of the first level."""
    found = modules(root)
    parts = [_OPENING]
    made = {}
    for package, about in PACKAGES.items():
        parts.append(f"## {package}\n\n{about[0].upper()}{about[1:]}.\n\n| module | what it is |\n| --- | --- |")
        for name in _first_level(found, package):
            inner = {one: found[one] for one in found if one == name or one.startswith(f"{name}.")}
            made[f"reference/{name}.md"] = _page({name: found[name]} if name == package else inner)
            parts[-1] += f"\n| [`{name}`]({name}.md) | {_about(found[name])} |"
    return {"reference/index.md": "\n\n".join(parts) + "\n", **made}


def navigation(root: Path) -> list[Any]:
    """The reference's part of the navigation."""
    found = modules(root)
    sections = [{package: [{_short(name): f"reference/{name}.md"} for name in _first_level(found, package)]}
                for package in PACKAGES]  # fmt: skip
    return ["reference/index.md", *sections]


def _first_level(found: dict[str, Path], package: str) -> list[str]:
    return [name for name in found if name == package or (name.startswith(f"{package}.") and name.count(".") == 1)]


def _short(name: str) -> str:
    return name.partition(".")[2] or name


def _page(inner: dict[str, Path]) -> str:
    """A module, and the modules inside it."""
    title = next(iter(inner))
    parts = [f"# {title}"]
    for name, path in inner.items():
        if len(inner) > 1:
            parts.append(f"## {name} {{#{name}--module}}")
        options = [f"heading_level: {2 + (len(inner) > 1)}"]
        if path.name == "__init__.py":  # what it hands on has its place in the module where it is written
            own = [one.name for one in _tree(path).body if isinstance(one, ast.ClassDef | ast.FunctionDef)]
            options.append(f"members: {json.dumps([name for name in own if not name.startswith('_')])}")
        parts.append("\n".join([f"::: {name}", "    options:", *(f"      {one}" for one in options)]))
    return "\n\n".join(parts) + "\n"


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _about(path: Path) -> str:
    """The first sentence of a module's docstring."""
    lines = (ast.get_docstring(_tree(path)) or "").split("\n\n")[0]
    text = escape(" ".join(lines.split()), quote=False)
    return text.translate({ord(sign): f"&#{ord(sign)};" for sign in "|[*"})
