"""The score that knows how the loss bends."""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.pruning.scores.base import Passes, Probe, Score, Scores, from_columns


class SecondOrder(Score):
    """The mean of -dL/dgamma plus half of how that slope bends if all tokens grow: H 1 / 2, one product.

    Were the loss quadratic in gamma, it would be the Shapley value: what two tokens do together is shared equally.
    """

    name = "second-order"
    label = "gradient, second order"
    description = "mean -dL/dgamma + H 1 / 2, by a Hessian-vector product"
    source = "second-order pruning (LeCun et al. 1990), by products as Pearlmutter (1994)"

    def score(self, probe: Probe) -> Scores:
        """Slope and bend at gamma = 1."""
        slopes, bend = probe.curvature()
        return from_columns(bend / 2 - slopes, probe.examples)

    def passes(self, units: Sequence[int]) -> Passes:
        """A pass, one back for the slopes, and about two for the product."""
        return Passes(1, 3)
