"""The very same text."""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.tasks.text_metrics.base import TextMetric


class ExactString(TextMetric):
    """Whether the answer is a reference letter by letter, blanks at the ends aside.

    A choice task judged by generation counts its answers so.
    """

    name = "exact_string"

    def row(self, answer: str, references: Sequence[str]) -> tuple[float]:
        """1 or 0."""
        return (float(answer.strip() in map(str.strip, references)),)
