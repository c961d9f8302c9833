"""Which examples each update sees: a function of (seed, round, epoch), so that nothing needs to be remembered.

Batches hold texts of like length, since every row is padded to the longest of its batch. The members of a cohort share
one batch: each has its own examples in it, but whether an update sees short or long texts is the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from prunekit.models import Encoded
from prunekit.support.seeding import generator

# batches that are sorted by length together: at most so many, to save padding ...
_WINDOW = 32
# ... and at most this part of an epoch, or every epoch would cut a sorted set into the same batches
_PART = 4


class Order:
    """The examples of a ticket's updates, a function of its seed and round; the batches of an epoch are cut once."""

    def __init__(self, batch_size: int, seed: int, number: int) -> None:
        self.batch_size, self.seed, self.number = batch_size, seed, number
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def draw(self, examples: Sequence[Encoded], step: int) -> list[Encoded]:
        """The examples of one update."""
        epoch, place = divmod(step, batches_per_epoch(len(examples), self.batch_size))
        if self._epoch[0] != epoch:
            lengths = [example.length for example in examples]
            self._epoch = epoch, epoch_batches(lengths, self.batch_size, self.seed, self.number, epoch)
        return [examples[index] for index in self._epoch[1][place]]


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, number: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch of a member, as indices into `lengths`, each of min(batch_size, N) examples.

    Args:
        lengths: tokens of each of the N examples.
        number: the round.

    What does not fill a batch is left out of the epoch; the permutation is another in every epoch, so that each example
    has its turn.
    """
    size = min(batch_size, len(lengths))
    shuffled = torch.randperm(len(lengths), generator=generator("order", seed, number, epoch)).tolist()
    shuffled = shuffled[: len(lengths) // size * size]
    span = size * min(_WINDOW, max(1, len(shuffled) // size // _PART))
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), span):
        window = sorted(shuffled[start : start + span], key=lengths.__getitem__)
        cut = [window[first : first + size] for first in range(0, len(window), size)]
        # named without the seed: members side by side see short and long texts at the same updates
        order = torch.randperm(len(cut), generator=generator("batches", number, epoch, start)).tolist()
        batches += [cut[number] for number in order]
    return batches


def batches_per_epoch(examples: int, batch_size: int) -> int:
    """Updates in one epoch of N = `examples`."""
    return examples // min(batch_size, examples)
