"""A run as it is when it is looked at: every file is read and checked at most once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from prunekit.runs.audit import Audit, audited
from prunekit.runs.journal import Journal, Marks
from prunekit.runs.paths import RunKey
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError
from prunekit.support.reading import MB

Value = TypeVar("Value")

# bytes of files that are remembered; what lies beyond is read again, and checked again, where it is asked for again
_MOST_REMEMBERED = 1024 * MB


class Snapshot(RunReader):
    """A run that is only looked at. What was read once stays as it was then, whatever becomes of the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._memory: dict[tuple[Any, ...], Any] = {}
        self._contents: dict[Path, bytes] = {}

    def assuming(self, marks: Marks) -> Self:
        """As every reader; what is remembered of one does not reach the other."""
        other = super().assuming(marks)
        if other is not self:
            other._memory, other._contents = dict(self._memory), dict(self._contents)
        return other

    def settings(self) -> dict[str, Any]:
        """As every reader; whoever changes what comes back changes a copy."""
        return deepcopy(self.once("settings", super().settings))

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """As every reader; whoever changes what comes back changes a copy."""
        return deepcopy(self.once("stage", super().stage_settings, stage))

    def environment(self, cure: str) -> dict[str, Any]:
        """As every reader; whoever changes what comes back changes a copy."""
        return deepcopy(self.once("environment", partial(super().environment, cure)))

    def written_journal(self) -> tuple[Journal, Marks] | None:
        """As every reader."""
        return self.once("journal", super().written_journal)

    def written_manifest(self, key: RunKey) -> dict[str, Any]:
        """As every reader."""
        return self.once("manifest", super().written_manifest, key)

    def timing(self, key: RunKey) -> dict[str, float]:
        """As every reader."""
        return self.once("timing", super().timing, key)

    def listed(self, path: Path, facts: Mapping[str, Any]) -> bytes:
        """As every reader."""
        if path in self._contents:
            return self._contents[path]
        content = super().listed(path, facts)
        if sum(map(len, self._contents.values())) + len(content) <= _MOST_REMEMBERED:
            self._contents[path] = content
        return content

    def _manifests(self) -> dict[RunKey, dict[str, Any]]:
        return self.once("rounds", super()._manifests)

    def audit(self) -> Audit:
        """Compare what is there with the journal, the manifests and the checksums: everything that is wrong."""
        return audited(self)

    def verify(self) -> int:
        """Check everything that the run should hold; returns how many files of rounds were checked.

        Raises:
            ArtifactError: with the first thing that is wrong.
        """
        audit = self.audit()
        if audit.problems:
            raise ArtifactError(audit.problems[0])
        return audit.files

    def once(self, name: str, read: Callable[..., Value], *arguments: object) -> Value:
        """What a reading gives, read at the first call and remembered; an error is not. Nobody may change it."""
        call = (name, *arguments)
        if call not in self._memory:
            self._memory[call] = read(*arguments)
        value: Value = self._memory[call]
        return value
