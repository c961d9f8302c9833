"""Every study there is, in the order of the front page."""

from __future__ import annotations

from pathlib import Path

from analyses.studies import (
    family,
    lm_harmful,
    lm_pruning,
    lm_rank,
    negative_tokens,
    pruning_helps,
    rank_low,
    real_tickets,
    real_transfer,
    scores_know,
    transfer,
)
from analyses.studies.study import Study
from prunekit.support.errors import ConfigError, nearest

#: Where the front page and the studies' folders lie.
HERE = Path(__file__).parent

STUDIES: tuple[Study, ...] = (
    negative_tokens.STUDY,
    lm_harmful.STUDY,
    pruning_helps.STUDY,
    lm_pruning.STUDY,
    real_tickets.STUDY,
    scores_know.STUDY,
    rank_low.STUDY,
    lm_rank.STUDY,
    family.STUDY,
    transfer.STUDY,
    real_transfer.STUDY,
)


def named(name: str) -> Study:
    """A study by its name.

    Raises:
        ConfigError: where there is none of that name.
    """
    names = [study.name for study in STUDIES]
    if name not in names:
        raise ConfigError(f"no study {name}: {nearest(name, names)}")
    return STUDIES[names.index(name)]
