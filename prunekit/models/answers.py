"""What is wrong with answers as token ids: reported before a model is trained on answers it cannot tell apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

from prunekit.models.batch import Ids
from prunekit.models.text_reader import TextReader

# answers that a message names; a row of its own choices may have a hundred
_NAMED = 4


def faults(
    words: Sequence[str], ids: Sequence[Ids], contents: Sequence[Ids], reader: TextReader, *, by_sum: bool
) -> list[str]:
    """A line for every reason why some answer cannot be read, be told from another or ever be chosen.

    Args:
        words: the C answers as written.
        ids: their tokens, as they are scored.
        contents: of each, the tokens that are more than a blank.
        reader: the tokenizer.
        by_sum: whether choices are ranked by the sum of their tokens' log-probabilities.
    """
    empty = [word for word, content in zip(words, contents, strict=True) if not content]
    unknown = [word for word, content in zip(words, contents, strict=True) if set(content) == {reader.unknown}]
    lines = []
    if empty:
        lines.append(f"{named(empty)}: the model's tokenizer reads nothing of this; use other words")
    if unknown:
        token = reader.token_names((reader.unknown or 0,))[0]
        lines.append(f"{named(unknown)}: unknown to the model's tokenizer ({token}); use words that it knows")
    sound = [pair for pair in zip(ids, words, strict=True) if pair[1] not in {*empty, *unknown}]
    for (first, shorter), (second, longer) in pairwise(sorted(sound)):  # what begins another stands right before it
        if first == second:
            tokens = " ".join(reader.token_names(first))
            lines.append(f"{named([shorter, longer])}: the same tokens ({tokens}); use words that differ to this model")
        elif by_sum and second[: len(first)] == first:
            beginning, ending = (" ".join(reader.token_names(part)) for part in (first, second[len(first) :]))
            lines.append(
                f"{named([shorter])} begins {named([longer])} ({beginning} | {ending}), which by the sum of "
                "log-probabilities can never win; use --ranking mean, or other words"
            )
    return lines


def named(words: Sequence[str]) -> str:
    """Answers in a message, quoted as in a task file."""
    quoted = [json.dumps(word, ensure_ascii=False) for word in words[:_NAMED]]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return f"the answer{'s' if len(words) > 1 else ''} {', '.join(quoted)}{more}"
