"""What a run of open questions needs of its model and settings."""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.experiment.settings import Experiment
from prunekit.models import FrozenModel
from prunekit.models.generation import check_writes
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example, Task


def check(experiment: Experiment, model: FrozenModel, task: Task, rows: Sequence[Example]) -> None:
    """Refuse open answers that this model cannot write, or that cannot be judged here.

    Args:
        rows: a few, on which the metrics are tried.

    Raises:
        ConfigError: in one line.
    """
    check_writes(model)
    task.row_statistics(rows, [""] * len(rows))  # a metric's package may be missing
    if experiment.pruning.finder.of_choices:
        name = experiment.pruning.finder_name
        raise ConfigError(
            f"score = {name} needs answers to choose among; this task's are written, so use another score"
        )
    most = task.decoding.max_tokens
    apart = model.answer_place(False) == "apart"
    room = model.most_positions - (0 if apart else experiment.prompt.tokens)
    if room <= most:
        where = "" if apart else " beside the prompt"
        raise ConfigError(f"max_target_tokens = {most}: this model has {room} positions{where}; ask for fewer")
    if experiment.pruning.dropped_as == "hide" and model.position == "suffix":
        raise ConfigError(
            "dropped_as = hide: nothing can be written right behind a hidden token; use --dropped-as remove or zero, "
            "or --position first"
        )
