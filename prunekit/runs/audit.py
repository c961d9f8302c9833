"""What is wrong with a run, all of it: compared with its journal, manifests and checksums. Nothing is changed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from prunekit.runs import checksums
from prunekit.runs.journal import CURE, Journal, Marks
from prunekit.runs.paths import (
    BASELINES,
    DENSE,
    ENVIRONMENT,
    JOURNAL,
    MANIFEST,
    RESULTS,
    SETTINGS,
    TIMING,
    TRACKED,
    UNTRAINED,
    RunKey,
    is_of_run,
)
from prunekit.runs.reader import RunReader
from prunekit.support import atomic, reading
from prunekit.support.errors import ArtifactError

if TYPE_CHECKING:
    import pandas as pd

Value = TypeVar("Value")

_AGAIN = "restore it, or run the same command again"
# files of a round that its manifest does not name, since no two runs share them
_BESIDE = (MANIFEST, TIMING, ENVIRONMENT)


@dataclass(frozen=True)
class Audit:
    """What is wrong with a run, and how much of it was compared.

    Attributes:
        damaged: a line, with its path, for each thing that is there and is not right.
        missing: a line, with its path, for each thing that is not there.
        files: how many files of rounds were compared with their manifests.
        rounds: how many rounds are there.
        unfinished: rounds that a process was putting in place when it ended; running again finishes them.
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


def audited(run: RunReader) -> Audit:
    """Compare all that a run holds with all that it should hold."""
    return _Auditor(run).all()


class _Auditor:
    def __init__(self, run: RunReader) -> None:
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
            self._round(key, compare=marks is not None)
        if marks is not None:
            self._stages()
        if self.journal is not None:
            self._lost_rounds(self.journal)
        self._results()
        pending = {} if self.journal is None else self.journal.pending
        damaged, missing = (tuple(dict.fromkeys(lines)) for lines in (self.damaged, self.missing))
        return Audit(damaged, missing, self.files, len(self.keys), len(pending))

    def _try(self, read: Callable[[], Value]) -> Value | None:
        """What can be read, or None and one more problem."""
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
            marks = None
        else:
            marks = self._try(lambda: self.run.marks)
        written = self._try(self.run.written_journal)
        if written is None:
            if not os.path.lexists(self.root / JOURNAL):
                self.missing.append(
                    f"{self.root / JOURNAL}: no journal, so that what else is missing is not known; run the same "
                    "command again: it is made from the rounds that are there"
                )
            return marks
        self.journal, marks_of_journal = written
        if marks is not None and marks_of_journal != marks:
            self.damaged.append(f"{self.root / JOURNAL}: belongs to {marks_of_journal}, not to {marks}; {CURE}")
            self.journal = None
        return marks or marks_of_journal

    def _marks_of_rounds(self) -> Marks | None:
        """Whose the first sound round is, where nothing else says so."""
        for key in self.keys:
            try:
                manifest = self.run.written_manifest(key)
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
        environment = self._try(lambda: self.run.environment(_AGAIN))
        try:
            run_id = self.run.id
        except ArtifactError:
            return
        if environment is not None and environment.get("run", run_id) != run_id:
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

    def _round(self, key: RunKey, *, compare: bool) -> None:
        """One round's files against its manifest, and that against the journal."""
        folder = self.root / str(key)
        names = {entry.name for entry in os.scandir(folder)}
        links = {entry.name for entry in os.scandir(folder) if entry.is_symlink()}
        self.damaged += [f"{folder / name}: a link; inside a run none is followed" for name in sorted(links)]
        manifest = self._try(lambda: self.run.written_manifest(key))
        if manifest is None:
            return
        if compare:
            self._try(lambda: self.run.manifest(key))
        if self.journal is not None and not self.journal.allows(key, manifest["sha256"]):
            in_journal = key in self.journal.rounds
            what = "another round than the journal lists" if in_journal else "a round that the journal does not list"
            self.damaged.append(f"{folder}: {what}; delete it and run the same command again")
        for name, facts in manifest["files"].items():
            if name in links:
                continue
            self._try(partial(self.run.listed, folder / name, facts))
            self.files += 1
        for name in sorted(names - links - set(manifest["files"]) - set(_BESIDE)):
            self.damaged.append(f"{folder / name}: not of this round, whose manifest does not name it; take it away")
        if TIMING in names - links:
            self._try(lambda: self.run.timing(key))
        if ENVIRONMENT in names - links:
            self._try(lambda: checksums.read_stamped(folder / ENVIRONMENT, _AGAIN, self.root))

    def _stages(self) -> None:
        """The settings of every stage that has rounds; the dense round and base lines have none of their own."""
        in_journal = [] if self.journal is None else [*self.journal.rounds, *self.journal.pending]
        with_rounds = {key.stage.top for key in [*self.keys, *in_journal]}
        for stage in sorted({*with_rounds, *self.run.stages()} - {DENSE, UNTRAINED, BASELINES}):
            if (self.root / stage).is_dir() and not (self.root / stage).is_symlink():  # else it is missing altogether
                self._try(partial(self.run.stage_settings, stage))

    def _lost_rounds(self, journal: Journal) -> None:
        """Rounds that the journal lists and that are not there: one line for each folder that is gone with them."""
        lost = Counter(_highest_missing(self.root, key) for key in set(journal.rounds) - set(self.keys))
        for path, count in sorted(lost.items()):
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
        if not self._is_of_rounds(content, in_journal=written is not None):
            self.damaged.append(
                f"{path}: damaged, or not what the rounds give; delete it and run the same command again"
            )

    def _is_of_rounds(self, content: bytes, *, in_journal: bool) -> bool:
        """Whether a parquet file is what the rounds give, though not what the journal says was written last.

        A process may have ended between the two; it had the very bytes.

        Args:
            in_journal: whether the journal says anything of the table.
        """
        held = _table(content)
        try:
            table = self.run.results()
        except (ArtifactError, OSError, ValueError):  # damaged rounds give none
            return held is not None and not in_journal
        wanted = atomic.as_parquet(table)
        return content == wanted or (not in_journal and held is not None and _same(held, wanted))


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
    import pandas as pd

    try:
        return pd.read_parquet(BytesIO(content))
    except Exception:  # what a parquet reader raises of damaged bytes is of many kinds
        return None


def _same(table: pd.DataFrame, content: bytes) -> bool:
    """Whether a table is the one that a parquet file holds; other versions of its library write other bytes for it."""
    import pandas as pd

    try:
        pd.testing.assert_frame_equal(table, pd.read_parquet(BytesIO(content)))
    except AssertionError:
        return False
    return True
