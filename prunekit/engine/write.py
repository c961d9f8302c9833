"""What the members of a cohort write to open questions, as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prunekit.models import Encoded, FrozenModel, PromptBatch
from prunekit.models.batch import Ids
from prunekit.models.generation import generate
from prunekit.tasks.decoding import Decoding

#: Why an answer ends: the model's own end, a stop text of the task, or the most tokens there may be.
Ending = Literal["end", "stop", "length"]

# rows that are written behind at once (members x examples): a step costs about as much for one as for all, and each
# keeps keys and values of its whole text
_ROWS = 48


@dataclass(frozen=True)
class Written:
    """An answer.

    Attributes:
        text: without special tokens, stop text, and blanks around it.
        ids: the tokens that were written, the end included.
        ended: why there are no more of them.
    """

    text: str
    ids: Ids
    ended: Ending


def write(
    prompts: PromptBatch,
    model: FrozenModel,
    examples: Sequence[Encoded],
    decoding: Decoding,
    tick: Callable[[int], None] = lambda completed: None,
) -> list[list[Written]]:
    """Every member's answer [S][N] to all examples, in the given order; batches are cut by length.

    Args:
        tick: called with the examples that are answered.

    Raises:
        ConfigError: where the model cannot write.
    """
    batches = cut(examples, prompts.members)
    return in_order([write_batches(prompts, model, examples, batches, decoding, tick)], len(examples))


def write_batches(
    prompts: PromptBatch,
    model: FrozenModel,
    examples: Sequence[Encoded],
    batches: Sequence[Sequence[int]],
    decoding: Decoding,
    tick: Callable[[int], None] = lambda completed: None,
) -> list[dict[int, Written]]:
    """Every member's answers [S] to the examples of some batches, by their places among all examples.

    Where tokens are drawn, a text's draws are its own: whoever writes behind it comes to the same.
    """
    answers: list[dict[int, Written]] = [{} for _ in range(prompts.members)]
    completed = 0
    for indices in batches:
        rows = generate(model, prompts, [examples[index].text for index in indices], decoding)
        for member, ids in zip(answers, rows, strict=True):
            member |= dict(zip(indices, (_as_text(model, row, decoding) for row in ids), strict=True))
        completed += len(indices)
        tick(completed)
    return answers


def in_order(parts: Sequence[Sequence[Mapping[int, Written]]], examples: int) -> list[list[Written]]:
    """Every member's answers [S][N] in the order of the examples, of parts as `write_batches` hands them out."""
    members = [
        {place: text for part in of_member for place, text in part.items()} for of_member in zip(*parts, strict=True)
    ]
    return [[member[index] for index in range(examples)] for member in members]


def cut(examples: Sequence[Encoded], members: int) -> list[list[int]]:
    """Places of all examples, in batches of like length that a cohort of so many members writes at once."""
    order = sorted(range(len(examples)), key=lambda index: (len(examples[index].text), index))
    size = max(1, _ROWS // members)
    return [order[start : start + size] for start in range(0, len(order), size)]


def _as_text(model: FrozenModel, ids: Ids, decoding: Decoding) -> Written:
    text, stopped = decoding.cut(model.reader.written(ids))
    return Written(text, ids, "stop" if stopped else "end" if ids and ids[-1] in model.end_ids else "length")
