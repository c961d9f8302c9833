"""Start at the embeddings of the task's answers (Lester et al. 2021, section 3.2: class labels)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prunekit.prompts.init import vocabulary
from prunekit.prompts.init.source import Embed, Initialiser, Source, embedded
from prunekit.support.errors import ConfigError


def start(source: Source) -> Initialiser:
    """`from_labels` of the task's fixed answers, the other rows from the vocabulary.

    Raises:
        ConfigError: where each example has answers of its own.
    """
    if source.answers is None:
        raise ConfigError(f'init = "labels": the answers of task "{source.task}" differ per example')
    others = vocabulary.start(source)
    return from_labels(source.embed, [source.tokenize(word) for word in source.answers], others)


def from_labels(embed: Embed, labels: Sequence[Sequence[int]], others: Initialiser) -> Initialiser:
    """One row per label word (mean over its tokens), the other rows from `others`.

    Args:
        labels: token ids of each word.
    """

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        values = others(generator, shape)
        for row, ids in enumerate(labels[: shape[0]]):
            values[row] = embedded(embed, ids).mean(dim=0)
        return values

    return draw
