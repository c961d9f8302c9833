"""The Python reference: a page of what `import prunekit as pk` gives. Beside it, for who changes the code, the modules.

A page per module is made too; it is reached from the house's plan and from links, and is neither in the navigation nor
found by the search, so that what a user meets there is public.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

import prunekit
from prunekit.plots.catalog import FIGURES
from prunekit.plots.run_plots import SHORT


@dataclass(frozen=True)
class Package:
    """A package in the reference.

    Attributes:
        modules: those that are shown, in this order, without the package's name; empty for all, lottery first.
    """

    name: str
    about: str
    modules: tuple[str, ...] = ()


#: In reading order. What is not here, such as the command line's own modules, is no interface.
PACKAGES = (
    Package("pruning", "the science: rounds, masks' choice, schedules, tickets, scores, controls; no model, no disk"),
    Package("prompts", "a prompt's mask, its parameterisations and its starts"),
    Package("tasks", "a dataset read through a template, and the metrics that judge answers"),
    Package("models", "a frozen model of one of three families, and the trial it passes when it is loaded"),
    Package("engine", "many tickets through one frozen model: training, evaluation, gradient scores, leaving out"),
    Package("runs", "a run's directory", ("run", "reader", "paths", "round_files", "ticket_file", "summary")),
    Package("export", "a ticket in use: on your model, or as files of other tools", ("attach", "peft", "embeddings")),
    Package("experiment", "settings in, run directory out", ("settings", "settings_io", "prepare", "run", "tracking")),
    Package("analysis", "tensors and tables in, long tables out, each measure beside its null"),
    Package("plots", "a table in, a picture out", ("figure", "catalog", "drawing", "style", "lines")),
    Package("support", "random streams, paired statistics", ("seeding", "statistics")),
)

_UNFOUND = """---
search:
  exclude: true
---

"""
_OPENING = """# Modules

