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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from prunekit import disk, toml
from prunekit.errors import ArtifactError, ConfigError
from prunekit.tickets import canonical

SETTINGS = "experiment.toml"
ENVIRONMENT = "environment.json"
RESULTS = "results.parquet"
STAGE_SETTINGS = "stage.toml"
MANIFEST = "MANIFEST.json"
TIMING = "timing.json"
RESULT = "result.json"
TICKET = "ticket.safetensors"
TRAINED = "trained.safetensors"
SNAPSHOTS = "snapshots.safetensors"
SCORES = "scores.safetensors"
LOG = "log.parquet"
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Files:
    """The content of one member's round, by file name; `timing` is kept beside it, outside the manifest."""

    seed: int
    content: Mapping[str, bytes]
    timing: Mapping[str, float]


class Run:
    """A run directory. `stage` is "" for the dense round 0 that all verbs share, else a sub-directory's name."""

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

    def round_path(self, stage: str, seed: int, number: int) -> Path:
        """Where a member's round lies."""
        return self.path / stage / f"seed={seed}" / f"round={number:02d}"

    def done(self, stage: str, cohort: Sequence[int], number: int) -> bool:
        """Whether a round of a whole cohort (its seeds) is finished."""
        return all((self.round_path(stage, seed, number) / MANIFEST).is_file() for seed in cohort)

    def commit(self, stage: str, number: int, cohort: Sequence[int], members: Sequence[Files]) -> None:
        """Write a cohort's round: every member staged and flushed, then every one renamed into place."""
        staged = [(self._stage(stage, number, cohort, files), files.seed) for files in members]
        for temporary, seed in staged:
            disk.move(temporary, self.round_path(stage, seed, number))

    def manifest(self, stage: str, seed: int, number: int) -> dict[str, Any]:
        """The manifest of a finished round.

        Raises: ArtifactError where it is missing, damaged or belongs elsewhere.
        """
        path = self.round_path(stage, seed, number) / MANIFEST
        try:
            manifest: dict[str, Any] = json.loads(path.read_bytes())
            digest = manifest.pop("sha256")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ArtifactError(f"{path}: missing or damaged; delete its folder and run again") from error
        if digest != hashlib.sha256(canonical(manifest).encode()).hexdigest():
            raise ArtifactError(f"{path}: damaged, it does not match its own sha256; delete its folder and run again")
        expected = {"run": self.settings().get("id"), "stage": stage, "seed": seed, "round": number}
        found = {key: manifest.get(key) for key in expected}
        if found != expected:
            raise ArtifactError(f"{path}: belongs to {found}, not to {expected}")
        previous = manifest.get("previous")
        if previous is not None and previous != self._digest_before(stage, seed, number):
            raise ArtifactError(f"{path}: made from another round {number - 1} than the one that is there")
        return manifest | {"sha256": digest}

    def read(self, stage: str, seed: int, number: int, name: str) -> Path:
        """The path of a file of a finished round, after its size and sha256 were checked against the manifest.

        Raises: ArtifactError naming the file.
        """
        path = self.round_path(stage, seed, number) / name
        known = self.manifest(stage, seed, number)["files"].get(name)
        if known is None:
            raise ArtifactError(f"{path}: this round has no such file")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
        if len(content) != known["size"] or hashlib.sha256(content).hexdigest() != known["sha256"]:
            raise ArtifactError(f"{path}: damaged, it does not match its manifest; delete its folder and run again")
        return path

    def result(self, stage: str, seed: int, number: int) -> dict[str, Any]:
        """`result.json` of a finished round."""
        loaded: dict[str, Any] = json.loads(self.read(stage, seed, number, RESULT).read_bytes())
        return loaded

    def timing(self, stage: str, seed: int, number: int) -> dict[str, float]:
        """Seconds and rates of a round; empty where the file is gone (it is not part of the record)."""
        try:
            loaded: dict[str, float] = json.loads((self.round_path(stage, seed, number) / TIMING).read_bytes())
        except (OSError, ValueError):
            return {}
        return loaded

    def stages(self) -> list[str]:
        """The dense stage "" and every sub-directory that holds rounds."""
        return ["", *sorted(path.parent.name for path in self.path.glob(f"*/{STAGE_SETTINGS}"))]

    def rounds(self) -> list[tuple[str, int, int]]:
        """(stage, seed, round) of every finished round whose whole cohort is finished, by stage, round and seed."""
        found = []
        for stage in self.stages():
            for path in sorted((self.path / stage).glob(f"seed=*/round=*/{MANIFEST}")):
                seed, number = int(path.parent.parent.name[5:]), int(path.parent.name[6:])
                if self.done(stage, self.manifest(stage, seed, number)["cohort"], number):
                    found.append((stage, seed, number))
        return sorted(found, key=lambda place: (place[0], place[2], place[1]))

    def results(self) -> pd.DataFrame:
        """One row per finished ticket, made from the rounds; no times."""
        rows = [{"stage": place[0], **_flat(self.result(*place))} for place in self.rounds()]
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
        for stage, seed, number in self.rounds():
            for name in self.manifest(stage, seed, number)["files"]:
                self.read(stage, seed, number, name)
                count += 1
        return count

    # ---- writing

    def _stage(self, stage: str, number: int, cohort: Sequence[int], files: Files) -> Path:
        """One member's round under a temporary name, its manifest last, all of it flushed."""
        target = self.round_path(stage, files.seed, number)
        temporary = target.parent / f"{disk.STAGING}{target.name}"
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
        for name, content in files.content.items():
            disk.write(temporary / name, content)
        disk.write(temporary / TIMING, disk.as_json(files.timing))
        manifest = {
            "run": self.settings()["id"],
            "stage": stage,
            "seed": files.seed,
            "round": number,
            "cohort": list(cohort),
            "previous": self._digest_before(stage, files.seed, number),
            "files": {
                name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in sorted(files.content.items())
            },
        }
        manifest["sha256"] = hashlib.sha256(canonical(manifest).encode()).hexdigest()
        disk.write(temporary / MANIFEST, disk.as_json(manifest))
        disk.flush(temporary)
        return temporary

    def _digest_before(self, stage: str, seed: int, number: int) -> str | None:
        """The digest of the round before; round 1 of every stage follows the shared round 0."""
        if number == 0:
            return None
        before = self.round_path("" if number == 1 else stage, seed, number - 1) / MANIFEST
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
