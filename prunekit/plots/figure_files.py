"""A figure as files: the picture, and its table beside it as CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prunekit.plots import style
from prunekit.runs import outputs
from prunekit.support import atomic, reading
from prunekit.support.errors import ConfigError

#: The suffix of a page to hover over.
INTERACTIVE = "html"
_SUFFIXES = (*style.SUFFIXES, INTERACTIVE)


def check_format(suffix: str) -> None:
    """Refuse a format that no figure has.

    Raises:
        ConfigError: naming those that there are.
    """
    if suffix not in _SUFFIXES:
        raise ConfigError(f"--suffix {suffix}: use one of {', '.join(_SUFFIXES)}")


def write(path: Path, content: bytes, table: pd.DataFrame, *, overwrite: bool = False) -> None:
    """A figure, and its table beside it as CSV: whole files, or the old ones.

    Args:
        path: of the picture.
        content: its bytes.
        table: what it shows.
        overwrite: also files that are no figure of prunekit.

    Raises:
        ConfigError: as `check_replaceable`.
    """
    check_replaceable(path, table, overwrite=overwrite)
    atomic.replace(path, content)
    atomic.replace(path.with_suffix(".csv"), _csv(table))


def check_replaceable(path: Path, table: pd.DataFrame, *, overwrite: bool) -> None:
    """Refuse to write over what is no earlier figure: a picture, in any format, with its table beside it.

    Raises:
        ConfigError: in one line.
    """
    beside = path.with_suffix(".csv")
    columns = _csv(table.iloc[:0]).strip()

    def is_ours(_: bytes) -> bool:
        try:
            before = reading.content(beside, reading.TABLE).partition(b"\n")[0]
        except OSError:
            return False
        has_picture = any(path.with_suffix(f".{suffix}").exists() for suffix in _SUFFIXES)
        # a page tells more than a picture, in columns behind the others
        return has_picture and (before.startswith(columns) or (columns.startswith(before) and bool(before)))

    for target in (path, beside):
        outputs.check(target, overwrite=overwrite, is_ours=is_ours)


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()
