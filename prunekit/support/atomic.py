"""Writes that a crash cannot tear: staged under a temporary name of their own, flushed, renamed."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# names that begin so are not finished; whoever holds the run's lock may sweep them away
STAGING = ".prunekit-staging-"


def as_json(facts: Mapping[str, Any]) -> bytes:
    """Facts as the bytes of a JSON file: keys sorted, indented, no NaN."""
    return (json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def as_parquet(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a parquet file, the same for the same content."""
    content: bytes = table.to_parquet(index=False)
    return content


@contextmanager
def naming_path(path: Path, size: int) -> Iterator[None]:
    """Add the path and the size of what was to be written to an error raised inside.

    The system's own "no space left on device" names neither.

    Args:
        path: the file or folder that is written.
        size: bytes that were to be written there.

    Raises:
        OSError: of the same kind, with that text.
    """
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}, {size:,} bytes were to be written"
        raise OSError(error.errno, reason, str(path)) from error


def staged(target: Path) -> Path:
    """A temporary name beside a target that no other writer has, alive or dead."""
    return target.parent / f"{STAGING}{_host()}.{os.getpid()}.{secrets.token_hex(8)}-{_end(target)}"


def _host() -> str:
    """A short digest of this machine's name: process numbers count only on the machine that gave them."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _end(target: Path) -> str:
    """The end of a file's name, since a name behind the prefix could exceed what a file system allows."""
    return target.name[-40:]


def is_staged(path: Path) -> bool:
    """Whether a name is one that `staged` gives."""
    return path.name.startswith(STAGING)


def remove_staged(folder: Path) -> None:
    """Delete what dead processes left half-written anywhere in a folder; no link is followed."""
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            if not is_staged(path):
                continue
            if path.is_dir() and not path.is_symlink():
                folders.remove(name)
                shutil.rmtree(path)
            else:
                path.unlink()


def remove_dead_staged(target: Path) -> None:
    """Delete what dead processes of this machine left half-written beside a file."""
    name = re.compile(re.escape(STAGING + _host()) + r"\.(\d+)\.[0-9a-f]+-" + re.escape(_end(target)))
    for path in list(target.parent.iterdir()) if target.parent.is_dir() else []:
        if (match := name.fullmatch(path.name)) and not _is_alive(int(match[1])):
            with suppress(OSError):  # it is in nobody's way
                path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def replace(path: Path, content: bytes, *, follow: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new one, whole.

    A link stays, what it leads to is replaced; a device or pipe is written to. With follow=False whatever stands there
    makes room, and what a link leads to is not touched.
    """
    with naming_path(path, len(content)):
        if follow and path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = path.resolve() if follow and path.is_symlink() else path
        make_folder(target.parent)
        temporary = staged(target)
        try:
            write(temporary, content)
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):  # the first error is the one to report
                temporary.unlink(missing_ok=True)
            raise
        flush(target.parent)


def move(temporary: Path, target: Path) -> None:
    """Rename a staged directory into place; one that stands there already makes room and goes last."""
    if target.exists():
        old = staged(target)
        target.rename(old)
        try:
            temporary.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old)
    else:
        temporary.rename(target)
    flush(target.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, each flushed so that it survives a power loss."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for inner in reversed(missing):
        inner.mkdir(exist_ok=True)  # another process may have been quicker
        flush(inner.parent)


def write(path: Path, content: bytes) -> None:
    """Write a new file and flush it to the disk.

    Raises:
        OSError: also where the file exists already.
    """
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush(folder: Path) -> None:
    """Flush the names inside a folder to the disk, so that they survive a power loss."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
