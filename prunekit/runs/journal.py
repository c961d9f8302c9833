"""What a run should hold: a small file at its root that names every committed round, so that a lost one is seen.

It is rewritten whole before and after a cohort's round is put in place. Between the two the round is *pending*: as much
of it may be there as there is. No time is in it, so that a resumed run ends in the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from prunekit.runs import checksums
from prunekit.runs.paths import JOURNAL, RunKey
from prunekit.support.errors import ArtifactError

#: Whose a file is: the run's id, and the digest of the machine settings that it began with.
Marks = Mapping[str, str | None]

CURE = "delete it and run the same command again: it is made from the rounds that are there"


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    run: str | None
    made_on: str | None
    rounds: dict[str, str]
    pending: dict[str, str]
    results: str | None
    environment: bool
    sha256: str


@dataclass(frozen=True)
class Journal:
    """The rounds of a run.

    Attributes:
        rounds: committed ones, by place: the digest of its manifest.
        pending: those that were being put in place, alike.
        results: the sha256 of `results.parquet` as it was last written, None before.
        environment: whether there is a record of versions and machine.
    """

    rounds: Mapping[RunKey, str] = field(default_factory=dict)
    pending: Mapping[RunKey, str] = field(default_factory=dict)
    results: str | None = None
    environment: bool = False

    def begun(self, manifests: Mapping[RunKey, str]) -> Journal:
        """With rounds about to be put in place; those that stand there already, the same, are not pending."""
        fresh = {key: digest for key, digest in manifests.items() if self.rounds.get(key) != digest}
        return replace(self, pending={**self.pending, **fresh})

    def ended(self, manifests: Mapping[RunKey, str]) -> Journal:
        """With rounds that are now in place."""
        left = {key: digest for key, digest in self.pending.items() if key not in manifests}
        return replace(self, rounds={**self.rounds, **manifests}, pending=left)

    def allows(self, key: RunKey, digest: str) -> bool:
        """Whether a round with such a manifest may stand at a place."""
        return digest in (self.rounds.get(key), self.pending.get(key))

    def to_bytes(self, marks: Marks) -> bytes:
        """The file's content; marks: whose journal it is."""
        named = {
            "rounds": {str(key): digest for key, digest in self.rounds.items()},
            "pending": {str(key): digest for key, digest in self.pending.items()},
        }
        return checksums.stamped({**marks, **named, "results": self.results, "environment": self.environment})


def read_journal(run: Path) -> tuple[Journal, Marks] | None:
    """The journal of a run directory and whose it is; None where it has none.

    Raises:
        ArtifactError: where it is damaged.
    """
    path = run / JOURNAL
    if not path.is_symlink() and not path.exists():
        return None
    facts = checksums.read_stamped(path, CURE, run)
    try:
        written = _Facts.model_validate(facts)
        journal = Journal(_keys(written.rounds), _keys(written.pending), written.results, written.environment)
    except (ValidationError, ValueError) as error:
        raise ArtifactError(f"{path}: not a journal of this version of prunekit; {CURE}") from error
    return journal, {"run": written.run, "made_on": written.made_on}


def _keys(named: Mapping[str, Any]) -> dict[RunKey, str]:
    return {RunKey.parse(Path(name)): digest for name, digest in named.items()}
