"""What a search cannot try."""

from __future__ import annotations

from prunekit.experiment.prepare import Prepared, check_directions
from prunekit.experiment.settings import PruningSettings
from prunekit.support.errors import ConfigError


def check_search(prepared: Prepared) -> None:
    """Refuse frozen tokens, targets of `prune`, and ranks of prompts that have no directions to prune.

    Raises:
        ConfigError: with the reason and what to use.
    """
    experiment = prepared.experiment
    if experiment.unit("search") == "directions":
        check_directions(experiment, prepared.model.width, "grid = rank")
        pruning, usual = experiment.pruning, PruningSettings()
        for name in ("keep_tokens", "keep_pieces"):
            if (asked := getattr(pruning, name)) != getattr(usual, name):
                raise ConfigError(f"{name} = {asked}: a search over ranks drops no token or piece; leave it out")
    if frozen := experiment.prompt.frozen_tokens:
        raise ConfigError(f"frozen_tokens = {frozen}: a search tries ratios of all tokens; use prunekit prune")
    if experiment.pruning.keep_rank is not None:
        raise ConfigError("keep_rank: a search tries several ranks itself; leave it out and use --grid rank")
