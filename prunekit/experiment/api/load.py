"""`prunekit.load`: a run or a ticket from disk."""

from __future__ import annotations

from pathlib import Path

from prunekit.experiment.api.run import Run
from prunekit.experiment.api.ticket import Ticket
from prunekit.runs.address import only_stage
from prunekit.runs.paths import SETTINGS
from prunekit.runs.snapshot import Snapshot


def load(path: Path | str, stage: str | None = None) -> Run | Ticket:
    """A run directory as a Run; an address, a ticket file or a finished round's directory as a Ticket.

    Args:
        path: such as "runs/sst2-...", or the address "runs/sst2-...@round=2,seed=1" of a ticket.
        stage: of a run, such as "prune-0123abcd"; None for its one pruning or search, or the dense round where it has
            neither.

    Raises:
        ArtifactError: where the path is none of these, or damaged.
        ConfigError: where a run has several prunings and searches, naming them.
    """
    folder = Path(path)
    if not (folder / SETTINGS).is_file():
        return Ticket.load(folder)
    return Run(folder, only_stage(Snapshot.open(folder), stage))
