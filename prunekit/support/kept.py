"""What takes seconds to make and may be made anew at any time, kept in the user's cache folder by a key of its content.

The folder is `PRUNEKIT_CACHE`, else `prunekit` in the place for caches; an empty `PRUNEKIT_CACHE` keeps nothing.
A file that is not whole counts as none, and a folder that cannot be written to keeps nothing: nobody is told of either.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from prunekit.support import atomic, reading

FOLDER = "PRUNEKIT_CACHE"
# how its files end, so that nobody else's in that folder is taken for one
_END = ".kept"
# files that are kept, the latest, and bytes of one
_MOST, _LARGEST = 32, 16 * reading.MB


def folder() -> Path | None:
    """Where it is kept; None where nothing is."""
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER]) if os.environ[FOLDER] else None
    if place := os.environ.get("XDG_CACHE_HOME"):
        return Path(place, "prunekit")
    with suppress(RuntimeError):  # nobody's home is known
        return Path.home() / ".cache" / "prunekit"
    return None


def take(key: str) -> bytes | None:
    """What was kept under a key, such as a digest; None where there is nothing whole."""
    place = folder()
    if place is None:
        return None
    try:
        digest, _, content = reading.content(place / f"{key}{_END}", _LARGEST).partition(b"\n")
    except OSError:
        return None
    return content if digest.decode(errors="replace") == _digest(content) else None


def keep(key: str, content: bytes) -> None:
    """Keep a content under a key, where that can be done; the oldest go where there are too many."""
    place = folder()
    if place is None:
        return
    with suppress(OSError):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.replace(place / f"{key}{_END}", _digest(content).encode() + b"\n" + content, follow=False)
        for old in sorted(place.glob(f"*{_END}"), key=lambda path: path.stat().st_mtime)[:-_MOST]:
            old.unlink()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
