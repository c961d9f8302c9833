"""The three splits of an experiment: `train` fits, `validation` chooses, `test` is looked at once per ticket.

`test` is the last split of the data that has labels. `validation` is the data's own where that is another one; else it
is carved from train. Rows of train whose text also occurs in test stay where they are (a few official splits have
some), but no such row is carved into validation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from prunekit.support.errors import ConfigError, DataError, nearest
from prunekit.tasks import fields
from prunekit.tasks.example import Example
from prunekit.tasks.hub import read_hub
from prunekit.tasks.rows import Source, read_folder, read_jsonl
from prunekit.tasks.task import Task
from prunekit.tasks.testbed_tasks import read_testbed
from prunekit.tasks.transforms import flat_rows

# by which word the answers of a split are dealt out: that of the first runs, so that they fall as they did
_SHUFFLED_AS = {"train": "train", "validation": "selection"}
CARVED = 0.2  # share of train that becomes validation, and never more than half


@dataclass(frozen=True)
class Splits:
    """The examples of an experiment.

    Attributes:
        origin: split -> which file or Hub split its rows came from and how many were taken.
        digest: sha256 of the texts, choices, gold and groups of all three, in order.
        commit: of the Hub's repository that they are from, if they are from there.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    origin: dict[str, str]
    digest: str
    commit: str | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """How many examples each has."""
        return {name: len(examples) for name, examples in self.parts.items()}

    @property
    def parts(self) -> dict[str, tuple[Example, ...]]:
        """The three by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True)
class _Part:
    origin: str
    examples: list[Example]


def load_splits(
    task: Task,
    *,
    data: str | None,
    revision: str | None = None,
    train_examples: int | None,
    validation_examples: int | None,
    test_examples: int | None = None,
    data_seed: int = 0,
    labels: Literal["given", "shuffled"] = "given",
) -> Splits:
    """The splits of a task from a local folder, the task's default folder, or the Hub, in this order.

    A subset is drawn in the order of a hash of the seed, text and index, whatever the training seed, and keeps the
    original order. Of train, examples are drawn; of the other two, whole groups while they fit (a MultiRC question is
    judged by all its answers). Where more are asked than there are, all are used, and `origin` says so.

    Args:
        task: what the rows mean.
        data: folder of {train,validation,test}.jsonl; None: the task's own folder or Hub data set.
        revision: commit or tag of the Hub data set.
        train_examples: size of the subset of train; None: all.
        validation_examples: the same of validation.
        test_examples: the same of test.
        data_seed: which subset, and which shuffle.
        labels: "shuffled": the answers of train and of validation, each within its split, are dealt out anew (see
            `_shuffled`), so that a training can find nothing that holds; those of test stay true.

    Raises:
        DataError: on data that cannot be used.
        ConfigError: on settings that cannot work.
    """
    requested = {"train": train_examples, "validation": validation_examples, "test": test_examples}
    for name, number in requested.items():
        if number is not None and number < 1:
            raise ConfigError(f"{name}_examples = {number}: ask for at least 1 example")
    sources = _sources(task, data, revision)
    parts = _assign(task, sources)
    drawn = {name: _draw(part, name, requested[name], data_seed) for name, part in parts.items()}
    if labels == "shuffled":
        drawn |= {name: _shuffled(drawn[name], stream, data_seed) for name, stream in _SHUFFLED_AS.items()}
    train, validation, test = (tuple(drawn[name].examples) for name in ("train", "validation", "test"))
    origin = {name: part.origin for name, part in drawn.items()}
    digest = _digest([train, validation, test])
    return Splits(train, validation, test, origin, digest, sources["train"].commit)


def read_rows(rows: str | Path | Sequence[Mapping[str, Any]], task: Task) -> list[Example]:
    """The examples of unlabelled rows, for prediction; labels that are there are not read.

    Args:
        rows: a JSONL file, or the rows themselves.

    Raises:
        DataError: naming the file and line, or the row.
    """
    if isinstance(rows, str | Path):
        source = read_jsonl(Path(rows))
    else:
        source = Source("rows", [dict(row) for row in rows], [f"row {number}" for number in range(len(rows))])
    return _examples(task, source, labelled=False)


def _sources(task: Task, data: str | None, revision: str | None) -> dict[str, Source]:
    if task.testbed is not None:
        if data or revision:
            raise ConfigError(f'task "{task.name}" makes its own data; leave out the data folder and revision')
        return read_testbed(task.testbed)
    folder = data or task.data
    if folder is not None:
        if revision is not None:
            raise ConfigError(f'revision = "{revision}" is for data of the Hub, but the data is the folder {folder}')
        return read_folder(Path(folder))
    if task.hub is None:
        raise ConfigError(f'task "{task.name}" names no data set: name a folder of JSONL files with --data')
    return read_hub(task.hub, revision)


def _examples(task: Task, source: Source, *, labelled: bool = True) -> list[Example]:
    fields.check_alike(source.rows, source.locations, task.read_fields(labelled=labelled))
    examples: list[Example] = []
    for row, location in zip(source.rows, source.locations, strict=True):
        examples += task.examples(row, len(examples), location, labelled=labelled)
    if not examples:
        raise DataError(f"{source.name}: its rows hold no examples")
    return examples


def _assign(task: Task, sources: dict[str, Source]) -> dict[str, _Part]:
    """Which split is train, validation and test."""
    if "train" not in sources:
        raise DataError(f"there is no train split beside {', '.join(source.name for source in sources.values())}")
    parts = {name: _Part(source.name, _examples(task, source)) for name, source in sources.items()}
    labelled = [name for name, part in parts.items() if _labelled(part)]
    if "train" not in labelled:
        raise DataError(_no_labels(task, sources["train"]))
    held_out = [name for name in ("test", "validation") if name in labelled]
    if not held_out:
        raise DataError("there is no labelled test or validation split to test on; add one to the data")
    train, test = parts["train"], parts[held_out[0]]
    if len(held_out) == 2:
        return {"train": train, "validation": parts[held_out[1]], "test": test}
    remaining, carved = _carve(train, test)
    return {"train": remaining, "validation": carved, "test": test}


def _labelled(part: _Part) -> bool:
    """Whether the examples have labels; some with and some without is a mistake in the data."""
    without = [example for example in part.examples if not example.gold]
    if without and len(without) < len(part.examples):
        raise DataError(
            f"{part.origin}: {len(without)} of {len(part.examples)} examples have no label, "
            f"the first is number {without[0].index}"
        )
    return not without


def _no_labels(task: Task, train: Source) -> str:
    row = next(flat_rows(task.transform, train.rows[0], train.locations[0]))
    if task.label in row:
        return f'{train.name}: every label in the field "{task.label}" is missing or -1'
    return f'{train.name}: no label field "{task.label}"; {nearest(task.label, row)}'


def _carve(train: _Part, test: _Part) -> tuple[_Part, _Part]:
    """Train without, and with only, the rows carved for validation.

    Texts (or whole groups) go over in the order of their sha256 until a fifth of the examples is reached, so equal
    texts stay together, and the choice depends on the texts alone.
    """
    units: dict[str, list[Example]] = {}
    for example in train.examples:
        units.setdefault(example.group or example.text, []).append(example)
    test_texts = {example.text for example in test.examples}
    wanted, most = max(1, round(CARVED * len(train.examples))), len(train.examples) // 2
    taken: set[int] = set()
    for key in sorted(units, key=_sha256):
        unit = units[key]
        if len(taken) + len(unit) <= most and not any(example.text in test_texts for example in unit):
            taken.update(example.index for example in unit)
        if len(taken) >= wanted:
            break
    if not taken:
        raise DataError(
            f"{train.origin}: too few different rows ({len(train.examples)}) to carve a validation split from"
        )
    remaining = [example for example in train.examples if example.index not in taken]
    carved = [example for example in train.examples if example.index in taken]
    return _Part(f"{train.origin} less those carved", remaining), _Part(f"carved from {train.origin} by hash", carved)


def _draw(part: _Part, name: str, number: int | None, seed: int) -> _Part:
    """A part with the examples of its subset, and an origin that says how many."""
    chosen = part.examples if number is None else _subset(part.examples, number, seed, whole=name != "train")
    if not chosen:
        raise ConfigError(f"{name}_examples = {number} is fewer than any group of {part.origin} has; ask for more")
    note = "" if number in (None, len(chosen)) else f" ({number} asked)"
    return _Part(f"{part.origin}: {len(chosen)} of {len(part.examples)} examples{note}", chosen)


def _subset(examples: Sequence[Example], number: int, seed: int, *, whole: bool) -> list[Example]:
    """Up to `number` examples, in their own order; with `whole`, no group in part."""
    units: dict[str, list[Example]] = {}
    for example in examples:
        tied = whole and example.group
        units.setdefault(f"group {example.group}" if tied else f"index {example.index}", []).append(example)
    taken: set[int] = set()
    for unit in sorted(units.values(), key=lambda unit: _sha256(f"{seed}|{unit[0].text}|{unit[0].index}")):
        if len(taken) + len(unit) <= number:
            taken.update(example.index for example in unit)
    return [example for example in examples if example.index in taken]


def _shuffled(part: _Part, stream: str, seed: int) -> _Part:
    """A part whose right answers were dealt out anew: a null of training that leaves texts and choices as they are.

    Where all examples have as many choices, their answers are permuted, so that each answer is as frequent as before;
    else each example draws as many right answers as it had from its own choices. Both in the order of a hash of seed,
    stream, text and index.
    """

    def key(example: Example, *more: object) -> str:
        return _sha256("|".join(map(str, (seed, "labels", stream, example.text, example.index, *more))))

    examples = part.examples
    if len({len(example.choices) for example in examples}) == 1:
        golds = [example.gold for example in sorted(examples, key=key)]
    else:
        golds = []
        for example in examples:
            order = sorted(range(len(example.choices)), key=lambda choice: key(example, choice))
            golds.append(tuple(sorted(order[: len(example.gold)])))
    new = [replace(example, gold=gold) for example, gold in zip(examples, golds, strict=True)]
    return _Part(f"{part.origin}, answers shuffled", new)


def _digest(splits: Sequence[Sequence[Example]]) -> str:
    digest = hashlib.sha256()
    for examples in splits:
        content = [(example.text, example.choices, example.gold, example.group) for example in examples]
        digest.update(json.dumps(content, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
