"""ROUGE."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

from prunekit.support.errors import ConfigError
from prunekit.tasks.text_metrics.base import TextMetric


class Rouge(TextMetric):
    """The F measure of ROUGE-1, ROUGE-2 or ROUGE-L (Lin 2004) by rouge-score, with the best of the references.

    Words are stemmed (Porter), as is usual for SAMSum and XSum. ROUGE-L reads a text as one sequence of words, also
    where it has several lines. rouge-score knows the letters a to z and digits alone; others part words.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def row(self, answer: str, references: Sequence[str]) -> tuple[float]:
        """The F measure of one answer."""
        return (float(self._scorer.score_multi(list(references), answer)[self.name].fmeasure),)

    def signature(self) -> str:
        """The stemmer and the version."""
        return f"rouge-score|stemmer:porter|version:{version('rouge-score')}"

    @cached_property
    def _scorer(self) -> Any:
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError as error:
            raise ConfigError(f'the metric "{self.name}" needs rouge-score: pip install rouge-score') from error
        return RougeScorer([self.name], use_stemmer=True)