What `import prunekit as pk` gives is [the public interface](prunekit.md), and all that users need. The modules here are
for those who [add a part](../house.md) or build on single ones. All of it is made from the docstrings.
Shapes stand in brackets and use [the letters of the glossary](../glossary.md#letters); names of numbers
[carry their unit](../glossary.md#names-of-numbers).

To read the code, begin at [`prunekit.pruning.lottery`](prunekit.pruning.lottery.md), then
[`prunekit.pruning.prune`](prunekit.pruning.prune.md) and [`prunekit.prompts.mask`](prunekit.prompts.mask.md): the
whole algorithm in 300 lines.
"""

_API = """# Python reference

`import prunekit as pk` gives these names. The keyword settings are the flags of the command line with underscores:
[the command line](../command-line.md) says what each does. Shapes stand in brackets and use
[the letters of the glossary](../glossary.md#letters).
"""
_PICTURES = """## Pictures of a run {#pictures}

Each is a line: `run.plot.NAME()` returns matplotlib Axes, and takes `ax` to draw on, and `seed` where it shows one
prompt. `density`, `controls`, `curves` and `token_map` also take `interactive=True` and then give an Altair chart
(`pip install altair`): its points tell what they are, and a click in its legend takes seeds away.

| name | what it shows |
| --- | --- |
"""
_HANDED_OUT = """## What they hand out {#handed-out}
"""
#: Classes of which users get objects without naming them.
OBJECTS = (
    "prunekit.prompts.mask.Mask",
    "prunekit.plots.run_plots.RunPlots",
    "prunekit.runs.overview.RunComparison",
    "prunekit.experiment.method_comparison.Comparison",
    "prunekit.export.attach.Attached",
    "prunekit.export.attach_prefix.AttachedPrefixes",
)


def modules(root: Path) -> dict[str, Path]:
    """Every module of the reference, by dotted name, in reading order; a package by its `__init__.py`."""
    return {name: path for package in PACKAGES for name, path in _module_paths(root, package)}


def _module_paths(root: Path, package: Package) -> Iterator[tuple[str, Path]]:
    folder = root / "prunekit" / package.name
    chosen = [folder / f"{name}.py" for name in package.modules]
    chosen = [path if path.exists() else path.with_suffix("") / "__init__.py" for path in chosen]
    paths = chosen or [path for path in sorted(folder.rglob("*.py")) if not path.name.startswith("_")]
    order = [folder / "lottery.py", folder / "prune.py", folder / "mask.py"]
    for path in sorted(paths, key=lambda path: order.index(path) if path in order else len(order)):
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def public() -> dict[str, str]:
    """The names that `import prunekit as pk` gives -> where each is written: functions, classes, errors."""
    things = {name: getattr(prunekit, name) for name in prunekit.__all__ if not name.startswith("_")}
    order = {name: (name.endswith("Error"), inspect.isclass(thing)) for name, thing in things.items()}
    things = {name: things[name] for name in sorted(things, key=lambda name: order[name])}
    return {
        name: thing.__name__ if inspect.ismodule(thing) else f"{thing.__module__}.{thing.__qualname__}"
        for name, thing in things.items()
    }


def pages(root: Path) -> dict[str, str]:
    """Place on the site -> Markdown: the table of modules, the public interface, and a page for each module."""
    interface = public()
    texts = {"reference/prunekit.md": _interface(interface)}
    parts = [_OPENING]
    for package in PACKAGES:
        about = f"{package.about[0].upper()}{package.about[1:]}."
        rows = [f"## prunekit.{package.name}\n\n{about}\n\n| module | what it is |\n| --- | --- |"]
        for name, path in _module_paths(root, package):
            texts[f"reference/{name}.md"] = _UNFOUND + _page(name, path, {*interface.values(), *OBJECTS})
            rows.append(f"| [`{name}`]({name}.md) | {_about(path)} |")
        parts.append("\n".join(rows))
    return {"reference/index.md": _UNFOUND + "\n\n".join(parts) + "\n", **texts}


def _interface(names: dict[str, str]) -> str:
    short = {name: alias for alias, name in SHORT.items()}
    rows = [f"| `{short.get(figure.name, figure.name)}` | {escape(figure.shows, quote=False)} |" for figure in FIGURES]
    objects = {name.rpartition(".")[2]: name for name in OBJECTS}
    parts = [_API, *_written(names), _PICTURES + "\n".join(rows), _HANDED_OUT, *_written(objects)]
    return "\n\n".join(parts) + "\n"


def _written(names: dict[str, str]) -> Iterator[str]:
    """What mkdocstrings makes of each name, under a heading of the name alone."""
    for name, written in names.items():
        options = ["show_root_heading: true", "show_root_toc_entry: true", f"heading: {name}", f"toc_label: {name}"]
        yield "\n".join([f"::: {written}", "    options:", *(f"      {option}" for option in options)])


def _page(name: str, path: Path, elsewhere: set[str]) -> str:
    """A module's page; what is shown with the public interface is not shown again."""
    defined = [node.name for node in _tree(path).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    values = [] if path.name == "__init__.py" else _documented_values(path)
    members = [member for member in defined if not member.startswith("_") and f"{name}.{member}" not in elsewhere]
    return f"# {name}\n\n::: {name}\n    options:\n      members: {json.dumps([*values, *members])}\n"


def _documented_values(path: Path) -> list[str]:
    """Module-level names with a string below them, which is their docstring."""
    body = _tree(path).body
    return [
        node.targets[0].id
        for node, after in pairwise(body)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    ]  # fmt: skip


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _about(path: Path) -> str:
    """The first sentence of a module's docstring."""
    lines = (ast.get_docstring(_tree(path)) or "").split("\n\n")[0]
    text = escape(" ".join(lines.split()), quote=False)
    return text.translate({ord(sign): f"&#{ord(sign)};" for sign in "|[*"})
