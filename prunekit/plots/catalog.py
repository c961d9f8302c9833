"""Every figure there is, in the order in which a reader wants them."""

from __future__ import annotations

from prunekit.plots import (
    controls,
    cost,
    density_curve,
    functional_rank,
    importance,
    layers_heads,
    learning_curves,
    mask_overlap,
    rank_while_training,
    score_agreement,
    score_histogram,
    search_map,
    spectrum,
    token_map,
    word_map,
)
from prunekit.plots.figure import Figure

FIGURES: tuple[Figure, ...] = (
    density_curve.FIGURE,
    search_map.FIGURE,
    controls.FIGURE,
    learning_curves.FIGURE,
    importance.FIGURE,
    token_map.FIGURE,
    score_histogram.FIGURE,
    score_agreement.FIGURE,
    mask_overlap.FIGURE,
    word_map.FIGURE,
    layers_heads.FIGURE,
    spectrum.FIGURE,
    rank_while_training.FIGURE,
    functional_rank.FIGURE,
    cost.FIGURE,
)
