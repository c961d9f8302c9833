"""Initialisers: functions of (generator, shape) that return starting values [P, H] of a prompt.

`embed` maps token ids [N] to vectors [N, H]; it is the model's own embedding module, never its weight table, since
some models scale inside the module (Gemma).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from prunekit.support.errors import ConfigError

Initialiser = Callable[[torch.Generator, tuple[int, int]], Tensor]
Embed = Callable[[Tensor], Tensor]


def uniform(low: float = -0.5, high: float = 0.5) -> Initialiser:
    """Independent U(low, high) entries (Lester et al. 2021: -0.5 to 0.5)."""

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    return draw


def from_vocabulary(embed: Embed, ids: Sequence[int]) -> Initialiser:
    """Embeddings of tokens drawn without replacement from `ids` (with, where the prompt is longer than `ids`)."""
    if not ids:
        raise ConfigError("the vocabulary to sample a prompt from is empty; use init = 'uniform'")

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        repeats = -(-shape[0] // len(ids))
        chosen = torch.cat([torch.randperm(len(ids), generator=generator) for _ in range(repeats)])[: shape[0]]
        return _embedded(embed, [ids[place] for place in chosen.tolist()])

    return draw


def from_text(embed: Embed, ids: Sequence[int]) -> Initialiser:
    """Embeddings of a text's tokens, repeated or cut to P.

    A text shorter than P repeats rows, so the start has at most as many distinct rows as the text has tokens.
    """
    if not ids:
        raise ConfigError("init_text holds no token; write some words")

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        return _embedded(embed, [ids[place % len(ids)] for place in range(shape[0])])

    return draw


def from_labels(embed: Embed, labels: Sequence[Sequence[int]], rest: Initialiser) -> Initialiser:
    """One row per label word (mean over its tokens), the others from `rest` (Lester et al. 2021, section 3.2).

    Args:
        labels: token ids of each word.
    """

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        values = rest(generator, shape)
        for row, ids in enumerate(labels[: shape[0]]):
            values[row] = _embedded(embed, ids).mean(dim=0)
        return values

    return draw


def from_rows(values: Tensor, keep: Tensor, rest: Initialiser) -> Initialiser:
    """The given rows of values [P, H] where keep Bool[P] is True, the others from `rest`."""

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        return torch.where(keep[:, None], values, rest(generator, shape))

    return draw


def from_array(values: Tensor) -> Initialiser:
    """The given values [P, H] themselves."""

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        if tuple(values.shape) != shape:
            raise ConfigError(f"the given prompt has shape {[*values.shape]}, wanted {list(shape)}")
        return values.clone()

    return draw


def _embedded(embed: Embed, ids: Sequence[int]) -> Tensor:
    with torch.no_grad():
        return embed(torch.tensor(ids)).detach().to(device="cpu", dtype=torch.float32)
