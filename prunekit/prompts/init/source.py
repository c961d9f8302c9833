"""What an initialiser is, and what it may start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from prunekit.prompts.init import Init

#: From a generator and a shape (P, H) to starting values [P, H], on the CPU in float32.
Initialiser = Callable[[torch.Generator, tuple[int, int]], Tensor]
#: From token ids [N] to vectors [N, H]: the model's own embedding module, never its weight table, since some models
#: scale inside the module (Gemma).
Embed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Source:
    """What the model and the task offer an initialiser.

    Attributes:
        embed: ids [N] to vectors [N, H].
        ordinary_ids: ids of the vocabulary that stand for words, special tokens left out.
        tokenize: a text to its ids, without special tokens.
        text: the words of `init_text`, where given.
        answers: the task's fixed answers; None where each example has its own.
        task: its name, for messages.
    """

    embed: Embed
    ordinary_ids: Callable[[], Sequence[int]]
    tokenize: Callable[[str], list[int]]
    text: str | None = None
    answers: Sequence[str] | None = None
    task: str = ""


def build(name: Init, source: Source) -> Initialiser:
    """The initialiser of a name in `INITIALISERS`.

    Raises:
        ConfigError: where the source lacks what it needs.
    """
    initialiser: Initialiser = import_module(f"prunekit.prompts.init.{name}").start(source)
    return initialiser


def embedded(embed: Embed, ids: Sequence[int]) -> Tensor:
    """The vectors [N, H] of token ids, on the CPU in float32."""
    with torch.no_grad():
        return embed(torch.tensor(ids)).detach().to(device="cpu", dtype=torch.float32)
