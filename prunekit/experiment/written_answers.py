"""What a run of open questions needs of its model and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunekit.models.generation import check_writes
from prunekit.support.errors import ConfigError

if TYPE_CHECKING:
    from prunekit.experiment.prepare import Prepared


def check(prepared: Prepared) -> None:
    """Refuse open answers that this model cannot write, or that cannot be judged here.

    Raises:
        ConfigError: in one line.
    """
    check_writes(prepared.model)
    prepared.task.row_statistics(prepared.splits.validation[:1], [""])  # a metric's package may be missing
    if prepared.experiment.pruning.finder.of_choices:
        name = prepared.experiment.pruning.finder_name
        raise ConfigError(
            f"score = {name} needs answers to choose among; this task's are written, so use another score"
        )
    most = prepared.task.decoding.max_tokens
    apart = prepared.model.answer_place(False) == "apart"
    room = prepared.model.most_positions - (0 if apart else prepared.experiment.prompt.tokens)
    if room <= most:
        where = "" if apart else " beside the prompt"
        raise ConfigError(f"max_target_tokens = {most}: this model has {room} positions{where}; ask for fewer")
    if prepared.experiment.pruning.dropped_as == "hide" and prepared.model.position == "suffix":
        raise ConfigError(
            "dropped_as = hide: nothing can be written right behind a hidden token; use --dropped-as remove or zero, "
            "or --position first"
        )
