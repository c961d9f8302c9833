"""The layers and heads of a prefix of keys and values: which piece belongs to which, what leaving one out costs."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import pandas as pd
import torch
from torch import Tensor

from prunekit.support.errors import ConfigError

#: What of all tokens can be left out at once: a layer, a key-value head of a layer, its keys or its values.
Group = Literal["layer", "head", "part"]
GROUPS: tuple[Group, ...] = get_args(Group)
_PARTS = ("key", "value")


class Parts(NamedTuple):
    """What a token of a prefix has: L `layers` of so many key-value `heads`, each a key and a value."""

    layers: int
    heads: int

    def count(self, group: Group) -> int:
        """How many there are of a layer, a head or a part."""
        return {"layer": self.layers, "head": self.layers * self.heads, "part": 2 * self.layers * self.heads}[group]

    def group_of(self, pieces: int) -> Group | None:
        """What K = `pieces` are: the group that has as many; None where they are neither."""
        return next((group for group in GROUPS if self.count(group) == pieces), None)

    def names(self, group: Group) -> pd.DataFrame:
        """Each layer, head or part in the order of a token's numbers.

        Columns:
            layer; head (-1 where it is a whole layer); part ("key", "value", "" where it is both).
        """
        numbers = range(self.count(group))
        each = self.count(group) // self.layers
        heads = [number % each // max(1, each // self.heads) for number in numbers]
        return pd.DataFrame(
            {
                "layer": [number // each for number in numbers],
                "head": [-1] * len(numbers) if group == "layer" else heads,
                "part": [_PARTS[number % 2] if group == "part" else "" for number in numbers],
            }
        )

    def cells(self, group: Group, tokens: int, pieces: int) -> Tensor:
        """Bool[G, P, K], the cells of each layer, head or part in all tokens.

        Raises:
            ConfigError: where pieces are larger than that.
        """
        count = self.count(group)
        if pieces % count:
            raise ConfigError(
                f"--level {group}: the pieces of this ticket (K = {pieces}) are not as small as one of {count} "
                f"{group}s; use --level {self.group_of(pieces) or 'piece'}"
            )
        owner = torch.arange(pieces) // (pieces // count)
        return (owner == torch.arange(count)[:, None])[:, None].expand(-1, tokens, -1)
