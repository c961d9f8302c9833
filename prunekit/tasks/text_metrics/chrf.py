"""chrF."""

from __future__ import annotations

from typing import Any

from prunekit.tasks.text_metrics.sacrebleu_score import SacreBleuScore


class Chrf(SacreBleuScore):
    """chrF2 of the corpus (Popović 2015) with sacrebleu's defaults: one to six letters, no words, blanks left out.

    A row leaves three counts for each length, with the reference that fits it best: the n-grams of the answer, those
    of the reference, and those of both.
    """

    name = "chrf"

    def _made_by(self, metrics: Any) -> Any:
        return metrics.CHRF()
