"""Start at the embeddings of words that the user writes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prunekit.prompts.init.source import Embed, Initialiser, Source, embedded
from prunekit.support.errors import ConfigError


def start(source: Source) -> Initialiser:
    """`from_text`, of `init_text`.

    Raises:
        ConfigError: where there is none.
    """
    if source.text is None:
        raise ConfigError(
            'init = "text" needs --init-text, the words to start from, or an instruction in the task file'
        )
    return from_text(source.embed, source.tokenize(source.text))


def from_text(embed: Embed, ids: Sequence[int]) -> Initialiser:
    """Embeddings of a text's tokens, repeated or cut to P.

    A text shorter than P repeats rows, so the start has at most as many distinct rows as the text has tokens.

    Raises:
        ConfigError: where the text has no token.
    """
    if not ids:
        raise ConfigError("init_text holds no token; write some words")

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        return embedded(embed, [ids[index % len(ids)] for index in range(shape[0])])

    return draw
