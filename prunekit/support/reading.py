"""The one way in which a file is read: it must be a regular file, and no larger than its kind can be, before a byte is.

A pipe would make the reader wait for ever, a device or a sparse file would fill the memory. Inside a run's folder no
link is followed either, so that nobody's other file is taken for a run's.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

MB = 2**20
#: Bytes that each kind of file may have at most.
TOML, JSON, MANIFEST, TABLE, TENSORS, DATA = MB, 16 * MB, 16 * MB, 1024 * MB, 4096 * MB, 2048 * MB
# the same for the files of a model's folder, which transformers reads
_MODEL_FILES = {".json": 256 * MB, ".txt": 256 * MB, ".model": 256 * MB, ".jinja": MB, ".safetensors": 2**50}
# bytes that the table of a safetensors file may take
_HEADER = 16 * MB

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe, which can be read only once; write it to a file first",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def content(path: Path, max_bytes: int, root: Path | None = None) -> bytes:
    """The bytes of a regular file.

    Args:
        max_bytes: how many it may have.
        root: the run's folder that it lies in, below which no link is followed.

    Raises:
        OSError: whose `strerror` says in words why it was not read; nothing was read then.
    """
    handle = _open(path, root)
    try:
        return _read(handle, _size(handle, path, max_bytes), path)
    finally:
        os.close(handle)


def tensors(path: Path, max_bytes: int = TENSORS) -> bytes:
    """The bytes of a safetensors file whose table of tensors fits its size, so that it can be opened as it is.

    Raises:
        OSError: as `content`, and ValueError where the table claims more than there is; no tensor was read then.
    """
    handle = _open(path, None)
    try:
        size = _size(handle, path, max_bytes)
        first = _read(handle, min(size, 8), path)
        length = _table_length(first, size)
        table = _read(handle, length, path)
        _check_table(table, size)
        return first + table + _read(handle, size - 8 - length, path)
    finally:
        os.close(handle)


def check_tensors(content: bytes) -> None:
    """Refuse the bytes of a safetensors file whose table of tensors does not fit its size.

    Raises:
        ValueError: where it claims more than there is.
    """
    _check_table(content[8 : 8 + _table_length(content[:8], len(content))], len(content))


def check_model(folder: Path) -> None:
    """Refuse a model's folder that holds a pipe, a device or a file too large to be one of a model.

    Raises:
        OSError: naming the file.
    """
    for path in sorted(folder.iterdir()):
        max_bytes = _MODEL_FILES.get(path.suffix)
        if max_bytes is not None and not path.is_dir():
            handle = _open(path, None)
            try:
                _size(handle, path, max_bytes)
            finally:
                os.close(handle)


def metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file's content; empty where it has none.

    Raises:
        ValueError: where the content is no such file.
    """
    table = _json(content[8 : 8 + int.from_bytes(content[:8], "little")])
    entries = table.get("__metadata__", {}) if isinstance(table, dict) else {}
    return entries if isinstance(entries, dict) else {}


def check_no_link(path: Path, root: Path) -> None:
    """Refuse a path that leads through a link on its way from a run's folder, or to one.

    Raises:
        OSError: naming the link.
    """
    step = root
    for name in path.relative_to(root).parts:
        step = step / name
        if step.is_symlink():
            raise OSError(errno.ELOOP, "a link, and inside a run none is followed", str(step))


def reason(error: BaseException) -> str:
    """Why a file could not be read, in one line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def _open(path: Path, root: Path | None) -> int:
    """A handle on a file; from `root` on, each folder is opened in the one before, and none of them may be a link."""
    if root is None:
        return os.open(path, _FLAGS)
    *folders, name = path.relative_to(root).parts
    parent, parent_path = os.open(root, _FLAGS | os.O_DIRECTORY), root
    try:
        for folder in folders:
            parent_path = parent_path / folder
            inner = _open_in(parent, folder, os.O_DIRECTORY, parent_path)
            os.close(parent)
            parent = inner
        return _open_in(parent, name, 0, path)
    finally:
        os.close(parent)


def _open_in(folder: int, name: str, flags: int, path: Path) -> int:
    try:
        return os.open(name, _FLAGS | os.O_NOFOLLOW | flags, dir_fd=folder)
    except OSError as error:
        link = error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink()
        message = "a link, and inside a run none is followed" if link else error.strerror
        raise OSError(error.errno, message, str(path)) from error


def _size(handle: int, path: Path, max_bytes: int) -> int:
    """The size in bytes of a regular file that is not too large."""
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(
            errno.EINVAL, f"not a regular file but {_KINDS.get(stat.S_IFMT(facts.st_mode), 'a thing')}", str(path)
        )
    if facts.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"it holds {facts.st_size:,} bytes, and {max_bytes:,} at most are read", str(path))
    return facts.st_size


def _read(handle: int, size: int, path: Path) -> bytes:
    """Exactly so many bytes."""
    parts, left = [], size
    while left:
        try:
            part = os.read(handle, min(left, 64 * MB))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        if not part:
            raise OSError(errno.EIO, "it became shorter while it was read", str(path))
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("its table of tensors is nested too deeply") from error


def _table_length(first: bytes, size: int) -> int:
    """Bytes of the table of tensors, from the first 8 of a file of so many bytes."""
    length = int.from_bytes(first, "little")
    if len(first) < 8 or not 0 < length <= min(size - 8, _HEADER):
        raise ValueError("no table of tensors at its beginning")
    return length


def _check_table(content: bytes, file_size: int) -> None:
    """Refuse a table whose tensors, empty ones too, do not lie within the file behind it."""
    table, size = _json(content), file_size - 8 - len(content)
    if not isinstance(table, dict):
        raise ValueError("its table of tensors is not a JSON object")
    for name, facts in table.items():
        if name == "__metadata__":
            continue
        try:
            (begin, end), shape = facts["data_offsets"], facts["shape"]
            fits = 0 <= begin <= end <= size and all(0 <= length <= size for length in shape)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its table of tensors does not describe {name[:40]!r}") from error
        if not fits:
            raise ValueError(f"{name[:40]!r} of shape {str(shape)[:60]} does not fit into the file's {size:,} bytes")
