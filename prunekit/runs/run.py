"""Runs on disk: every file name, staged writes, manifests, resume. The directory is the state machine.

A round's files are written under a temporary name, flushed and renamed; its manifest, written last, says it is done.
The commit unit is a cohort's round: a round counts only when the manifests of all its members are there. The journal
names every round that was committed. No link is followed inside a run.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from prunekit.runs import checksums
from prunekit.runs.audit import Audit, audited
from prunekit.runs.journal import CURE, Journal, read_journal
from prunekit.runs.paths import (
    ENVIRONMENT,
    JOURNAL,
    MANIFEST,
    RESULT,
    RESULTS,
    SETTINGS,
    STAGE_SETTINGS,
    TIMING,
    RunKey,
    is_of_run,
)
from prunekit.support import atomic, reading
from prunekit.support.digest import identity
from prunekit.support.errors import ArtifactError, BusyError, ConfigError


@dataclass(frozen=True)
class Files:
    """The content of one member's round, by file name; `timing` is kept beside it, outside the manifest."""

    key: RunKey
    content: Mapping[str, bytes]
    timing: Mapping[str, float]


class Run:
    """A run directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._marks: dict[str, str | None] | None = None

    # ---- opening

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run.

        Raises:
            ArtifactError: where the directory is not one.
        """
        run = cls(path)
        if not (path / SETTINGS).is_file():
            raise ArtifactError(f"{path}: not a run directory (it has no {SETTINGS})")
        return run

    @classmethod
    def at(cls, out: Path, name: str, run_id: str) -> Run:
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

    def settings(self) -> dict[str, Any]:
        """Every resolved setting, as written.

        Raises:
            ArtifactError: where the file is missing or not what was written.
        """
        return checksums.read_sealed(self.path / SETTINGS, root=self.path)

    @property
    def id(self) -> str | None:
        """The run's name by content."""
        return self.marks["run"]

    @property
    def marks(self) -> dict[str, str | None]:
        """What every manifest of this run carries: its id, and a digest of the machine settings that it began with.

        Those round sums in their own way, so that a run of the same id made under others holds other bytes.
        """
        if self._marks is None:
            settings = self.settings()
            self._marks = {"run": settings.get("id"), "made_on": settings.get("made_on")}
        return self._marks

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Replace the settings file (seeds and cohorts may be added to a run)."""
        there = (self.path / SETTINGS).exists()
        began = self.marks["made_on"] if there else identity(settings.get("machine"))
        if not there:  # before the settings, since what has settings is a run, and a run has a journal
            self._begin_journal({"run": settings.get("id"), "made_on": began})
        self._put(SETTINGS, checksums.sealed({**settings, "made_on": began}))
        self._marks = None

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """The settings of a stage.

        Raises:
            ArtifactError: where the file is missing, damaged or belongs elsewhere.
        """
        return checksums.read_sealed(self.path / stage / STAGE_SETTINGS, self.marks | {"stage": stage}, self.path)

    def write_stage(self, stage: str, settings: Mapping[str, Any]) -> None:
        """Make a stage's directory with its settings, where it is not there yet."""
        content = checksums.sealed(settings, self.marks | {"stage": stage})
        path = self.path / stage / STAGE_SETTINGS
        if not path.exists():
            self._put(f"{stage}/{STAGE_SETTINGS}", content)
        elif checksums.sealed(self.stage_settings(stage), self.marks | {"stage": stage}) != content:
            raise ArtifactError(f"{path}: holds other settings than this stage's; delete its folder and run again")

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Versions and machine, for the reader; not part of what makes two runs equal."""
        self._put(ENVIRONMENT, checksums.stamped(facts))
        if (self.path / SETTINGS).exists() and not (known := self.journal()).environment:
            self._write_journal(replace(known, environment=True))

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

    # ---- rounds

    def folder(self, key: RunKey) -> Path:
        """Where a member's round lies."""
        return self.path / str(key)

    def done(self, cohort: Iterable[RunKey]) -> bool:
        """Whether the rounds of a whole cohort are finished."""
        return all((self.folder(key) / MANIFEST).is_file() for key in cohort)

    def commit(self, members: Sequence[Files]) -> None:
        """Write a cohort's round: every member staged and flushed, then every one renamed into place."""
        cohort = sorted(str(files.key) for files in members)
        needed = [sum(map(len, files.content.values())) for files in members]
        staged = []
        for files, size in zip(members, needed, strict=True):
            with atomic.naming_path(self.folder(files.key), size):
                staged.append(self._stage(files, cohort))
        manifests = {files.key: digest for files, (_, digest) in zip(members, staged, strict=True)}
        known = self.journal().begun(manifests)
        self._write_journal(known)
        for files, (temporary, _), size in zip(members, staged, needed, strict=True):
            with atomic.naming_path(self.folder(files.key), size):
                atomic.move(temporary, self.folder(files.key))
        self._publish([files.key for files in members])
        self._write_journal(known.ended(manifests))

    def manifest(self, run_key: RunKey) -> dict[str, Any]:
        """The manifest of a finished round.

        Raises:
            ArtifactError: where it is missing, damaged or belongs elsewhere.
        """
        path = self.folder(run_key) / MANIFEST
        manifest = checksums.read_manifest(path, self.path)
        expected = {**self.marks, "key": str(run_key)}
        found = {key: manifest.get(key) for key in expected}
        if found != expected:
            raise ArtifactError(f"{path}: belongs to {found}, not to {expected}")
        previous = manifest.get("previous")
        if previous is not None and previous != self._digest_before(run_key):
            raise ArtifactError(f"{path}: made from another round {run_key.round - 1} than the one that is there")
        return manifest

    def read(self, key: RunKey, name: str) -> Path:
        """The path of a file of a finished round, after its size and sha256 were checked against the manifest.

        Raises:
            ArtifactError: naming the file.
        """
        path = self.folder(key) / name
        known = self.manifest(key)["files"].get(name)
        if known is None:
            raise ArtifactError(f"{path}: this round has no such file")
        checksums.read_listed(path, known, self.path)
        return path

    def result(self, key: RunKey) -> dict[str, Any]:
        """`result.json` of a finished round."""
        loaded: dict[str, Any] = json.loads(self.read(key, RESULT).read_bytes())
        return loaded

    def timing(self, key: RunKey) -> dict[str, float]:
        """Seconds and rates of a round; empty where the file is gone (it is not part of the record).

        Raises:
            ArtifactError: where it is damaged or another round's.
        """
        return checksums.read_timing(self.folder(key), self.path)

    def stages(self) -> list[str]:
        """The dense stage "" and every sub-directory that holds rounds."""
        return ["", *sorted(path.parent.name for path in self.path.glob(f"*/{STAGE_SETTINGS}"))]

    def rounds(self) -> list[RunKey]:
        """Every finished round whose whole cohort is finished, by stage, round and seed."""
        return list(self._manifests())

    def tickets(self) -> list[RunKey]:
        """The finished rounds that trained or chose a ticket; others hold scores of one."""
        return [key for key, manifest in self._manifests().items() if RESULT in manifest["files"]]

    def _manifests(self) -> dict[RunKey, dict[str, Any]]:
        """The manifests of `rounds`, in their order."""
        found = {}
        for path in sorted(one for one in self.paths() if one.name == MANIFEST):
            inside = path.parent.relative_to(self.path)
            try:
                key = RunKey.parse(inside)
                manifest = self.manifest(key)
                cohort = [RunKey.parse(Path(one)) for one in manifest["cohort"]]
            except ValueError as error:
                raise ArtifactError(f"{path}: {error}; a round belongs in a folder such as seed=0/round=00") from error
            if self.done(cohort):
                found[key] = manifest
        return dict(sorted(found.items(), key=lambda item: (item[0].stage, item[0].round, item[0].seed)))

    def results(self, keys: Iterable[RunKey] | None = None) -> pd.DataFrame:
        """One row per finished ticket, or per place, made from the rounds; no times. `arm` names arms of a stage."""
        rows = []
        for key in self.tickets() if keys is None else keys:
            stage, _, arm = key.stage.partition("/")
            rows.append({"stage": stage, "arm": arm, **_flat(self.result(key))})
        return pd.DataFrame(rows)

    def write_results(self) -> pd.DataFrame:
        """Rebuild `results.parquet` from the rounds, a row per finished ticket."""
        table = self.results()
        content = atomic.as_parquet(table)
        self._put(RESULTS, content)
        self._write_journal(replace(self.journal(), results=hashlib.sha256(content).hexdigest()))
        return table

    # ---- what should be there

    def paths(self) -> Iterator[Path]:
        """Every file and folder of the run but unfinished ones; what a user's own link leads to is left alone.

        Raises:
            ArtifactError: naming a link that stands where prunekit's own file or folder should be.
        """
        for key, folders, files in os.walk(self.path):
            inside = Path(key)
            folders[:] = [name for name in folders if not atomic.is_staged(inside / name)]
            for path in (inside / name for name in [*folders, *files]):
                if path.is_symlink() and (inside != self.path or is_of_run(path.name)):
                    raise ArtifactError(
                        f"{path}: a link, and inside a run none is followed; put there what it leads to"
                    )
                if not atomic.is_staged(path):
                    yield path

    def journal(self) -> Journal:
        """What the run should hold; where it has no journal, that is what it does hold.

        Raises:
            ArtifactError: where the journal is damaged or another run's.
        """
        read = read_journal(self.path)
        if read is None:
            there = {key: manifest["sha256"] for key, manifest in self._manifests().items()}
            return Journal(there, environment=(self.path / ENVIRONMENT).exists())
        found, marks = read
        if marks != self.marks:
            raise ArtifactError(f"{self.path / JOURNAL}: belongs to {marks}, not to {self.marks}; {CURE}")
        return found

    def assuming(self, marks: Mapping[str, str | None]) -> Run:
        """The same run, taken to be whose it is not known to be: its settings are not asked."""
        other = copy.copy(self)
        other._marks = dict(marks)
        return other

    def audit(self) -> Audit:
        """Compare what is there with the journal, the manifests and the seals: everything that is wrong."""
        return audited(self)

    def verify(self) -> int:
        """Check everything that the run should hold; returns how many files of rounds were checked.

        Raises:
            ArtifactError: with the first thing that is wrong.
        """
        found = self.audit()
        if found.problems:
            raise ArtifactError(found.problems[0])
        return found.files

    def _begin_journal(self, marks: Mapping[str, str | None]) -> None:
        """A journal for a new run, unless one that names rounds is there: they would be forgotten."""
        read = read_journal(self.path)
        if read is None or not (read[0].rounds or read[0].pending):
            self._put(JOURNAL, Journal(environment=(self.path / ENVIRONMENT).exists()).to_bytes(marks))

    def settle_journal(self) -> None:
        """Finish what a dead process did not come to: the entry of rounds that it had put in place."""
        if not (self.path / SETTINGS).exists():
            return
        known = self.journal()
        there = {key: digest for key, digest in known.pending.items() if self._digest_at(key) == digest}
        whole = {
            key: digest
            for key, digest in there.items()
            if all(known.allows(one, self._digest_at(one) or "") for one in self._cohort(key))
        }
        self._write_journal(known.ended(whole))

    def _write_journal(self, known: Journal) -> None:
        """Replace the journal, where it says something else."""
        content = known.to_bytes(self.marks)
        path = self.path / JOURNAL
        if not path.exists() or reading.content(path, reading.JSON, self.path) != content:
            self._put(JOURNAL, content)

    def _cohort(self, key: RunKey) -> list[RunKey]:
        manifest = checksums.read_manifest(self.folder(key) / MANIFEST, self.path)
        return [RunKey.parse(Path(name)) for name in manifest["cohort"]]

    def _digest_at(self, key: RunKey) -> str | None:
        """The digest of the manifest at a place, None where there is no sound one."""
        try:
            digest: str = checksums.read_manifest(self.folder(key) / MANIFEST, self.path)["sha256"]
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
        told = {"key": str(files.key), "cohort": list(cohort), "previous": self._digest_before(files.key)}
        manifest = checksums.manifest(self.marks | told, files.content)
        atomic.write(temporary / TIMING, checksums.timing(files.timing, manifest))
        atomic.write(temporary / MANIFEST, manifest)
        atomic.flush(temporary)
        return temporary, str(json.loads(manifest)["sha256"])

    def _digest_before(self, key: RunKey) -> str | None:
        """The digest of the round before; the first round of a stage follows the dense round that all stages share."""
        if key.round == 0:
            return None
        own = self.folder(key._replace(round=key.round - 1))
        before = (own if own.exists() else self.folder(RunKey("", key.seed, 0))) / MANIFEST
        digest: str = checksums.read_manifest(before, self.path)["sha256"]
        return digest


def _holder(path: Path, run: Path) -> str:
    """Who has a run, as far as it says so."""
    try:
        return reading.content(path, 1024, run).decode(errors="replace") or "another process"
    except OSError:
        return "another process"


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """Nested metrics as columns such as `test_accuracy`."""
    row: dict[str, Any] = {}
    for key, value in result.items():
        row |= {f"{key}_{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    return row
