"""An update read in parts: rows of like length together, so that little is padded and little is kept at a time.

The gradients of the parts add up to those of the whole batch. A part saves the padding of its shorter rows, and the
activations of all the others; it costs a pass of its own, which on a small model is more than it saves. A prompt that
is read once for all rows of a pass is read once for every part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prunekit.models import Encoded, FrozenModel

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
    sizes = cut_sizes(longest, len(rows), model.pass_tokens, lambda size: model.tokens_spared(size, prompt_tokens))
    if len(sizes) == 1:
        return [list(map(list, rows))]
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return [[member[end - size : end] for member in by_length] for size, end in zip(sizes, ends, strict=True)]


def cut_sizes(
    longest: Sequence[int], members: int, pass_tokens: int, spared: Callable[[int], int] = lambda rows: 0
) -> list[int]:
    """How many of B rows each part takes, so that padding and passes together cost least.

    Args:
        longest: [B] tokens, ascending: a part reads as many in each of its rows as its last one has.
        members: who read so many rows each.
        pass_tokens: what a further part costs a member.
        spared: by how many tokens a part of so many rows is cheaper for a member than its rows.
    """
    best: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    for end in range(1, len(longest) + 1):
        tokens = {size: size * longest[end - 1] - spared(size) for size in range(1, end + 1)}
        sizes = (size for size in tokens if size == 1 or _fits(tokens[size] * members, pass_tokens))
        parts = ((best[end - size], size) for size in sizes)
        best.append(min((cost + tokens[size] + pass_tokens, (*cut, size)) for (cost, cut), size in parts))
    return list(best[-1][1])


def most_tokens(model: FrozenModel) -> int:
    """From how many tokens on a pass of a model with more rows is no quicker."""
    return _MOST_PASSES * model.pass_tokens if model.device.type == "cpu" else 2**62


def _fits(tokens: int, pass_tokens: int) -> bool:
    return tokens <= _MOST_PASSES * pass_tokens
