"""`prunekit.load`: a run or a ticket from disk."""

from __future__ import annotations

from pathlib import Path

from prunekit.experiment.api.run import Run
from prunekit.experiment.api.ticket import Ticket
from prunekit.runs.paths import SETTINGS
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ConfigError


def load(path: Path | str, stage: str | None = None) -> Run | Ticket:
    """A run directory as a Run; a ticket file, or a finished round's directory, as a Ticket.

    Args:
        stage: of a run, such as "prune-0123abcd"; None for its one pruning or search, or the dense round where it has
            neither.

    Raises:
        ArtifactError: where the path is none of these, or damaged.
        ConfigError: where a run has several prunings and searches, naming them.
    """
    folder = Path(path)
    if not (folder / SETTINGS).is_file():
        return Ticket.load(folder)
    directory = Snapshot.open(folder)
    stages = [pruned for pruned in directory.stages() if pruned.is_pruned]
    if stage is not None:
        if stage and stage not in directory.stages():
            raise ConfigError(f"{path}: has no stage {stage}; there are {', '.join(directory.stages())}")
        return Run(folder, stage)
    if len(stages) > 1:
        raise ConfigError(f'{path}: has stages {", ".join(stages)}; choose one, such as load(path, "{stages[0]}")')
    return Run(folder, stages[0] if stages else "")
