"""Files that notice their own damage: JSON that holds its own sha256, and TOML under a line that does."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from prunekit.runs.paths import TIMING
from prunekit.support import atomic, reading, toml
from prunekit.support.digest import canonical
from prunekit.support.errors import ArtifactError

_LINE = "# sha256 of what follows: "
_AGAIN = "delete its folder and run again"
_RESTORE = "restore it, or run again with another --out"
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

# a file of a round, never one elsewhere
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    size: int
    sha256: str


class _Manifest(BaseModel):
    """What a manifest says: which run, place and cohort it is of, what it follows, and every file's size and sha256."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: str | None
    made_on: str | None
    key: str
    cohort: list[str]
    previous: str | None
    files: dict[_Name, _File]
    sha256: str


def stamped(facts: Mapping[str, Any]) -> bytes:
    """Facts as the bytes of a JSON file, with their own sha256 beside them."""
    plain = {name: value for name, value in facts.items() if name != "sha256"}
    return atomic.as_json(plain | {"sha256": hashlib.sha256(canonical(plain).encode()).hexdigest()})


def read_stamped(path: Path, cure: str = _AGAIN, root: Path | None = None) -> dict[str, Any]:
    """The facts of a stamped file, its sha256 among them.

    Args:
        cure: what the user can do about damage.
        root: the run that it lies in, below which no link is followed.

    Raises:
        ArtifactError: where it is missing, no regular file, or a single byte differs.
    """
    content = _content(path, reading.JSON, cure, root)
    try:
        facts: dict[str, Any] = json.loads(content)
        sound = _is_stamped(content)
    except _BROKEN as error:
        raise ArtifactError(f"{path}: damaged; {cure}") from error
    if not sound:
        raise ArtifactError(f"{path}: damaged, it does not match its own sha256; {cure}")
    return facts


@lru_cache(maxsize=4096)  # whoever reads a run's files asks for the manifest that lists them each time
def _is_stamped(content: bytes) -> bool:
    return stamped(json.loads(content)) == content


def _content(path: Path, most: int, cure: str, root: Path | None) -> bytes:
    try:
        return reading.content(path, most, root)
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: missing; {cure}") from error
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        raise ArtifactError(f"{path}: cannot be read ({reading.reason(error)}); {cure}") from error


def manifest(facts: Mapping[str, Any], content: Mapping[str, bytes]) -> bytes:
    """The bytes of a round's manifest: what is told of the round, and size and sha256 of each file's content."""
    files = {
        name: {"size": len(held), "sha256": hashlib.sha256(held).hexdigest()} for name, held in sorted(content.items())
    }
    return stamped({**facts, "files": files})


def timing(seconds: Mapping[str, float], manifest: bytes) -> bytes:
    """The bytes of a round's times. No manifest holds them, since no two runs share them; so they name theirs."""
    return stamped({**seconds, "manifest": json.loads(manifest)["sha256"]})


def read_timing(folder: Path, manifest: str, root: Path | None = None) -> dict[str, float]:
    """The times of the round in a folder; empty where the file is gone.

    Args:
        manifest: the digest of the round's manifest, which they name.
        root: the run that it lies in, below which no link is followed.

    Raises:
        ArtifactError: where it is damaged, or another round's.
    """
    path, cure = folder / TIMING, "delete it, it is not part of the record"
    if not os.path.lexists(path):
        return {}
    facts = read_stamped(path, cure, root)
    if facts.get("manifest") != manifest:
        raise ArtifactError(f"{path}: belongs to another round; {cure}")
    return {name: value for name, value in facts.items() if name not in ("manifest", "sha256")}


def read_manifest(path: Path, root: Path | None = None) -> dict[str, Any]:
    """The facts of a manifest.

    Raises:
        ArtifactError: where it is missing, damaged or of another form.
    """
    facts = read_stamped(path, root=root)
    try:
        _Manifest.model_validate(facts)
    except ValidationError as error:
        raise ArtifactError(f"{path}: not a manifest of this version of prunekit") from error
    return facts


def read_listed(path: Path, listed: Mapping[str, Any], root: Path | None = None) -> bytes:
    """The bytes of a file whose `size` and `sha256` a manifest holds; no more of it is read than that.

    Raises:
        ArtifactError: where it is missing, or other than that.
    """
    try:
        content = reading.content(path, min(listed["size"], reading.TENSORS), root)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({reading.reason(error)}); {_AGAIN}") from error
    if len(content) != listed["size"] or hashlib.sha256(content).hexdigest() != listed["sha256"]:
        raise ArtifactError(f"{path}: damaged, it does not match its manifest; {_AGAIN}")
    return content


def sealed(table: Mapping[str, Any], of: Mapping[str, str | None] | None = None) -> bytes:
    """A nested table as the bytes of a TOML file, under a comment that holds their sha256.

    Args:
        of: whose settings they are, where not the run's own.
    """
    content = toml.dump({**table, "of": of and dict(of)}).encode()
    return f"{_LINE}{hashlib.sha256(content).hexdigest()}\n".encode() + content


def read_sealed(
    path: Path, of: Mapping[str, str | None] | None = None, root: Path | None = None, *, before: str = ""
) -> dict[str, Any]:
    """The table of a sealed file.

    Args:
        of: whose settings they must be.
        root: the run that it lies in, below which no link is followed.
        before: name of a table inside it; that one and what follows are left out, since TOML takes long to read.

    Raises:
        ArtifactError: where it is missing, no regular file, a single byte differs, or they are not.
    """
    first, _, content = _content(path, reading.TOML, _RESTORE, root).partition(b"\n")
    try:
        if first.decode() == _LINE + hashlib.sha256(content).hexdigest():
            # in a sealed file no text holds a line break of its own, so that such a line is a table's head
            text = content.decode().partition(f"\n[{before}]\n")[0] if before else content.decode()
            table = tomllib.loads(text)
            if table.pop("of", {}) == {name: mark for name, mark in (of or {}).items() if mark is not None}:
                return table
            raise ArtifactError(f"{path}: belongs to another run or stage; {_AGAIN}")
    except _BROKEN as error:
        raise ArtifactError(f"{path}: damaged; {_RESTORE}") from error
    raise ArtifactError(f"{path}: damaged or edited, it does not match its own sha256; {_RESTORE}")
