"""What is wrong with a run, all of it: compared with its journal, its manifests and its seals. Nothing is changed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from prunekit.runs import checksums
from prunekit.runs.journal import CURE, Journal, read_journal
from prunekit.runs.paths import (
    ENVIRONMENT,
    JOURNAL,
    MANIFEST,
    RESULTS,
    SETTINGS,
    STAGE_SETTINGS,
    TIMING,
    TRACKED,
    UNTRAINED,
    RunKey,
    is_of_run,
)
from prunekit.support import atomic, reading
from prunekit.support.errors import ArtifactError

Value = TypeVar("Value")
Marks = Mapping[str, str | None]

_AGAIN = "restore it, or run the same command again"
# files of a round that its manifest does not name, since no two runs share them
_BESIDE = (MANIFEST, TIMING, ENVIRONMENT)


class Kept(Protocol):
    """What is asked of a run."""

    path: Path

    @property
    def marks(self) -> dict[str, str | None]:
        """Whose every file of it is."""

    def assuming(self, marks: Marks) -> Kept:
        """The same, taken to be whose it is not known to be."""

    def manifest(self, key: RunKey) -> dict[str, Any]:
        """Of a round."""

    def timing(self, key: RunKey) -> dict[str, float]:
        """Of a round."""

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """Of a stage."""

    def results(self, keys: Iterable[RunKey] | None = None) -> pd.DataFrame:
        """One row per finished ticket."""


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        damaged: a line for each problem, with the path: what is there and is not right, and what is not there.
        missing: a line for each problem, with the path: what is there and is not right, and what is not there.
        files: of rounds, that were compared with their manifests.
        rounds: that are there.
        unfinished: that a process was putting in place when it ended; running again finishes them.
    """

    damaged: tuple[str, ...]
    missing: tuple[str, ...] = ()
    files: int = 0
    rounds: int = 0
    unfinished: int = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.damaged, *self.missing)


def audited(run: Kept) -> Audit:
    """Compare all that a run holds with all that it should hold."""
    return _Auditor(run).all()


