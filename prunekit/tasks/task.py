"""A task: how a row becomes examples, and how answers are judged."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, asdict, dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, cast

from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks import fields
from prunekit.tasks.decoding import Decoding
from prunekit.tasks.example import Example, placeholders
from prunekit.tasks.fields import Row
from prunekit.tasks.metrics import METRICS
from prunekit.tasks.references import as_open, references_of
from prunekit.tasks.transforms import TransformName, flat_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prunekit.tasks.text_metrics import TextMetric

Alias = bool | int | float | str
#: What is answered to examples: the place of a choice each, or what was written.
Answers = Sequence[int] | Sequence[str]
_GREEDY = Decoding()


@dataclass(frozen=True)
class Hub:
    """Where a task's data lies on the Hub.

    Attributes:
        path: data set id, such as "aps/super_glue".
        name: its configuration, such as "rte".
        rename: Hub column -> the field name that the template uses.
    """

    path: str
    name: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A dataset's rows, read through a template, answered by one of some choices or in own words, judged by metrics.

    The answers come from one of five places: fixed label words (`labels` and `choices`), words in a file beside the
    data (`labels_file`, until `resolved`), fields of the row (`choice_fields`, COPA), a list in the row
    (`choice_list`, ReCoRD; its label is the right answer's text, texts or index), or the model itself, which writes
    them (`target`, SQuAD).

    Attributes:
        choices: label words in a fixed order; None when they differ per example (or are not resolved yet).
        labels: the label values in the same order.
        metrics: names in METRICS, or in TEXT_METRICS where the task is open; the first is the primary one.
        label: the field that holds the label.
        aliases: label (or choice field) -> other forms of it in data, such as a class number or a bool.
        group: the field whose value ties rows that are judged together.
        data: default data: a file of rows, or a folder of one for each split.
        columns: column of the data -> the field it stands for, where names differ; both may be the same.
        testbed: name of the testbed task whose grammar makes the rows, where that is the source.
        separator: stands between text and answer; a blank does where neither brings a blank or newline of its own.
        chat: the text is what a user says, and the answer what the assistant says to it, in the words around them that
            the tokenizer's chat template writes.
        instruction: what a person would write to the model instead of a trained prompt; a base line.
        target: text with {field} placeholders, what a model is to write; a field that holds a list of texts gives a
            reference each. Empty where answers are chosen.
        reference: which of several references is trained on, the first or one drawn by `data_seed`.
        decoding: how answers are written.
        judge: "generate": a task with choices is judged by what the model writes, compared as exact strings.
    """

    name: str
    template: str
    description: str = ""
    choices: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    label: str = "label"
    aliases: Mapping[str, tuple[Alias, ...]] = field(default_factory=dict)
    choice_fields: tuple[str, ...] = ()
    choice_list: str | None = None
    labels_file: str | None = None
    transform: TransformName = "none"
    group: str | None = None
    hub: Hub | None = None
    data: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    testbed: str | None = None
    separator: str = " "
    chat: bool = False
    instruction: str = ""
    target: str = ""
    reference: Literal["first", "seed"] = "first"
    decoding: Decoding = _GREEDY
    judge: Literal["score", "generate"] = "score"

    @property
    def open(self) -> bool:
        """Whether the model writes its answers."""
        return bool(self.target) or self.judge == "generate"

    @property
    def chosen_by(self) -> str:
        """What on validation chooses steps and ratios: the primary metric, or the "loss" where answers are written."""
        return "loss" if self.open else self.metrics[0]

    def examples(self, row: Row, index: int, where: str = "row", *, labelled: bool = True) -> list[Example]:
        """The examples that one row stands for (several where the transform flattens it).

        Args:
            row: the row as published.
            index: position of the first of them within its split.
            where: what names the row in errors, such as "train.jsonl:7".
            labelled: read the label; one that is missing, null or -1 gives an empty `gold`.

        Raises:
            DataError: on a missing field or an unknown label.
        """
        self._check_resolved()
        flat = flat_rows(self.transform, row, where)
        return [self._example(item, index + offset, where, labelled) for offset, item in enumerate(flat)]

    def score(self, examples: Sequence[Example], answers: Answers) -> dict[str, float]:
        """Every metric of the task, the primary one first.

        Args:
            examples: [N] labelled examples.
            answers: [N] index of the chosen answer of each, or the text that was written.
        """
        if self.open:
            return self.totals(self.row_statistics(examples, cast(Sequence[str], answers)))
        chosen = cast(Sequence[int], answers)
        _check_scorable(examples, chosen)
        return {name: METRICS[name](examples, chosen) for name in self.metrics}

    def row_statistics(self, examples: Sequence[Example], texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """What each written answer adds to each metric [N, k]: its own value, or what a corpus score is made of."""
        import numpy as np

        _check_answered(examples, texts)
        pairs = list(zip(texts, (example.references for example in examples), strict=True))
        return {name: np.array([metric.row(*pair) for pair in pairs]) for name, metric in self.text_metrics.items()}

    def totals(self, rows: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Every metric of written answers, from what each of them adds, as of `row_statistics`."""
        return {name: metric.total(rows[name]) for name, metric in self.text_metrics.items()}

    @cached_property
    def text_metrics(self) -> dict[str, TextMetric]:
        """What judges written answers, by the task's names of them."""
        from prunekit.tasks.text_metrics import judge_of

        return {name: judge_of(name) for name in self.metrics}

    def majority(self, examples: Sequence[Example]) -> float:
        """The primary metric of the best answer that ignores the text.

        With fixed label words, and with `choice_fields`, that is always answering the most common label of
        `examples` (ties: the first); its F1 is 0 where that is not the label F1 is of. Where each example has its own
        list of choices no index means anything, and it is the expected metric of choosing uniformly. Of written
        answers it is always giving the most common reference.
        """
        if self.open:
            targets = Counter(example.references[0] for example in examples)
            most_common = min(targets, key=lambda target: (-targets[target], target))
            return self.score(examples, [most_common] * len(examples))[self.metrics[0]]
        _check_scorable(examples, [0] * len(examples))
        metric = METRICS[self.metrics[0]]
        if self.choice_list is not None:
            return fmean(
                fmean(metric([example], [choice]) for choice in range(len(example.choices))) for example in examples
            )
        counts = Counter(gold for example in examples for gold in example.gold)
        choice = min(counts, key=lambda choice: (-counts[choice], choice))
        return metric(examples, [choice] * len(examples))

    def definition(self) -> dict[str, Any]:
        """The fields that decide examples and scores and are not at their default, so that a later one adds nothing.

        Not the description, the instruction, where the data lies, or what its columns are called.
        """
        left_out, values = {"description", "instruction", "hub", "data", "columns"}, vars(self)
        defaults = {name: _default(entry) for name, entry in self.__dataclass_fields__.items() if name not in left_out}
        changed = {name: values[name] for name, default in defaults.items() if values[name] != default}
        return changed | ({"decoding": asdict(self.decoding)} if "decoding" in changed else {})

    def digest(self) -> str:
        """sha256 of the definition."""
        canonical = json.dumps(self.definition(), default=dict, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def lacks_words(self) -> bool:
        """Whether its label words are still to be read from `labels_file`, or to be made of the labels in the data."""
        return self.labels_file is not None and self.choices is None

    def with_words(self, words: Mapping[str, str]) -> Task:
        """The task with other label words, by label.

        Raises:
            ConfigError: where it has other labels, or answers that are no label words.
        """
        if self.choice_fields or self.choice_list or self.target:
            raise ConfigError(f'task "{self.name}" has answers in its rows; leave out the label words')
        if self.labels is not None and set(words) != set(self.labels):
            raise ConfigError(f'label words are needed for {", ".join(self.labels)}: the labels of task "{self.name}"')
        return replace(self, labels=tuple(words), choices=tuple(words.values()))

    def read_fields(self, *, labelled: bool) -> tuple[str, ...]:
        """The fields of a row that `examples` reads; none where a transform reads others than those it is named."""
        if self.transform != "none":
            return ()
        more = (self.choice_list, self.group, self.label if labelled and not self.target else None)
        targets = placeholders(self.target) if self.target and labelled else ()
        return tuple(dict.fromkeys([*self.placeholders, *self.choice_fields, *filter(None, more), *targets]))

    def column_of(self, field: str) -> str:
        """The column that holds a field of rows as a user has them."""
        return next((column for column, name in self.columns.items() if name == field), field)

    @property
    def text_columns(self) -> list[str]:
        """The columns that are called otherwise than their fields, and hold neither labels nor references."""
        answers = {self.label, *(placeholders(self.target) if self.target else ())}
        return [column for column, field in self.columns.items() if field not in answers]

    @cached_property
    def placeholders(self) -> tuple[str, ...]:
        """The fields that the template names, in order of first use."""
        return placeholders(self.template)

    @cached_property
    def _index(self) -> dict[tuple[str, Alias], int]:
        """Every known form of a label -> its index; what a task file says goes before what a label looks like."""
        stated: dict[tuple[str, Alias], int] = {}
        implied: dict[tuple[str, Alias], int] = {}
        for index, label in enumerate(self.labels or self.choice_fields):
            stated |= {form(other): index for other in (label, *self.aliases.get(label, ()))}
            number = _number(label)
            if number is not None:
                implied[form(number)] = index
        return implied | stated

    def _check_resolved(self) -> None:
        if self.choices is None and not self.choice_fields and self.choice_list is None and not self.target:
            raise ConfigError(
                f'task "{self.name}" has no label words yet: write them into {self.labels_file} beside its data, or '
                'give them by --label-words "0=bad,1=good"'
            )

    def _example(self, row: Row, index: int, where: str, labelled: bool) -> Example:
        texts = {name: fields.written(row, name, where) for name in self.placeholders}
        group = "" if self.group is None else _as_group(row, self.group, where)
        if self.target:
            references = references_of(row, self.target, where) if labelled else ()
            targets, gold = references[:1], (0,)[: len(references)]
            question = Example(index, self.template, texts, targets, gold, group, self.separator, self.chat)
            return replace(question, references=references, target_tokens=self.decoding.max_tokens)
        choices = self._choices(row, where)
        gold = self._gold(row, choices, where) if labelled else ()
        example = Example(index, self.template, texts, choices, gold, group, self.separator, self.chat)
        return as_open(example, self.decoding.max_tokens) if self.open else example

    def _choices(self, row: Row, where: str) -> tuple[str, ...]:
        if self.choice_fields:
            return tuple(fields.text(row, name, where) for name in self.choice_fields)
        if self.choice_list is None:
            return self.choices or ()
        choices = tuple(fields.texts(row, self.choice_list, where))
        if len(choices) < 1 or len(set(choices)) < len(choices):
            raise DataError(f'{where}: "{self.choice_list}" must hold at least one answer and none twice: {choices!r}')
        return choices

    def _gold(self, row: Row, choices: tuple[str, ...], where: str) -> tuple[int, ...]:
        value = fields.optional_value(row, self.label, where)
        if value is None or value in ("", []):  # WinoGrande hides labels so
            return ()
        if self.choice_list is not None:
            return _gold_in_list(value, choices, where)
        for reading in _readings(value):
            if form(reading) in self._index:
                return (self._index[form(reading)],)
            if reading == -1:  # what the Hub writes for a hidden label
                return ()
        raise DataError(f'{where}: the label {value!r} is not one of task "{self.name}": {self._known_labels()}')

    def _known_labels(self) -> str:
        forms: dict[int, list[str]] = {}
        for (_, form), index in self._index.items():
            forms.setdefault(index, []).append(repr(form))
        return "; ".join(" or ".join(words) for words in forms.values())


def form(value: Alias) -> tuple[str, Alias]:
    """A form of a label as data hold it: 1 and 1.0 are one number, though neither is true or "1"."""
    kind = "text" if isinstance(value, str) else "truth" if isinstance(value, bool) else "number"
    return kind, value


def _readings(value: Any) -> Iterator[Alias]:
    """What a label may mean, as it stands first: files of text alone write numbers and truths out."""
    if not isinstance(value, Alias):
        return
    yield value
    if isinstance(value, bool):
        yield str(value).lower()
    if isinstance(value, str):
        text = value.strip()
        yield text
        if text.lower() in ("true", "false"):
            yield from (text.lower(), text.lower() == "true")
        with suppress(ValueError):
            yield float(text)


def _number(label: str) -> int | float | None:
    """The number that a label is written like: in most data it is one."""
    for kind in (int, float):
        try:
            number = kind(label)
        except ValueError:
            continue
        if str(number) == label and math.isfinite(number):
            return number
    return None


def _as_group(row: Row, name: str, where: str) -> str:
    """What names a group; 7 and 7.0, as pandas may write it, are one."""
    value = fields.value(row, name, where)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return fields.written(row, name, where) if isinstance(value, int | float | str) else str(value)


def _default(entry: Field[Any]) -> Any:
    """What a field of a dataclass is where it is not given; MISSING where it must be."""
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def _gold_in_list(value: Any, choices: tuple[str, ...], where: str) -> tuple[int, ...]:
    if isinstance(value, float) and value.is_integer():  # pandas writes whole numbers so beside a missing one
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value == -1:
            return ()
        if 0 <= value < len(choices):
            return (value,)
    answers = value if isinstance(value, list) else [value]
    gold = tuple(index for index, choice in enumerate(choices) if choice in answers)
    if not gold:
        raise DataError(f"{where}: the answer {value!r} is not among the choices {list(choices)!r}")
    return gold


def _check_answered(examples: Sequence[Example], texts: Sequence[str]) -> None:
    if not examples or len(examples) != len(texts):
        raise DataError(f"{len(texts)} answers cannot be judged by {len(examples)} examples")
    for example in examples:
        if not example.references:
            raise DataError(f"example {example.index} has no reference and cannot be judged")


def _check_scorable(examples: Sequence[Example], chosen: Sequence[int]) -> None:
    if not examples or len(examples) != len(chosen):
        raise DataError(f"{len(chosen)} answers cannot be scored against {len(examples)} examples")
    for example, choice in zip(examples, chosen, strict=True):
        if not example.gold:
            raise DataError(f"example {example.index} has no label and cannot be scored")
        if not 0 <= choice < len(example.choices):
            raise DataError(f"example {example.index} has {len(example.choices)} choices, not one number {choice}")
