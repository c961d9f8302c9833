"""Every name in a run directory: its files, its stages, and where its rounds lie."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prunekit.pruning.schedule import Keep

SETTINGS = "experiment.toml"
ENVIRONMENT = "environment.json"
RESULTS = "results.parquet"
JOURNAL = "journal.json"
#: Of the cohort that is in training, until its round is there.
TRAINING = "training.safetensors"
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
WORDS = "words.parquet"
FACTS = "facts.json"

#: Event files of `--track tensorboard`, in folders named after the rounds that they show.
TRACKED = "tensorboard"

# what lies at a run's root: its files, its stages, and the seeds of the dense round
_FILES = (SETTINGS, ENVIRONMENT, RESULTS, JOURNAL, TRAINING, ".lock", ".holder")
_FOLDERS = re.compile(r"seed=\d+|untrained|baselines|rates|(?:prune|search|score|rates|eval)-[0-9a-f]+")

_KEY = re.compile(r"(?:(?P<stage>.+)/)?seed=(?P<seed>\d+)/round=(?P<round>\d+)")
_GRID = "grid/"
_SCORED = "scored"


def is_of_run(name: str) -> bool:
    """Whether a name at a run's root is one that prunekit gives; others are the user's own."""
    return name in _FILES or _FOLDERS.fullmatch(name) is not None


#: The verbs whose stages hold tickets of a pruned prompt.
PRUNING_VERBS = ("prune", "search")


class Stage(str):
    """What a round belongs to, which is also the folder that it lies in: text such as "prune-1a2b/random".

    "" is the dense round that all verbs share; "untrained" the base line, a prompt that stays at its start;
    "baselines/no-prompt" one that has no prompt at all;
    "prune-1a2b" and "search-1a2b" hold the tickets of one pruning or search, with a control or a trial of the search in
    a folder inside; "score-1a2b/prune-3c4d" what `prunekit score` measured of the prompts of prune-3c4d;
    "prune-1a2b/scored" the scores that it prunes by, where they are not among those that every round writes;
    "rates/rate=0.1" the trainings at one learning rate.
    """

    __slots__ = ()

    @classmethod
    def of(cls, verb: str, digest: str) -> Stage:
        """The stage of a verb whose settings have this digest."""
        return cls(f"{verb}-{digest}")

    def inside(self, name: str) -> Stage:
        """What lies in a folder of this stage: a control, or of a scoring another stage; "" is the stage itself."""
        return Stage("/".join(filter(None, (self, name))))

    def trial(self, keep: Keep) -> Stage:
        """What this search tried with so much kept."""
        return self.inside(f"{_GRID}{keep.name}")

    @property
    def scored(self) -> Stage:
        """Where the scores lie by which this pruning or search prunes, if rounds do not write them anyway."""
        return self.inside(_SCORED)

    @property
    def top(self) -> Stage:
        """The stage without what lies inside: its folder at the run's root."""
        return Stage(self.partition("/")[0])

    @property
    def arm(self) -> str:
        """What lies inside: a control's name, or "" for the tickets themselves."""
        return self.partition("/")[2]

    @property
    def measured(self) -> Stage:
        """Of a scoring: the stage whose prompts were measured."""
        return Stage(self.arm)

    @property
    def verb(self) -> str:
        """Which verb made it: "prune", "search", "score", "rates" or "untrained"; "" of the dense round."""
        return self.top.partition("-")[0]

    @property
    def is_dense(self) -> bool:
        """Whether it is the dense round that all verbs share."""
        return not self

    @property
    def is_pruned(self) -> bool:
        """Whether a pruning or a search made it."""
        return self.verb in PRUNING_VERBS

    @property
    def is_chosen_rate(self) -> bool:
        """Whether it holds the tickets of the learning rate that `compare` chose, which have no dense round."""
        return self.startswith("rates-")

    @property
    def is_trial(self) -> bool:
        """Whether it is one of the ratios that a search tried."""
        return is_trial(self.arm)


DENSE = Stage()
UNTRAINED = Stage("untrained")
#: Base lines that are no tickets lie inside, such as "baselines/no-prompt".
BASELINES = Stage("baselines")


def is_trial(arm: str) -> bool:
    """Whether an entry of the column `arm` is one of the ratios that a search tried."""
    return arm.startswith(_GRID)


class _RunKey(NamedTuple):
    stage: Stage
    seed: int
    round: int


class RunKey(_RunKey):
    """Where one member's round lies in a run.

    Attributes:
        stage: what the round belongs to; a string will do.
        seed: of the member.
        round: 0 is dense.
    """

    __slots__ = ()

    def __new__(cls, stage: str, seed: int, round: int) -> RunKey:
        """A key whose stage is a `Stage`."""
        return super().__new__(cls, Stage(stage), seed, round)

    def __str__(self) -> str:
        return f"{self.stage}/seed={self.seed}/round={self.round:02d}".lstrip("/")

    @classmethod
    def parse(cls, path: Path) -> RunKey:
        """The key of a path inside a run.

        Raises:
            ValueError: where it is none.
        """
        parts = _KEY.fullmatch(path.as_posix())
        if parts is None:
            raise ValueError(f"{path} is not the place of a round")
        return cls(parts["stage"] or "", int(parts["seed"]), int(parts["round"]))
