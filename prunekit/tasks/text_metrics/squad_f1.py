"""SQuAD's F1."""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.tasks.text_metrics.base import TextMetric
from prunekit.tasks.text_metrics.words import overlap


class SquadF1(TextMetric):
    """F1 of the bags of normalised words, with the best of the references; 0 where either has no words."""

    name = "squad_f1"

    def row(self, answer: str, references: Sequence[str]) -> tuple[float]:
        """The F1 of one answer."""
        return (max(_f1(answer, reference) for reference in references),)


def _f1(answer: str, reference: str) -> float:
    shared, words, reference_words = overlap(answer, reference)
    if not shared:
        return 0.0
    precision, recall = shared / words, shared / reference_words
    return 2 * precision * recall / (precision + recall)  # in this order, which gives the official script's last digit
