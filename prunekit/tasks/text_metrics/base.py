"""What a metric of written answers is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TextMetric(ABC):
    """How a written answer is judged by its references.

    A row is judged once and leaves k numbers; the metric of any selection of rows (a bootstrap's draw, all but one)
    is `total` of theirs, without the texts.

    Attributes:
        name: its key in task files.
        bounds: the least and the most that it can be.
        mean: whether it is the mean of the rows' first number; else the rows' numbers are what a corpus score sums.
    """

    name: str
    bounds: tuple[float, float] = (0.0, 1.0)
    mean: bool = True

    @abstractmethod
    def row(self, answer: str, references: Sequence[str]) -> tuple[float, ...]:
        """What a row adds: its value, or the sufficient statistics of a corpus score; k numbers.

        Args:
            answer: as it was written.
            references: at least one; the answer is judged by the best of them, or by all where a corpus score is.

        Raises:
            ConfigError: where the library that judges is not installed.
        """

    def total(self, rows: NDArray[np.float64]) -> float:
        """The metric of [N, k] rows; the mean of their first numbers, whatever their order."""
        return fmean(rows[:, 0].tolist())

    def signature(self) -> str:
        """The library, its version and settings, to be printed beside a value; empty where the code is prunekit's."""
        return ""
