"""Files that a verb writes where the user says: what stands there is only replaced where prunekit wrote it.

A run's own files, and the files that a verb reads, are never written over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from prunekit.runs import checksums
from prunekit.runs.paths import SETTINGS, is_of_run
from prunekit.support import atomic, reading
from prunekit.support.errors import ConfigError, PrunekitError

_SIGN = "<!-- written by prunekit; sha256 of what stands above: "
_SIGNED = _SIGN.encode()

#: What a page of prunekit holds in its head.
GENERATOR = b'<meta name="generator" content="prunekit">'


def check(
    path: Path, *, overwrite: bool, is_ours: Callable[[bytes], bool] = lambda content: False, reads: Iterable[Path] = ()
) -> None:
    """Refuse to write a file that may not be replaced. What is no regular file, such as /dev/stdout, is written to.

    Args:
        overwrite: whether the user said so.
        is_ours: whether a content is what the verb itself writes.
        reads: files that are read, under whichever name.

    Raises:
        ConfigError: in one line.
    """
    atomic.remove_dead_staged(path)
    for source in reads:
        if path.exists() and source.exists() and path.samefile(source):
            raise ConfigError(f"--out {path}: is the file that is read; name another")
    _check_not_of_run(path)
    if path.is_dir():
        raise ConfigError(f"--out {path}: a folder; name a file")
    if not path.is_file() or not path.stat().st_size or overwrite:
        return
    if (content := _content(path)) and is_ours(content):
        return
    raise ConfigError(
        f"--out {path}: is there already and holds something else than is written now; name another file, or say "
        "--overwrite"
    )


def check_folder(folder: Path, files: Mapping[str, bytes], *, overwrite: bool, is_ours: Callable[[Path], bool]) -> None:
    """Refuse to write files into a folder where one of that name may not be replaced.

    Args:
        is_ours: whether a file that is there is what the verb itself wrote.

    Raises:
        ConfigError: in one line.
    """
    for name, content in files.items():
        path = folder / name
        atomic.remove_dead_staged(path)
        _check_not_of_run(path)
        if path.is_dir():
            raise ConfigError(f"--out {folder}: {name} is a folder there; name another folder")
        if not path.exists() or overwrite or _content(path) == content or is_ours(path):
            continue
        raise ConfigError(
            f"--out {folder}: {name} is there already, and prunekit did not write it, or it was changed since; "
            "name another folder, or say --overwrite"
        )


def is_page(content: bytes) -> bool:
    """Whether it is a page that `report` wrote."""
    return GENERATOR in content[:4096]


def signed(text: bytes) -> bytes:
    """Markdown with a last line, which is not shown, by which `is_signed` knows that nobody changed it."""
    return text + _SIGNED + hashlib.sha256(text).hexdigest().encode() + b" -->\n"


def is_signed(content: bytes) -> bool:
    """Whether it is what `signed` made, unchanged."""
    text, mark, _ = content.rpartition(_SIGNED)
    return bool(mark) and signed(text) == content


def is_exported(path: Path, side: str) -> bool:
    """Whether a file is one that `export` wrote: the side file names it, or it is signed.

    Args:
        side: the name of the side file.
    """
    content = _content(path)
    try:
        facts = checksums.read_stamped(path.parent / side)
    except PrunekitError:
        return is_signed(content)
    digests = (facts.get("tensors_sha256"), facts.get("config_sha256"))
    return path.name == side or hashlib.sha256(content).hexdigest() in digests or is_signed(content)


def _check_not_of_run(path: Path) -> None:
    real = path.resolve()
    for folder in real.parents:
        if (folder / SETTINGS).is_file() and is_of_run(real.relative_to(folder).parts[0]):
            raise ConfigError(f"--out {path}: lies among the files of the run {folder}; name another place")


def _content(path: Path) -> bytes:
    """What stands there; nothing where it is too large for anything that prunekit would know again."""
    try:
        return reading.content(path, reading.TABLE)
    except OSError:
        return b""
