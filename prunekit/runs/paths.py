"""Every name in a run directory: its files, and the places of its rounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

SETTINGS = "experiment.toml"
ENVIRONMENT = "environment.json"
RESULTS = "results.parquet"
JOURNAL = "journal.json"
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
IMPORTANCE = "importance.parquet"
FACTS = "facts.json"

#: The stage of the base line: a prompt that stays at its start (and, on encoders, a trained head).
UNTRAINED = "untrained"
#: Where the cells of a search lie inside its stage.
GRID = "grid"

#: Event files of `--track tensorboard`, in folders named after the rounds that they show.
TRACKED = "tensorboard"

# what lies at a run's root: its files, its stages, and the seeds of the dense round
_FILES = (SETTINGS, ENVIRONMENT, RESULTS, JOURNAL, ".lock", ".holder")
_FOLDERS = re.compile(r"seed=\d+|untrained|rates|(?:prune|search|score|rates|eval)-[0-9a-f]+")

_PLACE = re.compile(r"(?:(?P<stage>.+)/)?seed=(?P<seed>\d+)/round=(?P<round>\d+)")


def is_of_run(name: str) -> bool:
    """Whether a name at a run's root is one that prunekit gives; others are the user's own."""
    return name in _FILES or _FOLDERS.fullmatch(name) is not None


class RunKey(NamedTuple):
    """Where one member's round lies in a run.

    Attributes:
        stage: "" for the dense round 0 that all verbs share; else a folder such as prune-1a2b, or one inside it for
            another arm of the same stage, such as prune-1a2b/random.
    """

    stage: str
    seed: int
    round: int

    def __str__(self) -> str:
        return f"{self.stage}/seed={self.seed}/round={self.round:02d}".lstrip("/")

    @classmethod
    def parse(cls, path: Path) -> RunKey:
        """The place of a path inside a run.

        Raises:
            ValueError: where it is none.
        """
        found = _PLACE.fullmatch(path.as_posix())
        if found is None:
            raise ValueError(f"{path} is not the place of a round")
        return cls(found["stage"] or "", int(found["seed"]), int(found["round"]))
