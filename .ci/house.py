"""What the house looks like, in numbers, and the limits that `.ci/check` holds: rooms, arrows, functions, names.

    python .ci/house.py

Which package may import which is checked by import-linter (contracts in pyproject.toml). Here stand the counts.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
FOLDERS = ("prunekit", "analyses", "figures", "benchmarks", "docs", ".ci")

#: Names that say nothing of what they hold.
EMPTY_NAMES = frozenset(
    "one found made asked told known shown said mine own some there given rest done".split()  # noqa: SIM905
)
MOST_PACKAGES = 12
MOST_ARROWS = 100
MOST_MEDIAN = 7
MOST_P95 = 25
MOST_EMPTY = 0.005
LONG_FILE = 500


def main() -> int:
    """Print the counts; 1 where a limit is passed."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}
    package = {path: tree for path, tree in trees.items() if path.is_relative_to(ROOT / "prunekit")}
    rooms, arrows, imports = arrows_between_packages()
    lengths = sorted(length for tree in package.values() for length in function_lengths(tree))
    names = Counter(name for tree in trees.values() for name in bindings(tree))
    empty = Counter({name: count for name, count in names.items() if name.strip("_") in EMPTY_NAMES})
    share = empty.total() / names.total()
    p95 = lengths[int(0.95 * len(lengths))]
    print(f"packages {rooms} (at most {MOST_PACKAGES})")
    print(f"arrows between packages {arrows} (at most {MOST_ARROWS}), by {imports} imports of modules")
    median = statistics.median(lengths)
    print(f"functions: median {median:g} lines (at most {MOST_MEDIAN}), p95 {p95} (at most {MOST_P95})")
    print(f"names that say nothing: {empty.total()} of {names.total()} bindings, {share:.2%} (under {MOST_EMPTY:.1%})")
    if "--names" in sys.argv:
        show_empty_names(trees)
    for path in trees:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONG_FILE:
            print(f"warning: {path.relative_to(ROOT)} has {lines} lines; is it one class, method or verb?")
    passed = (
        rooms <= MOST_PACKAGES
        and arrows <= MOST_ARROWS
        and median <= MOST_MEDIAN
        and p95 <= MOST_P95
        and share < MOST_EMPTY
    )
    return 0 if passed else 1


def sources() -> list[Path]:
    """Every Python file but the tests'."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def arrows_between_packages() -> tuple[int, int, int]:
    """Packages of prunekit; pairs of them of which the first imports from the second; the imports behind the pairs."""
    graph = grimp.build_graph("prunekit", cache_dir=None)
    packages = {name for name in graph.find_children("prunekit") if not name.endswith("__main__")}
    pairs: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = tuple(".".join(name.split(".")[:2]) for name in (module, imported))
            if set(pair) <= packages and pair[0] != pair[1]:
                pairs[pair[0], pair[1]] += 1
    return len(packages), len(pairs), pairs.total()


def function_lengths(tree: ast.Module) -> Iterator[int]:
    """Lines of each function, its docstring among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def bindings(tree: ast.Module) -> Iterator[str]:
    """Every name that is given to something: variables, arguments, fields, imports under another name."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.arg(arg=name):
                yield name
            case ast.alias(asname=str(name)):
                yield name
            case ast.ExceptHandler(name=str(name)):
                yield name


def show_empty_names(trees: dict[Path, ast.Module]) -> None:
    """Where they stand, most first."""
    counts = {
        path: Counter(name for name in bindings(tree) if name.strip("_") in EMPTY_NAMES) for path, tree in trees.items()
    }
    for path, names in sorted(counts.items(), key=lambda item: -item[1].total()):
        if names:
            print(f"  {path.relative_to(ROOT)}: " + ", ".join(f"{name} {count}" for name, count in names.most_common()))


if __name__ == "__main__":
    sys.exit(main())