class _Auditor:
    def __init__(self, run: Kept) -> None:
        self.run, self.root = run, run.path
        self.damaged: list[str] = []
        self.missing: list[str] = []
        self.files = 0
        self.keys: list[RunKey] = []
        self.journal: Journal | None = None

    def all(self) -> Audit:
        marks = self._settings_and_journal()
        self._environment()
        self._walk(self.root)
        marks = marks or self._marks_of_rounds()
        if marks is not None:
            self.run = self.run.assuming(marks)
        for key in self.keys:
            self._round(key, known=marks is not None)
        if marks is not None:
            self._stages()
        if self.journal is not None:
            self._lost_rounds(self.journal)
        self._results()
        pending = {} if self.journal is None else self.journal.pending
        damaged, missing = (tuple(dict.fromkeys(lines)) for lines in (self.damaged, self.missing))
        return Audit(damaged, missing, self.files, len(self.keys), len(pending))

    def _try(self, read: Callable[[], Value]) -> Value | None:
        """What can be read, or None and a problem more."""
        try:
            return read()
        except ArtifactError as error:
            self.damaged.append(str(error))
        except (OSError, ValueError) as error:
            self.damaged.append(f"{getattr(error, 'filename', None) or self.root}: {reading.reason(error)}")
        return None

    def _settings_and_journal(self) -> Marks | None:
        """Whose the files of this run must be: as the settings say, or, where they are damaged, the journal."""
        if not os.path.lexists(self.root / SETTINGS):
            self.missing.append(f"{self.root / SETTINGS}: missing; restore it")
            own = None
        else:
            own = self._try(lambda: self.run.marks)
        read = self._try(lambda: read_journal(self.root))
        if read is None:
            if not os.path.lexists(self.root / JOURNAL):
                self.missing.append(
                    f"{self.root / JOURNAL}: no journal, so that what else is missing is not known; run the same "
                    "command again: it is made from the rounds that are there"
                )
            return own
        self.journal, told = read
        if own is not None and told != own:
            self.damaged.append(f"{self.root / JOURNAL}: belongs to {told}, not to {own}; {CURE}")
            self.journal = None
        return own or told

    def _marks_of_rounds(self) -> Marks | None:
        """Whose the first sound round is, where nothing else says so."""
        for key in self.keys:
            try:
                manifest = checksums.read_manifest(self.root / str(key) / MANIFEST, self.root)
            except ArtifactError:
                continue
            return {name: manifest[name] for name in ("run", "made_on")}
        return None

    def _environment(self) -> None:
        """The record of versions and machine, where the run began with one."""
        began = self.journal is not None and self.journal.environment
        if not os.path.lexists(self.root / ENVIRONMENT):
            self.missing += [f"{self.root / ENVIRONMENT}: missing; {_AGAIN}"] if began else []
            return
        facts = self._try(lambda: checksums.read_stamped(self.root / ENVIRONMENT, _AGAIN, self.root))
        try:
            own = self.run.marks["run"]
        except ArtifactError:
            return
        if facts is not None and facts.get("run", own) != own:
            self.damaged.append(f"{self.root / ENVIRONMENT}: belongs to another run; {_AGAIN}")

    def _walk(self, folder: Path) -> None:
        """Find the rounds, and what stands in their way."""
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = Path(entry.path)
            if atomic.is_staged(path) or path == self.root / TRACKED:
                continue
            if folder == self.root and not is_of_run(entry.name) and entry.is_symlink():
                continue
            if entry.is_symlink():
                self.damaged.append(f"{path}: a link, and inside a run none is followed; put there what it leads to")
            elif not entry.is_dir() and entry.name == MANIFEST:
                inside = path.parent.relative_to(self.root)
                self.damaged.append(f"{path}: {inside} is not the place of a round; take it away")
            elif entry.is_dir():
                try:
                    self.keys.append(RunKey.parse(path.relative_to(self.root)))
                except ValueError:
                    self._walk(path)

    def _round(self, key: RunKey, *, known: bool) -> None:
        """One round's files against its manifest, and that against the journal."""
        folder = self.root / str(key)
        names = {entry.name for entry in os.scandir(folder)}
        links = {entry.name for entry in os.scandir(folder) if entry.is_symlink()}
        self.damaged += [f"{folder / name}: a link; inside a run none is followed" for name in sorted(links)]
        manifest = self._try(lambda: checksums.read_manifest(folder / MANIFEST, self.root))
        if manifest is None:
            return
        if known:
            self._try(lambda: self.run.manifest(key))
        if self.journal is not None and not self.journal.allows(key, manifest["sha256"]):
            listed = key in self.journal.rounds
            said = "another round than the journal lists" if listed else "a round that the journal does not list"
            self.damaged.append(f"{folder}: {said}; delete it and run the same command again")
        for name, facts in manifest["files"].items():
            if name in links:
                continue
            self._try(partial(checksums.read_listed, folder / name, facts, self.root))
            self.files += 1
        for name in sorted(names - links - set(manifest["files"]) - set(_BESIDE)):
            self.damaged.append(f"{folder / name}: not of this round, whose manifest does not name it; take it away")
        if TIMING in names - links:
            self._try(lambda: self.run.timing(key))
        if ENVIRONMENT in names - links:
            self._try(lambda: checksums.read_stamped(folder / ENVIRONMENT, _AGAIN, self.root))

    def _stages(self) -> None:
        """The settings of every stage that has rounds; the dense round and the base line have none of their own."""
        listed = [] if self.journal is None else [*self.journal.rounds, *self.journal.pending]
        tops = {key.stage.partition("/")[0] for key in [*self.keys, *listed]} - {"", UNTRAINED}
        alone = {path.parent.name for path in self.root.glob(f"*/{STAGE_SETTINGS}")}
        for stage in sorted(tops | alone):
            if (self.root / stage).is_dir() and not (self.root / stage).is_symlink():  # else it is missing altogether
                self._try(partial(self.run.stage_settings, stage))

    def _lost_rounds(self, journal: Journal) -> None:
        """Rounds that the journal lists and that are not there: one line for each folder that is gone with them."""
        gone = Counter(_highest_missing(self.root, key) for key in set(journal.rounds) - set(self.keys))
        for path, count in sorted(gone.items()):
            if not path.is_symlink():
                rounds = "a round" if count == 1 else f"{count} rounds"
                self.missing.append(f"{path}: missing, with {rounds} that the journal lists; {_AGAIN}")

    def _results(self) -> None:
        """The table at the root: as it was last written, or as the rounds give it."""
        path = self.root / RESULTS
        written = None if self.journal is None else self.journal.results
        if not os.path.lexists(path):
            if written is not None:
                self.missing.append(f"{path}: missing; run the same command again, it is made from the rounds")
            return
        content = self._try(lambda: reading.content(path, reading.TABLE, self.root))
        if content is None or hashlib.sha256(content).hexdigest() == written:
            return
        if not self._is_of_rounds(content, known=written is not None):
            self.damaged.append(
                f"{path}: damaged, or not what the rounds give; delete it and run the same command again"
            )

    def _is_of_rounds(self, content: bytes, *, known: bool) -> bool:
        """Whether a parquet file is what the rounds give, though not what the journal says was written last.

        A process may have ended between the two; it had the very bytes.

        Args:
            known: whether the journal says anything.
        """
        held = _table(content)
        try:
            table = self.run.results()
        except (ArtifactError, OSError, ValueError):  # damaged rounds give none
            return held is not None and not known
        wanted = atomic.as_parquet(table)
        return content == wanted or (not known and held is not None and _same(held, wanted))


def _highest_missing(root: Path, key: RunKey) -> Path:
    """The outermost folder on the way to a place that is not there."""
    path = root
    for part in Path(str(key)).parts:
        path = path / part
        if not path.is_dir():
            break
    return path


def _table(content: bytes) -> pd.DataFrame | None:
    """The table that the bytes of a parquet file hold, None where they are damaged."""
    try:
        return pd.read_parquet(BytesIO(content))
    except Exception:  # what a parquet reader raises of damaged bytes is of many kinds
        return None


def _same(table: pd.DataFrame, content: bytes) -> bool:
    """Whether a table is the one that a parquet file holds; other versions of its library write other bytes for it."""
    try:
        pd.testing.assert_frame_equal(table, pd.read_parquet(BytesIO(content)))
    except AssertionError:
        return False
    return True
