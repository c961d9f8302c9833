"""At which levels a verb prunes: whole tokens alone, or their pieces too."""

from __future__ import annotations

from prunekit.experiment.settings import Experiment
from prunekit.pruning.scores import Level
from prunekit.support.errors import ConfigError


def pruned_levels(experiment: Experiment, verb: str) -> tuple[Level, ...]:
    """The levels at which `prune`, or `search`, drops anything.

    Raises:
        ConfigError: where the score that prunes does not tell the units of one apart.
    """
    pieces, finder = experiment.prompt.pieces, experiment.pruning.finder
    if experiment.unit(verb) == "directions" and not finder.of_directions:
        asked = "grid = rank" if verb == "search" else "keep_rank"
        raise ConfigError(
            f"score = {experiment.pruning.finder_name} is of tokens, and {asked} prunes directions; use another score"
        )
    if verb == "search":
        drops, whole = experiment.search.grid not in ("token", "rank"), "--grid token"
    else:
        drops, whole = any(keep.pieces < pieces for keep in experiment.keeps()), "--keep-pieces 1.0"
    if drops and "piece" not in finder.levels:
        raise ConfigError(
            f"score = {experiment.pruning.finder_name} does not tell the pieces of a token apart; keep all of them "
            f"({whole}), or use another score"
        )
    return ("token", "piece") if drops else ("token",)
