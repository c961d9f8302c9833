"""Start at the embeddings of words drawn at random from the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prunekit.prompts.init.source import Embed, Initialiser, Source, embedded
from prunekit.support.errors import ConfigError


def start(source: Source) -> Initialiser:
    """`from_vocabulary`, of the model's ordinary words."""
    return from_vocabulary(source.embed, source.ordinary_ids())


def from_vocabulary(embed: Embed, ids: Sequence[int]) -> Initialiser:
    """Embeddings of tokens drawn without replacement from `ids` (with, where the prompt is longer than `ids`).

    Raises:
        ConfigError: where there is no id.
    """
    if not ids:
        raise ConfigError("the vocabulary to sample a prompt from is empty; use init = 'uniform'")

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        repeats = -(-shape[0] // len(ids))
        chosen = torch.cat([torch.randperm(len(ids), generator=generator) for _ in range(repeats)])[: shape[0]]
        return embedded(embed, [ids[index] for index in chosen.tolist()])

    return draw
