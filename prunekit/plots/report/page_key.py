"""A digest of all that decides the bytes of a page, so that a page may stand for another made of the same."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import prunekit
from prunekit.runs.reader import RunReader
from prunekit.support import reading
from prunekit.support.digest import identity
from prunekit.support.errors import PrunekitError

# whose numbers, text or drawing stand on a page
_LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "torch", "matplotlib", "seaborn", "scikit-learn", "jinja2")

# of a folder that texts come from
_MOST_FILES = 1000


def page_key(paths: Sequence[Path], tolerance: float) -> str | None:
    """The digest of a page that asks no model; None where a run cannot be read, as whoever makes the page will say.

    It covers every byte of the runs, prunekit's own files and the versions of what computes and draws, and of the files
    from which a page takes texts their names, sizes and times of change.

    Args:
        paths: of run directories, as they were given: the page names them.
        tolerance: as of the page.
    """
    try:
        runs = [_run(path) for path in paths]
    except (PrunekitError, OSError, LookupError, TypeError, ValueError, AttributeError):  # settings may hold anything
        return None
    return identity({"made by": _made_by(), "tolerance": tolerance, "runs": runs}, 64)


def _run(path: Path) -> dict[str, Any]:
    run = RunReader.open(path)
    files = {str(file.relative_to(path)): "" if _is_other(file) else _digest(file) for file in run.paths()}
    task = run.settings()["task"]
    texts = [list(_state(Path(place))) for place in map(str, (task["name"], task.get("data"))) if Path(place).exists()]
    return {"path": str(path), "name": path.resolve().name, "files": files, "texts": texts}


def _is_other(path: Path) -> bool:
    """Whether it is a folder, a link or else no file of a run, of which the name alone counts."""
    return path.is_symlink() or not path.is_file()


def _state(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, bytes and time of change of a file, or of every file in a folder.

    Raises:
        OSError: where the folder holds more than are looked through.
    """
    files = list(islice(path.rglob("*"), _MOST_FILES + 1)) if path.is_dir() else [path]
    if len(files) > _MOST_FILES:
        raise OSError(f"{path}: too many files to tell whether one of them has changed")
    for file in sorted(files):
        if file.is_file():
            facts = file.stat()
            yield str(file), facts.st_size, facts.st_mtime_ns


@cache
def _made_by() -> dict[str, str]:
    """The versions of what computes and draws; prunekit's own is told by its files, which may be changed in place."""
    root = Path(prunekit.__file__).parent
    own = [path for path in sorted(root.rglob("*")) if path.is_file() and path.parent.name != "__pycache__"]
    files = {str(path.relative_to(root)): _digest(path) for path in own}
    versions = {name: installed for name in _LIBRARIES if (installed := _version(name))}
    return versions | {"python": sys.version, "prunekit": identity(files, 64)}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _digest(path: Path) -> str:
    return hashlib.sha256(reading.content(path, reading.TENSORS)).hexdigest()
