"""What a prompt loses without some of its tokens or pieces, measured and not estimated.

`leave_one_out` removes one unit from the whole prompt: the ground truth of what pruning it alone would do. `shapley`
averages a unit's worth over all that may be kept beside it: two tokens that can stand in for each other cost nothing
one at a time, and share their worth here.

A *unit* is a kept token, or at level "piece" a kept cell (one piece of one token). A token whose last piece is left
out goes with it. What stands in a left-out token's place is the ticket's own `dropped_as`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import Literal

import torch
from torch import Tensor

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.models import Encoded, FrozenModel
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator

Level = Literal["token", "piece"]

# Ablations that go through the model side by side. evaluate() cuts batches of about 128 rows (members x examples x
# rows per example): of 64 ablations a batch still holds two examples, while a cohort of all 320 pieces of a dense
# prompt would make every batch wider than that, and hold 320 copies of the prompt.
_WIDTH = 64


@dataclass(frozen=True)
class Ablated:
    """What leaving out each unit does to each of N examples.

    Attributes:
        losses: Float[N], of the whole prompt.
        chosen: Int[N], the place of the choice it ranks best.
        without_losses: Float[P, N], or Float[P, K, N] at level "piece": the same without that token or piece.
        without_chosen: Int of the same shape. Where nothing was left out (the unit is dropped already, or was not asked
            for) `without_*` equals the whole's.
    """

    losses: Tensor
    chosen: Tensor
    without_losses: Tensor
    without_chosen: Tensor

    @property
    def costs(self) -> Tensor:
        """Float[P, N] or Float[P, K, N]: loss without the unit less loss with all; negative where it does harm."""
        return self.without_losses - self.losses


@dataclass(frozen=True)
class Shapley:
    """Shapley values of a prompt's units in the game v(S) = minus the mean loss with only the units S; larger = keep.

    Attributes:
        values: Float[P], or Float[P, K] at level "piece", in units of the loss; 0 for what is dropped already. Their
            sum is `empty` - `full`, up to rounding.
        error: of the same shape, the standard error that drawing permutations leaves; 0 where values are exact. It says
            nothing of how the values would differ on other examples.
        full: mean loss with the whole prompt, and with no token.
        empty: mean loss with the whole prompt, and with no token.
        permutations: how many orders were drawn; 0 where every subset was looked at and values are exact.
        evaluations: how many subsets went through the model.
    """

    values: Tensor
    error: Tensor
    full: float
    empty: float
    permutations: int
    evaluations: int


def leave_one_out(
    ticket: Ticket,
    model: FrozenModel,
    examples: Sequence[Encoded],
    level: Level = "token",
    *,
    only: Tensor | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Ablated:
    """What leaving out each kept token, or each kept piece of each kept token, does to each example, exactly.

    Args:
        only: Bool[P], or Bool[P, K] at level "piece": the units to leave out, all by default.
        tick: called with the ablations done; there are as many as units.
    """
    flags = _kept(ticket.mask, level)
    flags = flags if only is None else flags & only
    masks = [_masked(ticket.mask.piece & ~cells) for cells in _units(ticket.mask, flags)]
    losses, chosen = (whole[0] for whole in _judged(ticket, [ticket.mask], model, examples))
    without = _judged(ticket, masks, model, examples, tick)
    tables = []
    for whole, found in zip((losses, chosen), without, strict=True):
        table = whole.repeat(*flags.shape, 1)
        table[flags] = found
        tables.append(table)
    return Ablated(losses, chosen, *tables)


def shapley(
    ticket: Ticket,
    model: FrozenModel,
    examples: Sequence[Encoded],
    *,
    permutations: int = 16,
    level: Level = "token",
    seed: int = 0,
    tick: Callable[[int], None] = lambda done: None,
) -> Shapley:
    """Shapley values of the kept units, by sampled permutations (Castro, Gómez and Tejada 2009).

    Every drawn order is followed by its reverse (antithetic sampling; Mitchell et al. 2022, JMLR 23(43)): exact where
    units interact by pairs only. The standard error takes such a pair as one draw. A subset that several orders pass
    through is evaluated once. Where looking at every subset takes no more evaluations than the orders might, that is
    done, and values are exact: with 16 permutations, for up to 6 units.

    Args:
        permutations: orders, even, at least 4.
        seed: more permutations of the same seed begin with the same orders.
        tick: called with the subsets done, up to `most_subsets(units, permutations)`.

    Raises:
        ConfigError: for a number of permutations that is odd or below 4.
    """
    if permutations < 4 or permutations % 2:
        raise ConfigError(f"permutations = {permutations}: orders come in pairs; use an even number of at least 4")
    flags = _kept(ticket.mask, level)
    units = _units(ticket.mask, flags)
    count = len(units)
    most = most_subsets(count, permutations)
    exact = most == 2**count
    orders = [] if exact else _orders(count, permutations, level, seed)
    subsets = list(range(most)) if exact else sorted({subset for order in orders for subset in _prefixes(order)})
    seen_again = most - len(subsets)
    masks = [_masked(units[[bool(subset >> unit & 1) for unit in range(count)]].any(dim=0)) for subset in subsets]
    losses, _ = _judged(ticket, masks, model, examples, lambda done: tick(seen_again + done))
    worth = dict(zip(subsets, (-losses.double().mean(dim=1)).tolist(), strict=True))
    found = _exact(worth, count) if exact else _sampled(worth, orders)
    values, error = torch.zeros(2, *flags.shape, dtype=torch.float64)
    values[flags], error[flags] = found
    return Shapley(values, error, -worth[2**count - 1], -worth[0], len(orders), len(subsets))


def most_subsets(units: int, permutations: int) -> int:
    """How many subsets `shapley` evaluates at most: all of them, or what its orders pass through if all differ."""
    return int(min(2**units, permutations * max(units - 1, 0) + 2))


def _judged(
    ticket: Ticket,
    masks: Sequence[Mask],
    model: FrozenModel,
    examples: Sequence[Encoded],
    tick: Callable[[int], None] = lambda done: None,
) -> tuple[Tensor, Tensor]:
    """Losses and chosen [M, N] of one ticket under M masks, in cohorts of equally many tokens.

    Equally many, so that no member is padded: padding takes time, and some models refuse to share a batch with it.
    """
    losses = torch.empty(len(masks), len(examples))
    chosen = torch.empty(len(masks), len(examples), dtype=torch.long)
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, mask in enumerate(masks):
        by_length[mask.tokens].append(place)
    done = 0
    for places in by_length.values():
        for start in range(0, len(places), _WIDTH):
            some = places[start : start + _WIDTH]
            members = [Member(replace(ticket, mask=masks[place]), model.device) for place in some]
            with torch.no_grad():
                found = evaluate(prompt_batch(members), model, examples)
            losses[some], chosen[some] = found.losses, found.chosen
            done += len(some)
            tick(done)
    return losses, chosen


def _kept(mask: Mask, level: Level) -> Tensor:
    """Bool[P] or Bool[P, K], the units there are."""
    return mask.token if level == "token" else mask.piece


def _units(mask: Mask, flags: Tensor) -> Tensor:
    """Bool[U, P, K]: the kept cells of each of the U units that are True in `flags`, in the order of flags' entries."""
    cells = torch.zeros(int(flags.sum()), *mask.piece.shape, dtype=torch.bool)
    for unit, place in enumerate(flags.nonzero().tolist()):
        cells[(unit, *place)] = True
    return cells & mask.piece


