"""Runs on disk, as they are written: staged rounds, manifests, resume. The directory is the state machine.

A round's files are written under a temporary name, flushed and renamed; its manifest, written last, says it is done.
The commit unit is a cohort's round: a round counts only when the manifests of all its members are there. The journal
names every round that was committed. No link is followed inside a run.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from prunekit.runs import checksums
from prunekit.runs.audit import Audit
from prunekit.runs.journal import Journal, Marks
from prunekit.runs.paths import (
    ENVIRONMENT,
    JOURNAL,
    MANIFEST,
    RESULTS,
    SETTINGS,
    STAGE_SETTINGS,
    TIMING,
    TRAINING,
    RunKey,
)
from prunekit.runs.reader import RunReader
from prunekit.runs.snapshot import Snapshot
from prunekit.support import atomic, reading
from prunekit.support.digest import identity
from prunekit.support.errors import ArtifactError, BusyError, ConfigError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Files:
    """One member's round, to be written.

    Attributes:
        key: where it lies.
        content: bytes by file name.
        timing: seconds and rates, which are kept beside the files, outside the manifest.
    """

    key: RunKey
    content: Mapping[str, bytes]
    timing: Mapping[str, float]


class Run(RunReader):
    """A run directory that is written to: what it holds may change, so that nothing read of it is remembered."""

    def snapshot(self) -> Snapshot:
        """The run as it is now, to be looked at."""
        return Snapshot(self.path)

    @classmethod
    def at(cls, out: Path, name: str, run_id: str) -> Self:
        """The run called `name` inside the folder `out`, or `out` itself where that already is this run.

        Nothing is written.

        Raises:
            ConfigError: where `out` is the run directory of another experiment.
        """
        path = out if (out / SETTINGS).exists() else out / name
        run = cls(path)
        if (path / SETTINGS).exists() and run.id != run_id:
            other = f"this is the run directory of another experiment (id {run.id}, this one is {run_id})"
            raise ConfigError(f"{path}: {other}; give the folder that holds runs, or another --out")
        return run

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Replace the settings file (seeds and cohorts may be added to a run)."""
        is_new = not (self.path / SETTINGS).exists()
        made_on = identity(settings.get("machine")) if is_new else self.marks["made_on"]
        if is_new:  # before the settings, since what has settings is a run, and a run has a journal
            self._begin_journal({"run": settings.get("id"), "made_on": made_on})
        self._put(SETTINGS, checksums.sealed({**settings, "made_on": made_on}))
        self._marks = None

    def write_stage(self, stage: str, settings: Mapping[str, Any]) -> None:
        """Make a stage's directory with its settings, where it is not there yet."""
        marks = {**self.marks, "stage": stage}
        content = checksums.sealed(settings, marks)
        path = self.path / stage / STAGE_SETTINGS
        if not path.exists():
            self._put(f"{stage}/{STAGE_SETTINGS}", content)
        elif checksums.sealed(self.stage_settings(stage), marks) != content:
            raise ArtifactError(f"{path}: holds other settings than this stage's; delete its folder and run again")

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Versions and machine, for the reader; not part of what makes two runs equal."""
        self._put(ENVIRONMENT, checksums.stamped(facts))
        if (self.path / SETTINGS).exists() and not (journal := self.journal()).environment:
            self._write_journal(replace(journal, environment=True))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run alone. What a dead process left half-written is swept away first.

        Raises:
            BusyError: naming the holder where another process has it.
            ArtifactError: where a name of it is a link.
        """
        atomic.make_folder(self.path)
        self._refuse_links()
        holder = self.path / ".holder"
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            name = _holder(holder, self.path)
            raise BusyError(f"{self.path}: in use by {name}; wait for it, or use another --out") from None
        try:
            atomic.replace(holder, f"process {os.getpid()} on {socket.gethostname()}".encode(), follow=False)
            atomic.remove_staged(self.path)
            self.settle_journal()
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def commit(self, members: Sequence[Files]) -> None:
        """Write a cohort's round: every member staged and flushed, then every one renamed into place."""
        cohort = sorted(str(files.key) for files in members)
        needed = [sum(map(len, files.content.values())) for files in members]
        staged = []
        for files, size in zip(members, needed, strict=True):
            with atomic.naming_path(self.folder(files.key), size):
                staged.append(self._stage(files, cohort))
        manifests = {files.key: digest for files, (_, digest) in zip(members, staged, strict=True)}
        journal = self.journal().begun(manifests)
        self._write_journal(journal)
        for files, (temporary, _), size in zip(members, staged, needed, strict=True):
            with atomic.naming_path(self.folder(files.key), size):
                atomic.move(temporary, self.folder(files.key))
        self._publish([files.key for files in members])
        self._write_journal(journal.ended(manifests))

    def training(self) -> bytes | None:
        """What `keep_training` wrote, None where nothing is there.

        Raises:
            OSError: where it cannot be read.
        """
        path = self.path / TRAINING
        return reading.content(path, reading.TENSORS, self.path) if os.path.lexists(path) else None

    def keep_training(self, content: bytes) -> None:
        """Keep how far the cohort in training is, here alone: what is in a store counts as done."""
        atomic.replace(self.path / TRAINING, content, follow=False)

    def forget_training(self) -> None:
        """Take away what `keep_training` wrote."""
        (self.path / TRAINING).unlink(missing_ok=True)

    def results(self, keys: Iterable[RunKey] | None = None, *, times: bool = False) -> pd.DataFrame:
        """As every reader: a row per finished ticket."""
        return self.snapshot().results(keys, times=times)

    def write_results(self) -> pd.DataFrame:
        """Rebuild `results.parquet` from the rounds, a row per finished ticket."""
        table = self.results()
        content = atomic.as_parquet(table)
        self._put(RESULTS, content)
        self._write_journal(replace(self.journal(), results=hashlib.sha256(content).hexdigest()))
        return table

    def audit(self) -> Audit:
        """As a snapshot."""
        return self.snapshot().audit()

    def verify(self) -> int:
        """As a snapshot."""
        return self.snapshot().verify()

    def _manifests(self) -> dict[RunKey, dict[str, Any]]:
        return self.snapshot()._manifests()

    # ---- the journal

    def _begin_journal(self, marks: Marks) -> None:
        """A journal for a new run, unless one that names rounds is there: they would be forgotten."""
        written = self.written_journal()
        if written is None or not (written[0].rounds or written[0].pending):
            self._put(JOURNAL, Journal(environment=(self.path / ENVIRONMENT).exists()).to_bytes(marks))

    def settle_journal(self) -> None:
        """Finish what a dead process did not come to: the entry of rounds that it had put in place."""
        if not (self.path / SETTINGS).exists():
            return
        journal = self.journal()
        in_place = {key: digest for key, digest in journal.pending.items() if self._digest_at(key) == digest}
        whole = {
            key: digest
            for key, digest in in_place.items()
            if all(journal.allows(member, self._digest_at(member) or "") for member in self._cohort(key))
        }
        self._write_journal(journal.ended(whole))

    def _write_journal(self, journal: Journal) -> None:
        """Replace the journal, where it says something else."""
        content = journal.to_bytes(self.marks)
        path = self.path / JOURNAL
        if not path.exists() or reading.content(path, reading.JSON, self.path) != content:
            self._put(JOURNAL, content)

    def _cohort(self, key: RunKey) -> list[RunKey]:
        return [RunKey.parse(Path(name)) for name in self.written_manifest(key)["cohort"]]

    def _digest_at(self, key: RunKey) -> str | None:
        """The digest of the manifest at a place, None where there is no sound one."""
        try:
            digest: str = self.written_manifest(key)["sha256"]
        except ArtifactError:
            return None
        return digest

    def _refuse_links(self) -> None:
        for _ in self.paths():
            pass

    # ---- writing

    def _put(self, name: str, content: bytes) -> None:
        """Write a file of the run, by its name inside it. What a link leads to is not touched."""
        path = self.path / name
        self._check_no_link(path)
        atomic.replace(path, content, follow=False)

    def _check_no_link(self, path: Path) -> None:
        try:
            reading.check_no_link(path, self.path)
        except OSError as error:
            raise ArtifactError(f"{error.filename}: {error.strerror}; put there what it leads to") from error

    def _publish(self, keys: Sequence[RunKey]) -> None:
        """Called when a cohort's round is in place and the journal does not say so yet."""

    def _stage(self, files: Files, cohort: Sequence[str]) -> tuple[Path, str]:
        """One member's round under a temporary name, its manifest last, all of it flushed; and its digest."""
        target = self.folder(files.key)
        self._check_no_link(target)
        atomic.make_folder(target.parent)
        temporary = atomic.staged(target)
        temporary.mkdir()
        for name, content in files.content.items():
            atomic.write(temporary / name, content)
        place = {"key": str(files.key), "cohort": list(cohort), "previous": self._digest_before(files.key)}
        manifest = checksums.manifest({**self.marks, **place}, files.content)
        atomic.write(temporary / TIMING, checksums.timing(files.timing, manifest))
        atomic.write(temporary / MANIFEST, manifest)
        atomic.flush(temporary)
        return temporary, str(json.loads(manifest)["sha256"])


def _holder(path: Path, run: Path) -> str:
    """Who has a run, as far as it says so."""
    try:
        return reading.content(path, 1024, run).decode(errors="replace") or "another process"
    except OSError:
        return "another process"
