"""The base line of examples in context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from prunekit.experiment.baselines.base import Answers, BaseLine, answers_to, unseen
from prunekit.experiment.prepare import Prepared
from prunekit.models.encoding import text_lengths
from prunekit.models.text_reader import TextReader
from prunekit.support.seeding import generator
from prunekit.support.terminal import Tick
from prunekit.tasks import Example
from prunekit.tasks.example import with_shots

# tokens that are left for an answer in a row that fills the model's window
_FOR_ANSWER = 16


class Shots(BaseLine):
    """Training examples with their answers before the text, `--shots` of them, drawn anew for each seed.

    Each answer has its turn before one comes twice. A row that would be too long has fewer of them.
    """

    seeded = True

    def folder(self, prepared: Prepared) -> str:
        """Another number is another base line of the same run."""
        return f"shots={prepared.experiment.baselines.shots}"

    def label(self, prepared: Prepared) -> str:
        """How people read it."""
        return f"{prepared.experiment.baselines.shots} examples in context"

    def applies(self, prepared: Prepared) -> bool:
        """Where they are asked for and words answer."""
        return prepared.experiment.baselines.shots > 0 and not prepared.model.answers_by_head

    def texts(self, prepared: Prepared) -> int:
        """Its own behind those of the shots."""
        return 1 + prepared.experiment.baselines.shots

    def answers(self, prepared: Prepared, seed: int, tick: Tick = unseen) -> Answers:
        """One pass over both splits, whose texts are several times as long."""
        count, model = prepared.experiment.baselines.shots, prepared.model
        shots = drawn(prepared.splits.train, count, seed, model.reader)
        more = count * model.max_input_tokens
        room = min(model.max_input_tokens + more, model.most_positions - _FOR_ANSWER)
        examples = [*prepared.splits.validation, *prepared.splits.test]
        numbers = _fitting(prepared, examples, shots, room)
        by_example = {id(example): shots[:number] for example, number in zip(examples, numbers, strict=True)}
        facts = {
            "train_examples": [shot.index for shot in shots],
            "rows_with_fewer": sum(number < count for number in numbers),
        }
        return answers_to(prepared, lambda example: with_shots(example, by_example[id(example)]), more, tick, facts)


def drawn(train: Sequence[Example], count: int, seed: int, reader: TextReader) -> list[Example]:
    """Up to `count` training examples, in the order of a random stream, each answer once before one comes twice.

    One that says a special token is passed over: behind others it would be read as that.
    """
    order = torch.randperm(len(train), generator=generator("shots", seed)).tolist()
    times: Counter[str] = Counter()
    ranked = []
    for place, index in enumerate(order):
        answer = train[index].choices[train[index].gold[0]]
        ranked.append((times[answer], place, index))
        times[answer] += 1
    shots: list[Example] = []
    for _, _, index in sorted(ranked):
        (ids,) = reader.ids([train[index].text], plain=False)
        shots += [] if reader.special(ids) or len(shots) == count else [train[index]]
    return shots


def _fitting(prepared: Prepared, examples: Sequence[Example], shots: Sequence[Example], room: int) -> list[int]:
    """How many of the shots each example has room for."""
    numbers = [0] * len(examples)
    options = prepared.model.encoding_options(prepared.task.choices is None)
    waiting = list(range(len(examples)))
    for number in range(len(shots), 0, -1):
        longer = [with_shots(examples[index], shots[:number]) for index in waiting]
        lengths = text_lengths(prepared.model.reader, longer, options)
        for index, length in zip(waiting, lengths, strict=True):
            numbers[index] = number if length <= room else 0
        waiting = [index for index in waiting if not numbers[index]]
    return numbers
