"""Writes that a crash cannot tear: staged under a temporary name, flushed, renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# names that begin so are not finished; whoever holds the run's lock may sweep them away
STAGING = ".staging-"


def as_json(facts: Mapping[str, Any]) -> bytes:
    """Facts as the bytes of a JSON file: sorted, indented, no NaN."""
    return (json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def as_parquet(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a parquet file, the same for the same content."""
    content: bytes = table.to_parquet(index=False)
    return content


@contextmanager
def needing(path: Path, size: int) -> Iterator[None]:
    """Give what fails inside the name of `path` and the bytes that were to be written there.

    A full disk is reported by the system with neither. Raises: OSError of the same kind.
    """
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}, {size:,} bytes were to be written"
        raise OSError(error.errno, reason, str(path)) from error


def replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, whole.

    A link stays, what it leads to is replaced; a device or pipe is written to.
    """
    with needing(path, len(content)):
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = path.resolve() if path.is_symlink() else path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"{STAGING}{target.name}"
        try:
            write(temporary, content)
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):  # what went wrong is told, not that this did too
                temporary.unlink(missing_ok=True)
            raise
        flush(target.parent)


def move(staged: Path, target: Path) -> None:
    """Rename a staged directory into place; one that stands there already makes room and goes last."""
    if target.exists():
        old = target.parent / f"{STAGING}old-{target.name}"
        target.rename(old)
        try:
            staged.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old)
    else:
        staged.rename(target)
    flush(target.parent)


def write(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush(folder: Path) -> None:
    """Make renames inside a folder last through a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
