"""DESIGN section 2 and the size limits, checked on the source itself."""

import ast
import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from roots import ROOT

PACKAGES = ("prunekit", "analyses", "figures")

# A module imports from its own level or a lower one; the longest matching prefix counts. A new module needs a line.
LEVELS = {
    0: ("prunekit", "errors toml randomness disk reading places config masks schedule"),
    0.5: ("prunekit", "inits tasks testbed"),
    1: ("prunekit", "pruning prompts models tickets order"),
    2: ("prunekit", "cohort capacity evaluation distributed optimizer training importance ablation"),
    3: ("prunekit", "lottery search arms"),
    4: ("prunekit", "seals journal audit runs stored teamrun records"),
    5: (
        "prunekit",
        "environments sameness flags outputs starts machine subspace methods prepare probing learning experiment rates "
        "summary export attached tracking",
    ),
    8: ("prunekit", "test sweep"),
    9: (
        "prunekit",
        "console inspection comparison method_comparison foresight verbs scoring commands cli __main__ "
        "sweeping livetable exchange showing api "
        "testbed.table",
    ),
}
LEVEL = {f"{package}.{name}": level for level, (package, names) in LEVELS.items() for name in names.split()}
LEVEL |= {"prunekit": -1, "analyses": 6, "figures": 7, "analyses.notebooks": 10, "analyses.studies": 10}

# Rooms that may import less than their level allows: prefix -> the only prefixes of ours that they import.
ONLY = {
    "prunekit.tasks": (
        "prunekit.support.errors",
        "prunekit.support.reading",
        "prunekit.support.toml",
        "prunekit.tasks",
        "prunekit.tasks.testbed",
    ),
    "prunekit.prompts.init": ("prunekit.support.errors",),
    "prunekit.prompts": ("prunekit.support.errors", "prunekit.prompts.mask", "prunekit.prompts"),
    "prunekit.models": (
        "prunekit.support.errors",
        "prunekit.support.reading",
        "prunekit.prompts",
        "prunekit.tasks",
        "prunekit.models",
    ),
    "prunekit.experiment.settings": (),
    "prunekit.support.atomic": (),
    "prunekit.support.reading": (),
    "prunekit.support.seeding": (),
    "prunekit.support.errors": (),
}

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}
everyone = pytest.mark.parametrize("name", sorted(MODULES))


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports(name: str, top_only: bool = False) -> set[str]:
    """Our modules that a module imports, at its top or inside functions."""
    nodes = tree_of(name).body if top_only else list(ast.walk(tree_of(name)))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno} write imports in full"
            if node.module.split(".")[0] in PACKAGES:
                each = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {one if one in MODULES else node.module for one in each}
    return found - {name}


def under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def level(name: str) -> float:
    rooms = [prefix for prefix in LEVEL if under(name, prefix)]
    room = max(rooms, key=len)
    assert room != "prunekit" or name == "prunekit", f"{name} has no level yet; give it one in this file and in DESIGN"
    return LEVEL[room]


def test_the_source_was_found():
    assert {"prunekit.pruning.lottery", "prunekit.models.base", "analyses", "figures"} <= set(MODULES)


@everyone
def test_imports_go_only_upwards_in_the_table(name):
    for other in imports(name):
        assert level(other) <= level(name), f"{name} (level {level(name)}) imports {other} (level {level(other)})"


@everyone
def test_rooms_with_few_friends_import_no_others(name):
    for room, friends in ONLY.items():
        if under(name, room):
            strangers = {other for other in imports(name) if not any(under(other, friend) for friend in friends)}
            assert not strangers, f"{name} may import {friends or 'none of ours'}, not {strangers}"


@everyone
def test_tasks_read_no_more_of_the_testbed_than_its_grammar(name):
    if under(name, "prunekit.tasks"):
        assert {other for other in imports(name) if under(other, "prunekit.tasks.testbed")} <= {
            "prunekit.tasks.testbed.grammar"
        }


def test_there_is_no_cycle():
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a cycle: {' -> '.join((*trail, name))}"
        if name not in done:
            for other in sorted(imports(name)):
                visit(other, (*trail, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@everyone
def test_a_file_fits_on_a_few_screens(name):
    lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= 500, f"{MODULES[name]} has {lines} lines"


def functions(name: str):
    return [node for node in ast.walk(tree_of(name)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@everyone
def test_a_function_fits_on_one_screen(name):
    for node in functions(name):
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        assert lines <= 50, f"{name}.{node.name}: {lines} lines without its docstring"


def public(tree: ast.Module | ast.ClassDef, prefix: str):
    """Public classes, functions and methods, with their names."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield f"{prefix}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}.{node.name}")


@everyone
def test_what_is_public_is_documented(name):
    assert ast.get_docstring(tree_of(name)), f"{name} has no docstring"
    for place, node in public(tree_of(name), name):
        assert ast.get_docstring(node), f"{place} has no docstring"


@everyone
def test_every_function_is_annotated(name):
    tree = tree_of(name)
    methods = {
        item for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
        for item in node.body if isinstance(item, ast.FunctionDef)
        and not any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in item.decorator_list)
    }  # fmt: skip
    for node in functions(name):
        spec = node.args
        given = [*spec.posonlyargs, *spec.args][1 if node in methods else 0 :]
        given += [*spec.kwonlyargs, *filter(None, (spec.vararg, spec.kwarg))]
        bare = [one.arg for one in given if one.annotation is None]
        assert not bare, f"{name}.{node.name}: {bare} without annotation"
        assert node.returns is not None, f"{name}.{node.name} says not what it returns"


FORBIDDEN = {("torch", "load"), ("torch", "save"), ("yaml", "load"), ("pickle", "load"), ("pickle", "loads")}


@everyone
def test_nothing_unpickles(name):
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            roots = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots = {node.module.split(".")[0]}
        else:
            roots = set()
        assert not roots & {"pickle", "cPickle", "dill", "joblib", "shelve"}, f"{name}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in FORBIDDEN, f"{name}:{node.lineno}"


@everyone
def test_analyses_know_no_transformers_and_figures_no_torch(name):
    roots = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(node.module.split(".")[0])
    if under(name, "analyses"):
        assert not roots & {"transformers", "matplotlib", "seaborn"}
    if under(name, "figures"):
        assert not roots & {"transformers", "torch", "scipy"}


HEAVY = ("torch", "transformers", "pandas", "datasets", "sklearn", "matplotlib")


@pytest.mark.parametrize(
    "module",
    ["prunekit", "prunekit.cli.main", "prunekit.experiment.settings", "prunekit.tasks", "prunekit.support.errors"],
)
def test_importing_it_is_light(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not written yet")
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert told.stdout.strip() == "[]"
