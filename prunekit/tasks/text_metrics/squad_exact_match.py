"""SQuAD's exact match."""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.tasks.text_metrics.base import TextMetric
from prunekit.tasks.text_metrics.words import normalised


class SquadExactMatch(TextMetric):
    """Whether the normalised answer equals a normalised reference."""

    name = "squad_exact_match"

    def row(self, answer: str, references: Sequence[str]) -> tuple[float]:
        """1 or 0."""
        return (float(normalised(answer) in map(normalised, references)),)