def _masked(cells: Tensor) -> Mask:
    """The mask of these cells [P, K]; a token without a piece is dropped."""
    return Mask(cells.any(dim=1), cells)


def _orders(units: int, permutations: int, level: Level, seed: int) -> list[list[int]]:
    """Random orders of the units, each followed by its reverse."""
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


def _sampled(worth: Mapping[int, float], orders: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Values and standard errors [U], from what each unit adds where it stands in each order."""
    gains = torch.zeros(len(orders), len(orders[0]), dtype=torch.float64)
    for row, order in zip(gains, orders, strict=True):
        passed = torch.tensor([worth[subset] for subset in _prefixes(order)], dtype=torch.float64)
        row[list(order)] = passed.diff()
    pairs = gains.unflatten(0, (-1, 2)).mean(dim=1)  # an order and its reverse are not independent
    return pairs.mean(dim=0), pairs.std(dim=0) / len(pairs) ** 0.5


def _exact(worth: Mapping[int, float], units: int) -> tuple[Tensor, Tensor]:
    """Values [U] by Shapley's own sum over all subsets, and their error, which is 0."""
    values = torch.zeros(units, dtype=torch.float64)
    for subset, alone in worth.items():
        share = 1 / (units * comb(units - 1, subset.bit_count())) if subset < 2**units - 1 else 0.0
        for unit in range(units):
            if not subset >> unit & 1:
                values[unit] += share * (worth[subset | 1 << unit] - alone)
    return values, torch.zeros_like(values)
