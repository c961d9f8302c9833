"""What BLEU and chrF have in common: sacrebleu, and a score of the corpus that is of no row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prunekit.support.errors import ConfigError
from prunekit.tasks.text_metrics.base import TextMetric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SacreBleuScore(TextMetric):
    """A corpus score of sacrebleu (Post 2018): counts of matches, summed over rows before anything is divided.

    The counts and what becomes of their sum are sacrebleu's, by the methods that its own bootstrap uses. Rows may have
    unequal numbers of references; sacrebleu itself takes None where a row has fewer than another, and no empty text,
    which it would count as one more reference.
    """

    mean = False

    def row(self, answer: str, references: Sequence[str]) -> tuple[float, ...]:
        """The counts of one answer with all its references."""
        (counts,) = self._scorer._extract_corpus_statistics([answer], [[reference] for reference in references])
        return tuple(map(float, counts))

    def total(self, rows: NDArray[np.float64]) -> float:
        """The corpus score of [N, k] counts, out of 1."""
        sums = [int(count) for count in rows.sum(axis=0)]
        # sacrebleu's BLEU of a perfect corpus is 100 and some rounding
        return min(float(self._scorer._compute_score_from_stats(sums).score) / 100, 1.0)

    def signature(self) -> str:
        """That of sacrebleu, for any number of references."""
        self._scorer.num_refs = -1
        return str(self._scorer.get_signature())

    @cached_property
    def _scorer(self) -> Any:
        try:
            from sacrebleu import metrics
        except ImportError as error:
            raise ConfigError(f'the metric "{self.name}" needs sacrebleu: pip install sacrebleu') from error
        return self._made_by(metrics)

    @abstractmethod
    def _made_by(self, metrics: Any) -> Any:
        """The scorer, of the module `sacrebleu.metrics`."""
