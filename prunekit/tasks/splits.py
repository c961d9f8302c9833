"""The three splits of an experiment: `train` fits, `validation` chooses, `test` is looked at once per ticket.

`test` is the last split of the data that has labels. `validation` is the data's own where that is another one; else it
is carved from train, and so is `test` where train alone has labels. Rows of train whose text also occurs in test stay
where they are (a few official splits have some), but no such row is carved into validation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks import fields
from prunekit.tasks.data import Data, read_sources
from prunekit.tasks.example import Example, placeholders
from prunekit.tasks.files import read_file
from prunekit.tasks.in_memory import source_of
from prunekit.tasks.references import with_target
from prunekit.tasks.rows import Source, near_column
from prunekit.tasks.task import Task
from prunekit.tasks.transforms import flat_rows

# by which word the answers of a split are dealt out: that of the first runs, so that they fall as they did
_SHUFFLED_AS = {"train": "train", "validation": "selection"}
CARVED = 0.2  # share of train that becomes test or validation where it is missing, and never more than half
_LESS = " less those carved"
# rows of validation that are judged ten times a round where their number is not given: as many as are trained on,
# within these bounds; all of SST-2's 872 are 8,720 rows a round, where 160 updates of 16 train on 2,560
FEWEST_TO_CHOOSE_BY, MOST_TO_CHOOSE_BY = 128, 512


@dataclass(frozen=True)
class Splits:
    """The examples of an experiment.

    Attributes:
        origin: split -> which file or Hub split its rows came from and how many were taken.
        digest: sha256 of the texts, choices, gold and groups of all three, in order.
        notes: what was set apart for a split that the data does not have, a line each.
        commit: of the Hub's repository that they are from, if they are from there.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    origin: dict[str, str]
    digest: str
    notes: tuple[str, ...] = ()
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


@dataclass(frozen=True)
class _Assigned:
    parts: dict[str, _Part]
    notes: tuple[str, ...] = ()


