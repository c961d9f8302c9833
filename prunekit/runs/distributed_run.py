"""A run that several processes work on (torchrun): rank 0 writes, the others wait until it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit.engine.distributed import ALONE, ProcessGroup
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Files, Run
from prunekit.runs.store import Stored, stored_at
from prunekit.support.errors import ConfigError


class DistributedRun(Run):
    """A run directory as one process of a group sees it: all read, one writes what all came to."""

    team: ProcessGroup = ALONE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held by rank 0 for all; where it cannot be, that process ends, and torchrun ends the others."""
        if self.team.leads:
            with super().locked():
                self.team.says(True)
                yield
        else:
            self.team.says(True)
            yield

    def done(self, cohort: Iterable[RunKey]) -> bool:
        """What rank 0 finds, for all: their steps must not part."""
        return self.team.says(super().done(cohort))

    def commit(self, members: Sequence[Files]) -> None:
        """Compare what every process came to, byte for byte; rank 0 writes it.

        Raises:
            PrunekitError: where they differ.
        """
        total = hashlib.sha256()
        for files in members:
            for name, content in sorted(files.content.items()):
                total.update(name.encode() + content)
        self.team.check_same(total.hexdigest())
        if self.team.leads:
            super().commit(members)
        self.team.says(True)

    def training(self) -> bytes | None:
        """None: every process would have to go on from the same, and a disk need not show it to all at once."""
        return None

    def keep_training(self, content: bytes) -> None:
        """Nothing."""

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """By rank 0."""
        if self.team.leads:
            super().write_settings(settings)
        self.team.says(True)

    def write_stage(self, stage: str, settings: Mapping[str, Any]) -> None:
        """By rank 0."""
        if self.team.leads:
            super().write_stage(stage, settings)
        self.team.says(True)

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """By rank 0."""
        if self.team.leads:
            super().write_environment(facts)

    def write_results(self) -> pd.DataFrame:
        """By rank 0; the rows of `results`."""
        table = super().write_results() if self.team.leads else self.results()
        self.team.says(True)
        return table


def run_at(team: ProcessGroup, out: Path | Stored, name: str, run_id: str) -> Run:
    """As `Run.at`, for one process or for a team; where `out` says so, it is written to a store too.

    Raises:
        ConfigError: where `out` is the run directory of another experiment, or a team's run has a store.
    """
    if isinstance(out, Stored):
        if team.size > 1:
            raise ConfigError("--store: a run of several processes goes to a folder; use --out")
        return stored_at(out, name, run_id)
    if team.size == 1:
        return Run.at(out, name, run_id)
    run = DistributedRun.at(out, name, run_id)
    run.team = team
    return run
