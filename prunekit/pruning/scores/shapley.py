"""Shapley values: a unit's worth, averaged over all that may be kept beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

from prunekit.pruning.scores.base import Evaluate, Level, MeasuredScore, Passes, Probe, Scores, from_levels
from prunekit.pruning.scores.units import cells_of, kept_units
from prunekit.support.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from prunekit.prompts.mask import Mask

#: Orders that are drawn where nothing is said.
PERMUTATIONS = 16


@dataclass(frozen=True)
class ShapleyValues:
    """Shapley values of a prompt's units in the game v(S) = minus the mean loss with only the units S; larger = keep.

    Attributes:
        values: Float[P], or Float[P, K] at level "piece", in units of the loss; 0 for what is dropped already. Their
            sum is `empty` - `full`, up to rounding.
        error: of the same shape, the standard error that drawing permutations leaves; 0 where values are exact. It says
            nothing of how the values would differ on other examples.
        full: mean loss with the whole prompt.
        empty: mean loss without any token.
        permutations: how many orders were drawn; 0 where every subset was looked at and values are exact.
        evaluations: how many subsets went through the model.
    """

    values: Tensor
    error: Tensor
    full: float
    empty: float
    permutations: int
    evaluations: int


class Shapley(MeasuredScore):
    """The mean of what a unit adds to any subset of the others.

    Two tokens that can stand in for each other cost nothing when left out one at a time; here they share their worth.
    """

    name = "shapley"
    label = "Shapley value"
    description = "the mean of what it adds to any part of the rest, measured"
    source = "Shapley (1953); sampled as Castro, Gómez and Tejada (2009)"

    def measure(
        self,
        mask: Mask,
        evaluate: Evaluate,
        level: Level = "token",
        *,
        permutations: int = PERMUTATIONS,
        seed: int = 0,
        tick: Callable[[int], None] = lambda count: None,
    ) -> ShapleyValues:
        """Values of the kept units, by sampled permutations.

        Every drawn order is followed by its reverse (antithetic sampling; Mitchell et al. 2022, JMLR 23(43)): exact
        where units interact by pairs only. The standard error takes such a pair as one draw. A subset that several
        orders pass through is evaluated once. Where looking at every subset takes no more evaluations than the orders
        might, that is done, and values are exact: with 16 permutations, for up to 6 units.

        Args:
            permutations: orders, even, at least 4.
            seed: more permutations of the same seed begin with the same orders.
            tick: called with the subsets done, up to `most_subsets(units, permutations)`.

        Raises:
            ConfigError: for a number of permutations that is odd or below 4.
        """
        if permutations < 4 or permutations % 2:
            raise ConfigError(f"permutations = {permutations}: orders come in pairs; use an even number of at least 4")
        units = kept_units(mask, level)
        cells = cells_of(mask, units)
        count, most = len(cells), most_subsets(len(cells), permutations)
        exact = most == 2**count
        orders = [] if exact else _orders(count, permutations, level, seed)
        subsets = list(range(most)) if exact else sorted({subset for order in orders for subset in _prefixes(order)})
        repeated = most - len(subsets)
        parts = [cells[[bool(subset >> unit & 1) for unit in range(count)]].any(dim=0) for subset in subsets]
        losses, _ = evaluate(parts, lambda count: tick(repeated + count))
        worth = dict(zip(subsets, (-losses.double().mean(dim=1)).tolist(), strict=True))
        zeros = units.double().new_zeros(count)
        values, error = units.double().new_zeros(2, *units.shape)
        values[units], error[units] = _exact(worth, zeros) if exact else _sampled(worth, orders, zeros)
        return ShapleyValues(values, error, -worth[2**count - 1], -worth[0], len(orders), len(subsets))

    def score(self, probe: Probe) -> Scores:
        """Values by `permutations` orders of the ticket's seed."""
        ticket = probe.ticket
        values: dict[Level, Tensor] = {}
        for level in probe.levels:
            values[level] = self.measure(ticket.mask, probe.evaluate, level, seed=ticket.seed).values
        return from_levels(ticket.mask, values, probe.examples)

    def passes(self, units: Sequence[int]) -> Passes:
        """One for each subset, at most."""
        return Passes(forward=sum(most_subsets(count, PERMUTATIONS) for count in units))


def most_subsets(units: int, permutations: int) -> int:
    """How many subsets are evaluated at most: all of them, or what the orders pass through if all differ."""
    return int(min(2**units, permutations * max(units - 1, 0) + 2))


def _orders(units: int, permutations: int, level: Level, seed: int) -> list[list[int]]:
    """Random orders of the units, each followed by its reverse."""
    import torch

    from prunekit.support.seeding import generator

    orders = []
    for pair in range(permutations // 2):
        order = torch.randperm(units, generator=generator("shapley", level, seed, pair)).tolist()
        orders += [order, order[::-1]]
    return orders


def _prefixes(order: Sequence[int]) -> list[int]:
    """The subsets that an order passes through, from none to all; bit u of a subset says that it holds unit u."""
    subsets = [0]
    for unit in order:
        subsets.append(subsets[-1] | 1 << unit)
    return subsets


def _sampled(worth: Mapping[int, float], orders: Sequence[Sequence[int]], zeros: Tensor) -> tuple[Tensor, Tensor]:
    """Values and standard errors [U], from what each unit adds at its turn in each order."""
    gains = zeros.repeat(len(orders), 1)
    for row, order in zip(gains, orders, strict=True):
        passed = zeros.new_tensor([worth[subset] for subset in _prefixes(order)])
        row[list(order)] = passed.diff()
    pairs = gains.unflatten(0, (-1, 2)).mean(dim=1)  # an order and its reverse are not independent
    return pairs.mean(dim=0), pairs.std(dim=0) / len(pairs) ** 0.5


def _exact(worth: Mapping[int, float], zeros: Tensor) -> tuple[Tensor, Tensor]:
    """Values [U] by Shapley's own sum over all subsets, and their error, which is 0."""
    values, units = zeros.clone(), len(zeros)
    for subset, alone in worth.items():
        share = 1 / (units * comb(units - 1, subset.bit_count())) if subset < 2**units - 1 else 0.0
        for unit in range(units):
            if not subset >> unit & 1:
                values[unit] += share * (worth[subset | 1 << unit] - alone)
    return values, zeros
