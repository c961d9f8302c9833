"""Every figure there is, in the order in which a reader wants them."""

from __future__ import annotations

from prunekit.plots import (
    controls,
    cost,
    density_curve,
    functional_rank,
    importance,
    mask_overlap,
    rank_while_training,
    score_agreement,
    score_histogram,
    spectrum,
    token_map,
)
from prunekit.plots.picture import Picture

PICTURES: tuple[Picture, ...] = (
    density_curve.PICTURE,
    controls.PICTURE,
    importance.PICTURE,
    token_map.PICTURE,
    score_histogram.PICTURE,
    score_agreement.PICTURE,
    mask_overlap.PICTURE,
    spectrum.PICTURE,
    rank_while_training.PICTURE,
    functional_rank.PICTURE,
    cost.PICTURE,
)
