"""Runs that a notebook opens by default, as one small archive beside it."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Sequence
from pathlib import Path

_LEFT_OUT = (".lock", ".holder")


def packed(folder: Path, names: Sequence[str]) -> bytes:
    """An archive without times and owners; like files lie side by side, which packs best.

    Args:
        folder: holds a folder for each name, in it one run, which the archive has under that name.
        names: of the runs.
    """
    files = [
        (f"{name}/{file.relative_to(run).as_posix()}", file)
        for name in names
        for run in (folder / name).iterdir()
        for file in run.rglob("*")
        if file.is_file() and file.name not in _LEFT_OUT
    ]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, file in sorted(files, key=lambda pair: (pair[1].name, pair[0])):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = file.stat().st_size, 0o644
            archive.addfile(entry, io.BytesIO(file.read_bytes()))
    return lzma.compress(content.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def unpack(path: Path, folder: Path) -> None:
    """Lay the runs of such an archive into a folder, a folder for each name."""
    with tarfile.open(path) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
        archive.extractall(folder)
