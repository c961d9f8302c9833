"""Operations on the disk, made visible: each can be counted, refused, or be the last that a process does."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

#: Called with what is about to happen ("before"), is half done ("half") or has happened ("after"), and to which file.
Hook = Callable[[str, str, Path], None]


# of a temporary name what is drawn anew each time
DRAWN = re.compile(r"(?<=^\.prunekit-staging-)[0-9a-f]+\.\d+\.[0-9a-f]+-")


class Watched:
    """A file whose writes come in two halves, with the hook around and between them."""

    def __init__(self, path: Path, mode: str, hook: Hook, real: Callable) -> None:
        self.path, self.hook = path, hook
        self.file = real(path, mode)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *ended: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> None:
        half = len(content) // 2
        self.hook("before", "write", self.path)
        self.file.write(content[:half])
        self.file.flush()
        self.hook("half", "write", self.path)
        self.file.write(content[half:])
        self.file.flush()
        self.hook("after", "write", self.path)

    def flush(self) -> None:
        self.file.flush()

    def fileno(self) -> int:
        return self.file.fileno()


def install(hook: Hook, put: Callable[[object, str, object], None] = setattr) -> None:
    """Call `hook` around every write, flush, rename and new folder. `put` sets an attribute (monkeypatch.setattr).

    Nothing is really flushed: nobody pulls the plug here.
    """
    opened, renamed, replaced, mkdir = Path.open, Path.rename, Path.replace, os.mkdir

    def watched_open(path: Path, mode: str = "r", *more: object, **options: object) -> object:
        if mode not in ("wb", "xb"):
            return opened(path, mode, *more, **options)
        return Watched(path, mode, hook, opened)

    def moved(real: Callable, name: str) -> Callable:
        def move(path: Path, target: Path) -> Path:
            hook("before", name, target)
            done = real(path, target)
            hook("after", name, target)
            return done

        return move

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").resolve()
        hook("before", "flush", path)
        hook("after", "flush", path)

    def made(path: str | Path, *more: object, **options: object) -> None:
        if Path(path).exists():
            return mkdir(path, *more, **options)  # which is refused anyway
        hook("before", "mkdir", Path(path))
        mkdir(path, *more, **options)
        hook("after", "mkdir", Path(path))
        return None

    put(Path, "open", watched_open)
    put(Path, "rename", moved(renamed, "rename"))
    put(Path, "replace", moved(replaced, "replace"))
    put(os, "fsync", fsync)
    put(os, "mkdir", made)


class Failing:
    """A hook that refuses the `number`-th operation (counted from 1) inside a folder, as a system would."""

    def __init__(self, folder: Path, number: int, code: int) -> None:
        self.folder, self.number, self.code = folder, number, code
        self.count = 0
        self.refused: str | None = None

    def __call__(self, when: str, name: str, path: Path) -> None:
        if when != "before" or self.folder not in path.parents:
            return
        self.count += 1
        if self.count == self.number:
            self.refused = f"{name} {DRAWN.sub('', path.name)}"
            named = () if name in ("write", "flush") else (str(path),)  # the system names no file for those two
            raise OSError(self.code, os.strerror(self.code), *named)


class Ending:
    """A hook that ends the process at a named point (such as "half write log.parquet"), the first or the n-th time."""

    def __init__(self, folder: Path, point: str, number: int) -> None:
        self.folder, self.point, self.left = folder, point, number

    def __call__(self, when: str, name: str, path: Path) -> None:
        if self.folder in path.parents and f"{when} {name} {DRAWN.sub('', path.name)}" == self.point:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), 9)


class Listing:
    """A hook that writes every point down, a line each, at once."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def __call__(self, when: str, name: str, path: Path) -> None:
        if self.folder in path.parents:
            os.write(self.log, f"{when} {name} {DRAWN.sub('', path.name)}\n".encode())
