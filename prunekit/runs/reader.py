"""A run directory as it is read: every file is checked against its own checksum or its manifest before it is used."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from prunekit.runs import checksums
from prunekit.runs.journal import CURE, Journal, Marks, read_journal
from prunekit.runs.paths import (
    DENSE,
    ENVIRONMENT,
    JOURNAL,
    MANIFEST,
    RESULT,
    SETTINGS,
    STAGE_SETTINGS,
    RunKey,
    Stage,
    is_of_run,
)
from prunekit.runs.results import results_table
from prunekit.support import atomic
from prunekit.support.errors import ArtifactError

if TYPE_CHECKING:
    import pandas as pd

    from prunekit.pruning.schedule import Unit

Value = TypeVar("Value")


class RunReader:
    """The files of a run. Whoever writes to one reads it as a `Run`; whoever only looks at one, as a `Snapshot`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._marks: Marks | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run.

        Raises:
            ArtifactError: where the directory is not one.
        """
        if not (path / SETTINGS).is_file():
            raise ArtifactError(f"{path}: not a run directory (it has no {SETTINGS})")
        return cls(path)

    # ---- the run as a whole

    def settings(self) -> dict[str, Any]:
        """Every resolved setting, as written.

        Raises:
            ArtifactError: where the file is missing or not what was written.
        """
        return checksums.read_sealed(self.path / SETTINGS, root=self.path)

    def first_settings(self) -> dict[str, Any]:
        """Those of the run as a whole, of model and task: what tells runs apart, several times as quickly as all.

        Raises:
            ArtifactError: as `settings`.
        """
        return checksums.read_sealed(self.path / SETTINGS, root=self.path, before="prompt")

    @property
    def id(self) -> str | None:
        """The run's name by content."""
        return self.marks["run"]

    @property
    def marks(self) -> Marks:
        """What every manifest of this run carries: its id, and a digest of the machine settings that it began with.

        Those round sums in their own way, so that a run of the same id made under others holds other bytes.
        """
        if self._marks is None:
            settings = self.settings()
            self._marks = {"run": settings.get("id"), "made_on": settings.get("made_on")}
        return self._marks

    def assuming(self, marks: Marks) -> Self:
        """The same run, taken to be whose it is not known to be: its settings are not asked."""
        if self._marks == marks:
            return self
        other = copy.copy(self)
        other._marks = dict(marks)
        return other

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """The settings of a stage.

        Raises:
            ArtifactError: where the file is missing, damaged or belongs elsewhere.
        """
        return checksums.read_sealed(self.path / stage / STAGE_SETTINGS, {**self.marks, "stage": stage}, self.path)

    def unit(self, stage: str) -> Unit:
        """What a pruning or search prunes."""
        settings = self.stage_settings(stage)
        return "directions" if "keep_rank" in settings or settings.get("grid") == "rank" else "cells"

    def environment(self, cure: str) -> dict[str, Any]:
        """What the file of versions and machines says, as written.

        Args:
            cure: what the user can do about damage.

        Raises:
            ArtifactError: where it is missing or damaged.
        """
        return checksums.read_stamped(self.path / ENVIRONMENT, cure, self.path)

    def written_journal(self) -> tuple[Journal, Marks] | None:
        """The journal as written, and whose it says that it is; None where there is none.

        Raises:
            ArtifactError: where it is damaged.
        """
        return read_journal(self.path)

    def journal(self) -> Journal:
        """What the run should hold; where it has no journal, that is what it does hold.

        Raises:
            ArtifactError: where the journal is damaged or another run's.
        """
        written = self.written_journal()
        if written is None:
            digests = {key: manifest["sha256"] for key, manifest in self._manifests().items()}
            return Journal(digests, environment=(self.path / ENVIRONMENT).exists())
        journal, marks = written
        if marks != self.marks:
            raise ArtifactError(f"{self.path / JOURNAL}: belongs to {marks}, not to {self.marks}; {CURE}")
        return journal

    # ---- which rounds there are

    def folder(self, key: RunKey) -> Path:
        """Where a member's round lies."""
        return self.path / str(key)

    def done(self, cohort: Iterable[RunKey]) -> bool:
        """Whether the rounds of a whole cohort are finished."""
        return all((self.folder(key) / MANIFEST).is_file() for key in cohort)

    def stages(self) -> list[Stage]:
        """The dense stage and every folder at the root that holds rounds under settings of its own."""
        return [DENSE, *sorted(Stage(path.parent.name) for path in self.path.glob(f"*/{STAGE_SETTINGS}"))]

    def rounds(self) -> list[RunKey]:
        """Every finished round whose whole cohort is finished, by stage, round and seed."""
        return list(self._manifests())

    def tickets(self) -> list[RunKey]:
        """The finished rounds that trained or chose a ticket; others hold scores of one."""
        return [key for key, manifest in self._manifests().items() if RESULT in manifest["files"]]

    def paths(self) -> Iterator[Path]:
        """Every file and folder of the run but unfinished ones; what a user's own link leads to is left alone.

        Raises:
            ArtifactError: naming a link that stands where prunekit's own file or folder should be.
        """
        for name, folders, files in os.walk(self.path):
            folder = Path(name)
            folders[:] = [name for name in folders if not atomic.is_staged(folder / name)]
            for path in (folder / name for name in [*folders, *files]):
                if path.is_symlink() and (folder != self.path or is_of_run(path.name)):
                    raise ArtifactError(
                        f"{path}: a link, and inside a run none is followed; put there what it leads to"
                    )
                if not atomic.is_staged(path):
                    yield path

    def _manifests(self) -> dict[RunKey, dict[str, Any]]:
        """The manifests of `rounds`, in their order."""
        manifests = {}
        for path in sorted(path for path in self.paths() if path.name == MANIFEST):
            try:
                key = RunKey.parse(path.parent.relative_to(self.path))
                manifest = self.manifest(key)
                cohort = [RunKey.parse(Path(name)) for name in manifest["cohort"]]
            except ValueError as error:
                raise ArtifactError(f"{path}: {error}; a round belongs in a folder such as seed=0/round=00") from error
            if self.done(cohort):
                manifests[key] = manifest
        return dict(sorted(manifests.items(), key=lambda item: (item[0].stage, item[0].round, item[0].seed)))

    # ---- one round

    def written_manifest(self, key: RunKey) -> dict[str, Any]:
        """The manifest that lies in a round's folder, whosever round it says that it is of.

        Raises:
            ArtifactError: where it is missing or damaged.
        """
        return checksums.read_manifest(self.folder(key) / MANIFEST, self.path)

    def manifest(self, key: RunKey) -> dict[str, Any]:
        """The manifest of a finished round.

        Raises:
            ArtifactError: where it is missing, damaged or belongs elsewhere.
        """
        path = self.folder(key) / MANIFEST
        manifest = self.written_manifest(key)
        expected = {**self.marks, "key": str(key)}
        actual = {name: manifest.get(name) for name in expected}
        if actual != expected:
            raise ArtifactError(f"{path}: belongs to {actual}, not to {expected}")
        previous = manifest.get("previous")
        if previous is not None and previous != self._digest_before(key):
            raise ArtifactError(f"{path}: made from another round {key.round - 1} than the one that is there")
        return manifest

    def listed(self, path: Path, facts: Mapping[str, Any]) -> bytes:
        """The bytes of a file whose `size` and `sha256` a manifest lists.

        Raises:
            ArtifactError: naming the file where it is missing, or other than that.
        """
        return checksums.read_listed(path, facts, self.path)

    def content(self, key: RunKey, name: str) -> bytes:
        """The bytes of a file of a finished round, whose size and sha256 its manifest lists.

        Raises:
            ArtifactError: naming the file where it is missing, damaged or not of this round.
        """
        path = self.folder(key) / name
        facts = self.manifest(key)["files"].get(name)
        if facts is None:
            raise ArtifactError(f"{path}: this round has no such file")
        return self.listed(path, facts)

    def table(self, key: RunKey, name: str) -> pd.DataFrame:
        """A parquet file of a finished round, with its own columns; errors as `content`."""
        import pandas as pd

        return pd.read_parquet(BytesIO(self.content(key, name)))

    def once(self, name: str, read: Callable[..., Value], *arguments: object) -> Value:
        """What `read` makes of the run and of `arguments`; a snapshot remembers it by its name and them."""
        return read(*arguments)

    def facts(self, key: RunKey, name: str) -> dict[str, Any]:
        """A JSON file of a finished round; errors as `content`."""
        facts: dict[str, Any] = json.loads(self.content(key, name))
        return facts

    def result(self, key: RunKey) -> dict[str, Any]:
        """What a finished round came to, `result.json`; errors as `content`."""
        return self.facts(key, RESULT)

    def timing(self, key: RunKey) -> dict[str, float]:
        """Seconds and rates of a round; empty where the file is gone (it is not part of the record).

        Raises:
            ArtifactError: where it is damaged or another round's.
        """
        return checksums.read_timing(self.folder(key), self.written_manifest(key)["sha256"], self.path)

    def _digest_before(self, key: RunKey) -> str | None:
        """The digest of the round before; the first round of a stage follows the dense round that all stages share."""
        if key.round == 0:
            return None
        before = key._replace(round=key.round - 1)
        if not self.folder(before).exists():
            before = RunKey(DENSE, key.seed, 0)
        digest: str = self.written_manifest(before)["sha256"]
        return digest

    # ---- what they came to

    def results(self, keys: Iterable[RunKey] | None = None, *, times: bool = False) -> pd.DataFrame:
        """A row per finished ticket, or of some: the table of `results.results_table`.

        Raises:
            ArtifactError: where the run is damaged.
        """
        return results_table(self, self.tickets() if keys is None else keys, times=times)
