"""The score that follows the prompt from nothing to itself."""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.pruning.scores.base import Passes, Probe, Score, Scores, from_columns


class Integrated(Score):
    """What each token adds to the fall of the loss while all grow from zeros to themselves.

    The integral of the slopes along gamma from 0 to 1. With few nodes it is not complete: the sum over tokens misses
    the loss without the prompt less that with it by `completeness_gap`. Norms make the loss jump where vectors are
    short, so that nodes lie densest there: Gauss's of u in gamma = u ** `bend`.
    """

    name = "integrated"
    label = "gradient, integrated"
    description = "-dL/dgamma along gamma from 0 to 1"
    source = "integrated gradients (Sundararajan et al. 2017)"

    def __init__(self, nodes: int = 8, bend: int = 4) -> None:
        self.nodes, self.bend = nodes, bend

    def score(self, probe: Probe) -> Scores:
        """The integral, by Gauss-Legendre quadrature, and its completeness gap."""
        import torch
        from numpy.polynomial.legendre import leggauss

        parts = []
        for node, weight in zip(*leggauss(self.nodes), strict=True):
            u = (node + 1) / 2
            gamma, stretch = u**self.bend, self.bend * u ** (self.bend - 1)
            parts.append(-weight / 2 * stretch * probe.slopes(gamma=gamma))
        total = torch.stack(parts).sum(dim=0)
        fall = probe.loss(0.0) - probe.loss(1.0)
        facts = {"loss_fall": fall, "completeness_gap": fall - float(total[:, 0].sum())}
        return from_columns(total, probe.examples, facts)

    def passes(self, units: Sequence[int]) -> Passes:
        """As many as nodes, there and back, and two for the gap."""
        return Passes(self.nodes + 2, self.nodes)
