"""Runs on disk: every file name, staged writes, manifests, resume. The directory is the state machine.

A round's files are written under a temporary name, flushed and renamed; its manifest, written last, says it is done.
The commit unit is a cohort's round: a round counts only when the manifests of all its members are there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from prunekit import disk, seals
from prunekit.config import identity
from prunekit.errors import ArtifactError, BusyError, ConfigError
from prunekit.places import ENVIRONMENT, MANIFEST, RESULT, RESULTS, SETTINGS, STAGE_SETTINGS, TIMING, Place


@dataclass(frozen=True)
class Files:
    """The content of one member's round, by file name; `timing` is kept beside it, outside the manifest."""

    place: Place
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

        Raises: ArtifactError where the directory is not one.
        """
        run = cls(path)
        if not (path / SETTINGS).is_file():
            raise ArtifactError(f"{path}: not a run directory (it has no {SETTINGS})")
        return run

    @classmethod
    def at(cls, out: Path, name: str, run_id: str) -> Run:
        """The run called `name` inside the folder `out`, or `out` itself where that already is this run.

        Nothing is written. Raises: ConfigError where `out` is the run directory of another experiment.
        """
        path = out if (out / SETTINGS).exists() else out / name
        run = cls(path)
        if (path / SETTINGS).exists() and run.id != run_id:
            other = f"this is the run directory of another experiment (id {run.id}, this one is {run_id})"
            raise ConfigError(f"{path}: {other}; give the folder that holds runs, or another --out")
        return run

    def settings(self) -> dict[str, Any]:
        """Every resolved setting, as written.

        Raises: ArtifactError where the file is missing or not what was written.
        """
        return seals.read_sealed(self.path / SETTINGS)

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
        path = self.path / SETTINGS
        began = self.marks["made_on"] if path.exists() else identity(settings.get("machine"))
        disk.replace(path, seals.sealed({**settings, "made_on": began}))
        self._marks = None

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """The settings of a stage.

        Raises: ArtifactError where the file is missing, damaged or belongs elsewhere.
        """
        return seals.read_sealed(self.path / stage / STAGE_SETTINGS, self.marks | {"stage": stage})

    def write_stage(self, stage: str, settings: Mapping[str, Any]) -> None:
        """Make a stage's directory with its settings, where it is not there yet."""
        content = seals.sealed(settings, self.marks | {"stage": stage})
        path = self.path / stage / STAGE_SETTINGS
        if not path.exists():
            disk.replace(path, content)
        elif path.read_bytes() != content:
            raise ArtifactError(f"{path}: holds other settings than this stage's; delete its folder and run again")

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Versions and machine, for the reader; not part of what makes two runs equal."""
        disk.replace(self.path / ENVIRONMENT, seals.stamped(facts))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run alone. What a dead process left half-written is swept away first.

        Raises: BusyError naming the holder where another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        holder = self.path / ".holder"
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            name = holder.read_text(errors="replace") if holder.exists() else "another process"
            raise BusyError(f"{self.path}: in use by {name}; wait for it, or use another --out") from None
        try:
            disk.replace(holder, f"process {os.getpid()} on {socket.gethostname()}".encode())
            for left in self.path.rglob(f"{disk.STAGING}*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    # ---- rounds

    def folder(self, place: Place) -> Path:
        """Where a member's round lies."""
        return self.path / str(place)

    def done(self, cohort: Iterable[Place]) -> bool:
        """Whether the rounds of a whole cohort are finished."""
        return all((self.folder(place) / MANIFEST).is_file() for place in cohort)

    def commit(self, members: Sequence[Files]) -> None:
        """Write a cohort's round: every member staged and flushed, then every one renamed into place."""
        cohort = sorted(str(files.place) for files in members)
        needed = [sum(map(len, files.content.values())) for files in members]
        staged = []
        for files, size in zip(members, needed, strict=True):
            with disk.needing(self.folder(files.place), size):
                staged.append((self._stage(files, cohort), self.folder(files.place)))
        for (temporary, target), size in zip(staged, needed, strict=True):
            with disk.needing(target, size):
                disk.move(temporary, target)

    def manifest(self, place: Place) -> dict[str, Any]:
        """The manifest of a finished round.

        Raises: ArtifactError where it is missing, damaged or belongs elsewhere.
        """
        path = self.folder(place) / MANIFEST
        manifest = seals.read_manifest(path)
        expected = {**self.marks, "place": str(place)}
        found = {key: manifest.get(key) for key in expected}
        if found != expected:
            raise ArtifactError(f"{path}: belongs to {found}, not to {expected}")
        previous = manifest.get("previous")
        if previous is not None and previous != self._digest_before(place):
            raise ArtifactError(f"{path}: made from another round {place.round - 1} than the one that is there")
        return manifest

    def read(self, place: Place, name: str) -> Path:
        """The path of a file of a finished round, after its size and sha256 were checked against the manifest.

        Raises: ArtifactError naming the file.
        """
        path = self.folder(place) / name
        known = self.manifest(place)["files"].get(name)
        if known is None:
            raise ArtifactError(f"{path}: this round has no such file")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
        if len(content) != known["size"] or hashlib.sha256(content).hexdigest() != known["sha256"]:
            raise ArtifactError(f"{path}: damaged, it does not match its manifest; delete its folder and run again")
        return path

    def result(self, place: Place) -> dict[str, Any]:
        """`result.json` of a finished round."""
        loaded: dict[str, Any] = json.loads(self.read(place, RESULT).read_bytes())
        return loaded

    def timing(self, place: Place) -> dict[str, float]:
        """Seconds and rates of a round; empty where the file is gone (it is not part of the record).

        Raises: ArtifactError where it is damaged or another round's.
        """
        return seals.read_timing(self.folder(place))

    def stages(self) -> list[str]:
        """The dense stage "" and every sub-directory that holds rounds."""
        return ["", *sorted(path.parent.name for path in self.path.glob(f"*/{STAGE_SETTINGS}"))]

    def rounds(self) -> list[Place]:
        """Every finished round whose whole cohort is finished, by stage, round and seed."""
        return list(self._manifests())

    def tickets(self) -> list[Place]:
        """The finished rounds that trained or chose a ticket; others hold scores of one."""
        return [place for place, manifest in self._manifests().items() if RESULT in manifest["files"]]

    def _manifests(self) -> dict[Place, dict[str, Any]]:
        """The manifests of `rounds`, in their order."""
        found = {}
        for path in sorted(self.path.rglob(MANIFEST)):
            inside = path.parent.relative_to(self.path)
            if disk.STAGING in str(inside):
                continue
            try:
                place = Place.parse(inside)
                manifest = self.manifest(place)
                cohort = [Place.parse(Path(one)) for one in manifest["cohort"]]
            except ValueError as error:
                raise ArtifactError(f"{path}: {error}; a round belongs in a folder such as seed=0/round=00") from error
            if self.done(cohort):
                found[place] = manifest
        return dict(sorted(found.items(), key=lambda item: (item[0].stage, item[0].round, item[0].seed)))

    def results(self, places: Iterable[Place] | None = None) -> pd.DataFrame:
        """One row per finished ticket, or per place, made from the rounds; no times. `arm` names arms of a stage."""
        rows = []
        for place in self.tickets() if places is None else places:
            stage, _, arm = place.stage.partition("/")
            rows.append({"stage": stage, "arm": arm, **_flat(self.result(place))})
        return pd.DataFrame(rows)

    def write_results(self) -> pd.DataFrame:
        """Rebuild `results.parquet` from the rounds, a row per finished ticket."""
        table = self.results()
        disk.replace(self.path / RESULTS, disk.as_parquet(table))
        return table

    def verify(self) -> int:
        """Check every file of every finished round against its manifest; returns how many files were checked.

        Raises: ArtifactError naming the first file that is damaged.
        """
        count = 0
        for place, manifest in self._manifests().items():
            for name in manifest["files"]:
                self.read(place, name)
                count += 1
            self.timing(place)
        return count

    # ---- writing

    def _stage(self, files: Files, cohort: Sequence[str]) -> Path:
        """One member's round under a temporary name, its manifest last, all of it flushed."""
        target = self.folder(files.place)
        temporary = target.parent / f"{disk.STAGING}{target.name}"
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
        for name, content in files.content.items():
            disk.write(temporary / name, content)
        told = {"place": str(files.place), "cohort": list(cohort), "previous": self._digest_before(files.place)}
        manifest = seals.manifest(self.marks | told, files.content)
        disk.write(temporary / TIMING, seals.timing(files.timing, manifest))
        disk.write(temporary / MANIFEST, manifest)
        disk.flush(temporary)
        return temporary

    def _digest_before(self, place: Place) -> str | None:
        """The digest of the round before; the first round of a stage follows the dense round that all stages share."""
        if place.round == 0:
            return None
        own = self.folder(place._replace(round=place.round - 1))
        before = (own if own.exists() else self.folder(Place("", place.seed, 0))) / MANIFEST
        digest: str = seals.read_manifest(before)["sha256"]
        return digest


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """Nested metrics as columns such as `report_accuracy`."""
    row: dict[str, Any] = {}
    for key, value in result.items():
        row |= {f"{key}_{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    return row