def load_splits(
    task: Task,
    *,
    data: Data | None,
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
        data: file, folder, Hub data set or rows (see `read_data`); None: the task's own.
        revision: commit or tag of the Hub data set.
        train_examples: size of the subset of train; None: all.
        validation_examples: the same of validation; None: as many as of train, from 128 to 512.
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
    sources = read_sources(task, data, revision)
    assigned = _assign(task, sources)
    parts = assigned.parts
    drawn = {"train": _draw(parts["train"], "train", train_examples, data_seed)}
    if validation_examples is None:
        requested["validation"] = _enough_to_choose_by(len(drawn["train"].examples), parts["validation"])
    drawn |= {name: _draw(parts[name], name, requested[name], data_seed) for name in ("validation", "test")}
    if task.reference == "seed":
        drawn["train"] = _drawn_targets(drawn["train"], data_seed)
    if labels == "shuffled":
        drawn |= {name: _shuffled(drawn[name], stream, data_seed) for name, stream in _SHUFFLED_AS.items()}
    train, validation, test = (tuple(drawn[name].examples) for name in ("train", "validation", "test"))
    origin = {name: part.origin for name, part in drawn.items()}
    digest = _digest([train, validation, test])
    return Splits(train, validation, test, origin, digest, assigned.notes, sources["train"].commit)


def read_rows(rows: Any, task: Task) -> list[Example]:
    """The examples of unlabelled rows, for prediction; labels that are there are not read.

    Args:
        rows: a file of any form that is read, or rows in memory: dicts, a pandas DataFrame or a `datasets.Dataset`;
            of a task that reads one field also a list of texts.

    Raises:
        DataError: naming the file and line, or the row.
    """
    source = read_file(Path(rows)) if isinstance(rows, str | Path) else source_of(_with_fields(rows, task), "rows", "")
    return _examples(task, source.renamed(task.columns, task.text_columns), labelled=False)


def _with_fields(rows: Any, task: Task) -> Any:
    """Texts alone as rows of the one field that the task reads; other rows as they are."""
    if not isinstance(rows, list | tuple) or not rows or not all(isinstance(row, str) for row in rows):
        return rows
    names = task.read_fields(labelled=False)
    if len(names) != 1:
        reads = ", ".join(names) or "several fields"
        raise DataError(
            f'rows: task "{task.name}" reads {reads}; give dicts or a table with these, and not texts alone'
        )
    return [{task.column_of(names[0]): text} for text in rows]


def _examples(task: Task, source: Source, *, labelled: bool = True) -> list[Example]:
    source = source.with_class_names(task.label, task.labels or ())
    fields.check_alike(source.rows, source.locations, task.read_fields(labelled=labelled))
    examples: list[Example] = []
    for row, location in zip(source.rows, source.locations, strict=True):
        examples += task.examples(row, len(examples), location, labelled=labelled)
    if not examples:
        raise DataError(f"{source.name}: its rows hold no examples")
    return examples


def _assign(task: Task, sources: dict[str, Source]) -> _Assigned:
    """Which split is train, validation and test; what is missing is carved from train."""
    if "train" not in sources:
        raise DataError(f"there is no train split beside {', '.join(source.name for source in sources.values())}")
    parts = {name: _Part(source.name, _examples(task, source)) for name, source in sources.items()}
    labelled = [name for name, part in parts.items() if _labelled(part)]
    if "train" not in labelled:
        raise DataError(_no_labels(task, sources["train"]))
    held_out = [name for name in ("test", "validation") if name in labelled]
    train = parts["train"]
    if len(held_out) == 2:
        return _Assigned({"train": train, "validation": parts["validation"], "test": parts["test"]})
    if held_out:
        test, missing = parts[held_out[0]], ["validation"]
    else:
        train, test = _carve(train, _Part("", []))
        missing = ["test", "validation"]
    remaining, carved = _carve(train, test)
    new = {"train": remaining, "validation": carved, "test": test}
    return _Assigned(new, (_carved_note(parts["train"], new, missing),))


def _carved_note(train: _Part, parts: dict[str, _Part], missing: Sequence[str]) -> str:
    sizes = " and ".join(f"{len(parts[name].examples)} for {name}" for name in missing)
    return (
        f"{train.origin}: {sizes} set apart by a hash of the texts, {len(parts['train'].examples)} of "
        f"{len(train.examples)} examples left to train"
    )


def _labelled(part: _Part) -> bool:
    """Whether the examples have labels; some with and some without is a mistake in the data."""
    without = [example for example in part.examples if not example.gold]
    if without and len(without) < len(part.examples):
        what = "reference" if without[0].open else "label"
        raise DataError(
            f"{part.origin}: {len(without)} of {len(part.examples)} examples have no {what}, "
            f"the first is number {without[0].index}; give them one, or leave them out"
        )
    return not without


def _no_labels(task: Task, train: Source) -> str:
    row = next(flat_rows(task.transform, train.rows[0], train.locations[0]))
    name, what = (placeholders(task.target)[0], "reference") if task.target else (task.label, "label")
    if name in row:
        return f'{train.name}: every {what} in the field "{name}" is missing{"" if task.target else " or -1"}'
    return f'{train.name}: no {what} field "{name}"; {near_column(name, list(row))}'


def _carve(train: _Part, test: _Part) -> tuple[_Part, _Part]:
    """Train without, and with only, the rows carved for another split.

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
        raise DataError(f"{train.origin}: too few different rows ({len(train.examples)}) to carve a split from")
    remaining = [example for example in train.examples if example.index not in taken]
    carved = [example for example in train.examples if example.index in taken]
    origin = train.origin.removesuffix(_LESS)
    return _Part(f"{origin}{_LESS}", remaining), _Part(f"carved from {origin} by hash", carved)


def _draw(part: _Part, name: str, number: int | None, seed: int) -> _Part:
    """A part with the examples of its subset, and an origin that says how many."""
    chosen = part.examples if number is None else _subset(part.examples, number, seed, whole=name != "train")
    if not chosen:
        raise ConfigError(f"{name}_examples = {number} is fewer than any group of {part.origin} has; ask for more")
    note = "" if number in (None, len(chosen)) else f" ({number} asked)"
    return _Part(f"{part.origin}: {len(chosen)} of {len(part.examples)} examples{note}", chosen)


def _enough_to_choose_by(trained_on: int, validation: _Part) -> int | None:
    """How many rows of validation are judged; None where that is all of them."""
    number = min(MOST_TO_CHOOSE_BY, max(FEWEST_TO_CHOOSE_BY, trained_on))
    return number if number < len(validation.examples) else None


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
    if examples[0].open:
        answers = [(other.choices, other.references) for other in sorted(examples, key=key)]
        new = [
            replace(example, choices=choices, references=references)
            for example, (choices, references) in zip(examples, answers, strict=True)
        ]
        return _Part(f"{part.origin}, answers shuffled", new)
    if len({len(example.choices) for example in examples}) == 1:
        golds = [example.gold for example in sorted(examples, key=key)]
    else:
        golds = []
        for example in examples:
            order = sorted(range(len(example.choices)), key=lambda choice: key(example, choice))
            golds.append(tuple(sorted(order[: len(example.gold)])))
    new = [replace(example, gold=gold) for example, gold in zip(examples, golds, strict=True)]
    return _Part(f"{part.origin}, answers shuffled", new)


def _drawn_targets(part: _Part, seed: int) -> _Part:
    """A part whose examples are trained on one of their references each, in the order of a hash."""

    def drawn(example: Example) -> Example:
        order = sorted(example.references, key=lambda text: _sha256(f"{seed}|target|{example.index}|{text}"))
        return with_target(example, order[0])

    return _Part(part.origin, [drawn(example) for example in part.examples])


def _digest(splits: Sequence[Sequence[Example]]) -> str:
    digest = hashlib.sha256()
    for examples in splits:
        content = [
            (example.text, example.choices, example.gold, example.group, *filter(None, [example.references]))
            for example in examples
        ]
        digest.update(json.dumps(content, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
