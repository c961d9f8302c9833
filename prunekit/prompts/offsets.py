"""Adding something to the input embeddings: to real tokens alone, and by their position where that counts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from prunekit.support.errors import ConfigError


def added(embedded: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    """The sum of embedded and offset, both [B, T, H], where mask Bool[B, T] is True; padding comes back bit for bit."""
    return torch.where(mask[..., None], embedded + offset.to(embedded.dtype), embedded)


def added_by_position(embedded: Tensor, table: Tensor, mask: Tensor) -> Tensor:
    """Row i of table [S, H] added to the i-th real token of each row of embedded [B, T, H].

    Positions are counted over the mask, so that padding, on either side, takes none and moves none: the published
    code pads every text to S and adds the table to the padding too, which makes an answer depend on it.

    Raises:
        ConfigError: where a text has more than S tokens.
    """
    position = mask.long().cumsum(dim=-1).sub(1).clamp(min=0)
    if mask.shape[-1] > len(table) and int(position.max()) >= len(table):  # a short enough row is never counted
        raise ConfigError(
            f"an input of {int(position.max()) + 1} tokens is longer than the {len(table)} positions that this prompt "
            "has offsets for; set input_tokens higher, or max_input_tokens lower"
        )
    return added(embedded, F.embedding(position, table), mask)
