"""An update read in parts: rows of like length together, so that little is padded and little is kept at a time.

The gradients of the parts add up to those of the whole batch. A part saves the padding of its shorter rows, and the
activations of all the others; it costs a pass of its own, which on a small model is more than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.models import Encoded, FrozenModel

# What a pass costs beside its arithmetic, as tokens of a model of width H: its weights are read, however few rows there
# are, and layers are started, which small ones feel most. Measured on two cores: 48 on SmolLM2 (H = 576). It is counted
# for every member, since prompts and heads are stacked anew.
_READING, _STARTING = 32, 5_000_000
# from so many passes' worth of tokens on, more rows at once are no quicker; they only take memory
_MOST_PASSES = 20


def in_parts(rows: Sequence[Sequence[Encoded]], model: FrozenModel, prompt_tokens: int) -> list[list[list[Encoded]]]:
    """The M x B examples of an update as parts of M x b, together all of them.

    Args:
        rows: of M members, B of each.
        prompt_tokens: P.
    """
    if model.device.type != "cpu":  # elsewhere the launches of a pass cost more than padding does
        return [list(map(list, rows))]
    by_length = [sorted(member, key=lambda example: (example.length, example.index)) for member in rows]
    columns = list(zip(*by_length, strict=True))
    longest = [max(model.tokens_read(example, prompt_tokens) for example in column) for column in columns]
    sizes = cut_sizes(longest, len(rows), _pass_tokens(model))
    if len(sizes) == 1:
        return [list(map(list, rows))]
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return [[member[end - size : end] for member in by_length] for size, end in zip(sizes, ends, strict=True)]


def cut_sizes(longest: Sequence[int], members: int, pass_tokens: int) -> list[int]:
    """How many of B rows each part takes, so that padding and passes together cost least.

    Args:
        longest: [B] tokens, ascending: a part reads as many in each of its rows as its last one has.
        members: who read so many rows each.
        pass_tokens: what a further part costs a member.
    """
    best: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for end in range(1, len(longest) + 1):
        width = longest[end - 1]
        sizes = (size for size in range(1, end + 1) if size == 1 or _fits(size * width * members, pass_tokens))
        parts = ((best[end - size], size) for size in sizes)
        best.append(min((cost + size * width + pass_tokens, (*cut, size)) for (cost, cut), size in parts))
    return list(best[-1][1])


def most_tokens(model: FrozenModel) -> int:
    """From how many tokens on a pass of a model with more rows is no quicker."""
    return _MOST_PASSES * _pass_tokens(model) if model.device.type == "cpu" else 2**62


def _pass_tokens(model: FrozenModel) -> int:
    return _READING + _STARTING // model.hidden_width**2


def _fits(tokens: int, pass_tokens: int) -> bool:
    return tokens <= _MOST_PASSES * pass_tokens
