"""Null keys: what a head that must not see a token finds in its slot, a key that none of its queries looks at.

Such a key points away from every query that the head (or, where a key-value head serves several, any of them) has at
any position up to a length. The shortest one whose product with each query is at most -1 is a least-distance problem
(Lawson and Hanson, "Solving Least Squares Problems", 1974, section 23.4), solved by non-negative least squares. Made
long enough, its score lies so far below the others that the softmax gives it nothing, and its value is zero besides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunekit.export.prefix_tuning import seen_by_head
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.models.queries import LayerQueries
from prunekit.models.rerotation import rotated, turn_back
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError

# how far below a head's other scores its null key's are to lie, in nats, for the queries that it is made from
_DEPTH = 200.0
# the largest part of a head's attention that all its null keys may draw
_SHARE = 1e-8
# of the products that are wanted to be at most -1, what is near enough
_ENOUGH = -0.5
# queries that are added to the problem each time, and how often
_ADDED, _TIMES = 300, 40
# the least cosine between a null key and the queries that it points away from
_LEAST_COSINE = 1e-3


@dataclass(frozen=True)
class NullKeys:
    """The null keys of a ticket.

    Attributes:
        keys: [L, heads, D] float32, zeros where a head sees every token.
        heads: how many need one.
        first: the position at which a text begins.
        text_tokens: how long a text may be for which they hold.
        share: the largest part of any head's attention that they draw, over the queries that they are made from or,
            once `verified`, over others.
    """

    keys: Tensor
    heads: int
    first: int
    text_tokens: int
    share: float

    @property
    def facts(self) -> dict[str, Any]:
        """For the side file."""
        return {"heads": self.heads, "text_tokens": self.text_tokens, "largest_share": self.share}

    @property
    def sentence(self) -> str:
        """For the user."""
        return (
            f"null keys stand for hidden tokens in {self.heads} heads; for texts of up to {self.text_tokens} tokens "
            f"they draw at most {self.share:.1g} of a head's attention over rows of the test split"
        )

    @property
    def positions(self) -> Tensor:
        """Int[n], those at which a query may stand."""
        return torch.arange(self.first, self.first + self.text_tokens)


@dataclass(frozen=True)
class HeadQueries:
    """Every query that one key-value head serves, at every position where it may stand.

    Attributes:
        states: [N, D], turned back to position 0.
        pairs: Int[r / 2, 2], the coordinates that turn together.
        steps: [n, r / 2], by how much they are turned back from each of n positions.
    """

    states: Tensor
    pairs: Tensor
    steps: Tensor

    def closest(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """Of each query the largest product [N] with a key [D], and Int[N], at which of the positions."""
        keys = rotated(key.expand(len(self.steps), -1), self.pairs, self.steps)  # a query stays, the key turns back
        largest: tuple[Tensor, Tensor] = (self.states @ keys.to(self.states.dtype).T).max(dim=1)
        return largest

    def at(self, rows: Tensor, positions: Tensor) -> Tensor:
        """[n, D] float64, queries Int[n] each at the position of an index Int[n]."""
        return rotated(self.states[rows].double(), self.pairs, -self.steps[positions])


def find(
    compact: Ticket, model: PrefixDecoder, queries: Sequence[LayerQueries], first: int, text_tokens: int
) -> NullKeys:
    """The null keys of every head that does not see some slot of a compacted ticket.

    Args:
        queries: of each layer, which the keys are to point away from at all positions.
        first: the position at which a text begins.
        text_tokens: how long it may be.

    Raises:
        ConfigError: naming how many heads of which layers have none.
    """
    needed = (~seen_by_head(compact.mask, model.shape)).any(dim=0)  # [L, heads]
    null_keys = NullKeys(torch.zeros(*needed.shape, model.shape.size), int(needed.sum()), first, text_tokens, 0.0)
    by_head = _by_head(null_keys, model, queries, needed)
    lacking = []
    for (layer, head), head_queries in by_head.items():
        key = separating_key(head_queries)
        if key is None:
            lacking.append((layer, head))
            continue
        nearest = float(head_queries.closest(key)[0].max())
        length = (_DEPTH - float(queries[layer].floor[head])) / (-nearest * queries[layer].scaling)
        null_keys.keys[layer, head] = (length * key).float()
    if lacking:
        raise ConfigError(_lacking(lacking, null_keys.heads))
    return verified(null_keys, compact, model, queries)


def verified(null_keys: NullKeys, compact: Ticket, model: PrefixDecoder, queries: Sequence[LayerQueries]) -> NullKeys:
    """The same null keys, and what part of attention they draw from queries.

    Raises:
        ConfigError: naming the heads where that is more than nothing.
    """
    hidden = (~seen_by_head(compact.mask, model.shape)).sum(dim=0)  # [L, heads]
    shares = {}
    for (layer, head), head_queries in _by_head(null_keys, model, queries, hidden > 0).items():
        nearest = head_queries.closest(null_keys.keys[layer, head])[0].max()
        excess = float(queries[layer].scores(nearest) - queries[layer].floor[head])
        shares[layer, head] = int(hidden[layer, head]) * math.exp(min(excess, 0.0))
    visible = [head for head, share in shares.items() if not share <= _SHARE]
    if visible:
        raise ConfigError(_lacking(visible, null_keys.heads))
    return replace(null_keys, share=max(shares.values()))


def _by_head(
    null_keys: NullKeys, model: PrefixDecoder, queries: Sequence[LayerQueries], needed: Tensor
) -> dict[tuple[int, int], HeadQueries]:
    """The queries of each head that is needed, by layer and head."""
    turn = turn_back(model, 1) or turn_back(model, 0)
    assert turn is not None, "by no position every model turns its keys"
    by_head = {}
    for layer, head in needed.nonzero().tolist():
        angles, of_layer = turn.angles[layer].cpu(), queries[layer]
        states = of_layer.states[:, head]  # [N, G, D]
        states = rotated(states, turn.pairs, angles * of_layer.positions[:, None, None])
        # what does not turn is the same at every position
        positions = null_keys.positions if len(turn.pairs) else null_keys.positions[:1]
        by_head[layer, head] = HeadQueries(states.flatten(0, 1), turn.pairs, angles * positions[:, None])
    return by_head


def separating_key(queries: HeadQueries) -> Tensor | None:
    """[D] float64, a short key whose product with every query at every position is below zero; None where none is.

    Few of the queries decide: those that come closest to a key are added until none comes too close.
    """
    scale = float(queries.states.norm(dim=1).median())
    queries = HeadQueries(queries.states / scale, queries.pairs, queries.steps)
    key, rows = queries.states.new_zeros(queries.states.shape[1], dtype=torch.float64), []
    for _ in range(_TIMES):
        products, positions = queries.closest(key)
        too_close = (products > _ENOUGH).nonzero()[:, 0]
        if len(too_close) == 0:
            return key / scale
        added = too_close[products[too_close].argsort(descending=True)[:_ADDED]]
        rows.append(queries.at(added, positions[added]))
        shortest = _shortest(torch.cat(rows).numpy())
        if shortest is None:
            return None
        key = torch.from_numpy(shortest)
    return None


def _shortest(queries: np.ndarray) -> np.ndarray | None:
    """[D], the shortest key with products of at most -1 with queries [n, D]; None where there is none."""
    from scipy.optimize import nnls

    matrix = np.vstack([-queries.T, np.ones(len(queries))])
    wanted = np.zeros(len(matrix))
    wanted[-1] = 1.0
    try:
        weights, distance = nnls(matrix, wanted)
    except RuntimeError:  # it does not end, as where nothing but rounding parts the queries
        return None
    if distance < _LEAST_COSINE:
        return None
    residual = matrix @ weights - wanted
    key: np.ndarray = -residual[:-1] / residual[-1]
    return key


def _lacking(heads: Sequence[tuple[int, int]], needed: int) -> str:
    by_layer = Counter(layer for layer, _ in heads)
    layers = ", ".join(f"{count} of layer {layer}" for layer, count in sorted(by_layer.items()))
    return (
        f"{len(heads)} of the {needed} heads that do not see some token have no key that all their queries turn away "
        f"from far enough ({layers}), and PEFT shows a token to all heads; use --whole, which exports its kept tokens "
        "whole, as another ticket"
    )
