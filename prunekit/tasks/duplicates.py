"""Rows that occur in more than one split, and rows of one text that are answered in two ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunekit.tasks.example import Example
from prunekit.tasks.splits import Splits

# (split, other): rows of the split should not occur in the other, which is trained on or chosen by
_PAIRS = (("test", "train"), ("test", "validation"), ("validation", "train"))
_Key = tuple[str, tuple[str, ...]]


def duplicates(splits: Splits) -> dict[str, int]:
    """How many rows of a split are also in another, and how many contradict another row; what is 0 is left out.

    A row is its text and, where they are its own, its choices; its label does not count. Names are such as
    "test in train" and "contradicting".
    """
    keys = {name: [_key(example) for example in examples] for name, examples in splits.parts.items()}
    distinct = {name: set(rows) for name, rows in keys.items()}
    counts = {f"{split} in {other}": sum(key in distinct[other] for key in keys[split]) for split, other in _PAIRS}
    counts["contradicting"] = _contradicting([*splits.train, *splits.validation, *splits.test])
    return {name: count for name, count in counts.items() if count}


def sentences(duplicate_counts: Mapping[str, int], sizes: Mapping[str, int]) -> list[str]:
    """What `duplicates` counted, a line each.

    Args:
        duplicate_counts: its result.
        sizes: how many rows each split has.
    """
    lines = []
    for name, count in duplicate_counts.items():
        split, _, other = name.partition(" in ")
        are = "is" if count == 1 else "are"
        if other:
            lines.append(
                f"{count} of {sizes[split]} {split} rows {are} also in {other} (same text, whatever the label)"
            )
        else:
            lines.append(f"{count} rows have the text of another row and another label")
    return lines


def _contradicting(examples: Sequence[Example]) -> int:
    """Rows whose text some row answers otherwise."""
    answers: dict[_Key, set[tuple[int, ...]]] = {}
    for example in examples:
        answers.setdefault(_key(example), set()).add(example.gold)
    return sum(len(answers[_key(example)]) > 1 for example in examples)


def _key(example: Example) -> _Key:
    return example.text, example.choices
