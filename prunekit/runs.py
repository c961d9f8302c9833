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
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from prunekit import disk, toml
from prunekit.errors import ArtifactError, ConfigError
from prunekit.places import ENVIRONMENT, MANIFEST, RESULT, RESULTS, SETTINGS, STAGE_SETTINGS, TIMING, Place
from prunekit.tickets import canonical


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
        if (path / SETTINGS).exists() and run.settings().get("id") != run_id:
            raise ConfigError(
                f"{path}: this is the run directory of another experiment (id {run.settings().get('id')}, this one is "
                f"{run_id}); give the folder that holds runs, or another --out"
            )
        return run

    def settings(self) -> dict[str, Any]:
        """Every resolved setting, as written."""
        return _read_toml(self.path / SETTINGS)

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Replace the settings file (seeds and cohorts may be added to a run)."""
        disk.replace(self.path / SETTINGS, toml.dump(dict(settings)).encode())

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """The settings of a stage."""
        return _read_toml(self.path / stage / STAGE_SETTINGS)

    def write_stage(self, stage: str, settings: Mapping[str, Any]) -> None:
        """Make a stage's directory with its settings, where it is not there yet."""
        content = toml.dump(dict(settings)).encode()
        path = self.path / stage / STAGE_SETTINGS
        if not path.exists():
            disk.replace(path, content)
        elif path.read_bytes() != content:
            raise ArtifactError(f"{path}: holds other settings than this stage's; delete its folder and run again")

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Versions and machine, for the reader; not part of what makes two runs equal."""
        disk.replace(self.path / ENVIRONMENT, disk.as_json(facts))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run alone. What a dead process left half-written is swept away first.

        Raises: ConfigError naming the holder where another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        holder = self.path / ".holder"
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            name = holder.read_text() if holder.exists() else "another process"
            raise ConfigError(f"{self.path}: in use by {name}; wait for it, or use another --out") from None
        try:
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
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
        staged = [(self._stage(files, cohort), self.folder(files.place)) for files in members]
        for temporary, target in staged:
            disk.move(temporary, target)

    def manifest(self, place: Place) -> dict[str, Any]:
        """The manifest of a finished round.

        Raises: ArtifactError where it is missing, damaged or belongs elsewhere.
        """
        path = self.folder(place) / MANIFEST
        try:
            manifest: dict[str, Any] = json.loads(path.read_bytes())
            digest = manifest.pop("sha256")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ArtifactError(f"{path}: missing or damaged; delete its folder and run again") from error
        if digest != hashlib.sha256(canonical(manifest).encode()).hexdigest():
            raise ArtifactError(f"{path}: damaged, it does not match its own sha256; delete its folder and run again")
        expected = {"run": self.settings().get("id"), "place": str(place)}
        found = {key: manifest.get(key) for key in expected}
        if found != expected:
            raise ArtifactError(f"{path}: belongs to {found}, not to {expected}")
        previous = manifest.get("previous")
        if previous is not None and previous != self._digest_before(place):
            raise ArtifactError(f"{path}: made from another round {place.round - 1} than the one that is there")
        return manifest | {"sha256": digest}

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
        """Seconds and rates of a round; empty where the file is gone (it is not part of the record)."""
        try:
            loaded: dict[str, float] = json.loads((self.folder(place) / TIMING).read_bytes())
        except (OSError, ValueError):
            return {}
        return loaded

    def stages(self) -> list[str]:
        """The dense stage "" and every sub-directory that holds rounds."""
        return ["", *sorted(path.parent.name for path in self.path.glob(f"*/{STAGE_SETTINGS}"))]

    def rounds(self) -> list[Place]:
        """Every finished round whose whole cohort is finished, by stage, round and seed."""
        found = []
        for path in sorted(self.path.rglob(MANIFEST)):
            inside = path.parent.relative_to(self.path)
            if disk.STAGING in str(inside):
                continue
            place = Place.parse(inside)
            if self.done(Place.parse(Path(one)) for one in self.manifest(place)["cohort"]):
                found.append(place)
        return sorted(found, key=lambda place: (place.stage, place.round, place.seed))

    def tickets(self) -> list[Place]:
        """The finished rounds that trained or chose a ticket; others hold scores of one."""
        return [place for place in self.rounds() if RESULT in self.manifest(place)["files"]]

    def results(self) -> pd.DataFrame:
        """One row per finished ticket, made from the rounds; no times. A stage's arms are told apart by `arm`."""
        rows = []
        for place in self.tickets():
            stage, _, arm = place.stage.partition("/")
            rows.append({"stage": stage, "arm": arm, **_flat(self.result(place))})
        return pd.DataFrame(rows)

    def write_results(self) -> pd.DataFrame:
        """Rebuild `results.parquet` from the rounds."""
        table = self.results()
        disk.replace(self.path / RESULTS, disk.as_parquet(table))
        return table

    def verify(self) -> int:
        """Check every file of every finished round against its manifest; returns how many files were checked.

        Raises: ArtifactError naming the first file that is damaged.
        """
        count = 0
        for place in self.rounds():
            for name in self.manifest(place)["files"]:
                self.read(place, name)
                count += 1
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
        disk.write(temporary / TIMING, disk.as_json(files.timing))
        manifest = {
            "run": self.settings()["id"],
            "place": str(files.place),
            "cohort": list(cohort),
            "previous": self._digest_before(files.place),
            "files": {
                name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in sorted(files.content.items())
            },
        }
        manifest["sha256"] = hashlib.sha256(canonical(manifest).encode()).hexdigest()
        disk.write(temporary / MANIFEST, disk.as_json(manifest))
        disk.flush(temporary)
        return temporary

    def _digest_before(self, place: Place) -> str | None:
        """The digest of the round before; the first round of a stage follows the dense round that all stages share."""
        if place.round == 0:
            return None
        own = self.folder(place._replace(round=place.round - 1))
        before = (own if own.exists() else self.folder(Place("", place.seed, 0))) / MANIFEST
        try:
            digest: str = json.loads(before.read_bytes())["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{before}: missing or damaged; delete its folder and run again") from error
        return digest


def list_runs(out: Path) -> list[Run]:
    """The runs inside a folder, by name."""
    return [Run(path.parent) for path in sorted(out.glob(f"*/{SETTINGS}"))]


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """Nested metrics as columns such as `report_accuracy`."""
    row: dict[str, Any] = {}
    for key, value in result.items():
        row |= {f"{key}_{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    return row


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: missing or damaged ({error})") from error
