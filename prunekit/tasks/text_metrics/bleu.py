"""BLEU."""

from __future__ import annotations

from typing import Any

from prunekit.tasks.text_metrics.sacrebleu_score import SacreBleuScore


class Bleu(SacreBleuScore):
    """BLEU of the corpus (Papineni et al. 2002) with sacrebleu's defaults: 13a tokens, case kept, smoothed by exp.

    A row leaves ten counts: its length, that of the nearest reference, and the n-grams of one to four words that are
    right and that there are. Figures on E2E are sacrebleu's, not those of the E2E challenge's own script.
    """

    name = "bleu"

    def _made_by(self, metrics: Any) -> Any:
        return metrics.BLEU()
