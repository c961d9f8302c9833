"""The form of a task file: a few TOML keys, checked before any data is read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from prunekit.support import toml
from prunekit.support.errors import nearest
from prunekit.tasks.decoding import Decoding
from prunekit.tasks.example import placeholders
from prunekit.tasks.metrics import METRICS
from prunekit.tasks.task import Hub, Task, form
from prunekit.tasks.text_metrics import TEXT_METRICS
from prunekit.tasks.transforms import TransformName

_TWO_CHOICES = {"f1", "f1a"}  # metrics of the second of two choices


class HubFile(BaseModel):
    """The `hub` table of a task file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1)
    name: str | None = None
    rename: dict[str, str] = {}


class DecodingTable(BaseModel):
    """The `decoding` table of a task file: how answers are written, greedily by default.

    `beams` of a search, 1 is none; above `temperature` 0 tokens are drawn, by `seed`, among the likeliest of `top_p`
    probability together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    beams: int = Field(1, ge=1, le=64)
    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _searched_or_drawn(self) -> Self:
        if self.beams > 1 and self.temperature > 0:
            raise ValueError("beams search and temperature draws; set one of them")
        return self


class TaskFile(BaseModel):
    """A task file. The answers come from exactly one of choices, labels_file, choice_fields, choice_list and target."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*$")
    """Letters, digits and . _ - / since it becomes part of a run's directory name."""
    description: str = ""
    template: str
    """Text with {field} placeholders, ending in a cue for the answer."""
    separator: Literal[" ", "\n", ""] = " "
    """What stands between the text and an answer: a blank, a newline or nothing (languages without blanks)."""
    chat: StrictBool = False
    """Whether the tokenizer's chat template is written around the text, the answer being the assistant's."""
    instruction: str = ""
    """What a person would write instead of a trained prompt: a base line, and what `--init text` starts from."""
    label: str = "label"
    """The field that holds the label."""
    choices: dict[str, str] | None = None
    """Label -> label word; the order counts (f1 is of the second)."""
    labels_file: str | None = None
    """JSON file beside the data with the same table."""
    choice_fields: tuple[str, ...] = ()
    """Fields of the row that hold the answers, as in COPA."""
    choice_list: str | None = None
    """Field of the row that holds the list of answers, as in ReCoRD."""
    target: str = ""
    """Text with {field} placeholders that the model is to write; a list of texts in a field is a reference each."""
    reference: Literal["first", "seed"] = "first"
    """Which of several references is trained on: the first, or one that is drawn by the data seed."""
    max_target_tokens: int = Field(32, ge=1, le=100_000)
    """Most tokens of an answer; longer targets are cut, and counted."""
    stop: tuple[str, ...] = ()
    """Texts at which a written answer ends."""
    decoding: DecodingTable = DecodingTable()
    aliases: dict[str, tuple[StrictBool | StrictInt | StrictFloat | StrictStr, ...]] = {}
    """Label (or choice field) -> other forms of it in data."""
    metrics: tuple[str, ...] = ("accuracy",)
    """The first is the primary one."""
    transform: TransformName = "none"
    group: str | None = None
    """Field whose value ties rows that are judged together."""
    hub: HubFile | None = None
    data: str | None = None
    """Default data, a file or folder, relative to the task file."""
    columns: dict[str, str] = {}
    """Column of the data -> the field it stands for, where names differ."""

    @field_validator("template")
    @classmethod
    def _plain_placeholders(cls, template: str) -> str:
        placeholders(template)
        return template

    @field_validator("target")
    @classmethod
    def _plain_target(cls, target: str) -> str:
        if target:
            placeholders(target)
        return target

    @field_validator("stop")
    @classmethod
    def _stops_that_say_something(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("an empty text stops every answer before it begins; leave it out")
        return stop

    @field_validator("metrics")
    @classmethod
    def _different_metrics(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        if not metrics or len(set(metrics)) < len(metrics):
            raise ValueError("name at least one metric, and none twice")
        return metrics

    @field_validator("choices")
    @classmethod
    def _different_words(cls, choices: dict[str, str] | None) -> dict[str, str] | None:
        words = [word.strip() for word in (choices or {}).values()]
        if choices is not None and (len(words) < 2 or "" in words or len(set(words)) < len(words)):
            raise ValueError("at least two labels are needed, each with a word of its own")
        return choices

    @model_validator(mode="after")
    def _known_metrics(self) -> Self:
        names: Collection[str] = TEXT_METRICS if self.target else METRICS
        for name in self.metrics:
            if name not in names:
                if name in METRICS or name in TEXT_METRICS:
                    kind = "chosen" if self.target else "written"
                    raise ValueError(f'the metric "{name}" judges {kind} answers; {nearest("", names)}')
                raise ValueError(f'metrics: unknown metric "{name}"; {nearest(name, names)}')
        return self

    @model_validator(mode="after")
    def _one_source_of_answers(self) -> Self:
        sources = [self.choices, self.labels_file, self.choice_fields or None, self.choice_list, self.target or None]
        if sum(source is not None for source in sources) != 1:
            raise ValueError(
                "give the answers by exactly one of [choices], labels_file, choice_fields, choice_list, target"
            )
        writing = {"reference", "max_target_tokens", "stop", "decoding"}
        if not self.target and (needless := sorted(writing & self.model_fields_set)):
            raise ValueError(f"{needless[0]} is for answers that are written: give a target, or leave it out")
        if len(self.choice_fields) == 1 or len(set(self.choice_fields)) < len(self.choice_fields):
            raise ValueError("choice_fields needs at least two different fields")
        number = len(self.choices or self.choice_fields)
        for name in sorted(_TWO_CHOICES.intersection(self.metrics)):
            if self.choice_list is not None or number not in (0, 2):
                raise ValueError(f'the metric "{name}" needs exactly two choices')
        return self

    @model_validator(mode="after")
    def _one_separator(self) -> Self:
        if "separator" not in self.model_fields_set:
            return self
        if self.chat:
            raise ValueError("with chat = true the chat template stands before the answer; leave separator out")
        if self.template[-1:].isspace():
            raise ValueError(
                f"the template ends in {self.template[-1]!r}, which already stands before the answer; "
                "take it off the template's end, or leave separator out"
            )
        blank = [word for word in (self.choices or {}).values() if word[:1].isspace()]
        if blank:
            raise ValueError(
                f"the answer {blank[0]!r} begins with a blank of its own; take it off, or leave separator out"
            )
        return self

    @model_validator(mode="after")
    def _aliases_of_known_labels(self) -> Self:
        labels = list(self.choices or self.choice_fields)
        owners: dict[tuple[str, Any], str] = {}
        for label, forms in self.aliases.items():
            if label not in labels and self.labels_file is None:
                raise ValueError(f'aliases name the unknown label "{label}"; {nearest(label, labels)}')
            for other in forms:
                owner = owners.setdefault(form(other), label)
                if owner != label or (other != label and other in labels):
                    raise ValueError(f'the alias {other!r} of "{label}" already means another label')
        return self

    def task(self, folder: Path | None = None) -> Task:
        """The task, with `data` taken relative to the folder of its file."""
        writing = ("max_target_tokens", "stop", "decoding")
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in writing}
        values["decoding"] = Decoding(self.max_target_tokens, self.stop, **self.decoding.model_dump())
        values["labels"] = tuple(self.choices) if self.choices else None
        values["choices"] = tuple(self.choices.values()) if self.choices else None
        values["hub"] = Hub(self.hub.path, self.hub.name, self.hub.rename) if self.hub else None
        values["data"] = str((folder or Path()) / self.data) if self.data else None
        return Task(**values)


def parse_task(table: dict[str, Any], where: str = "task") -> Task:
    """The task held by a table with the keys of a task file; `where` names its source in errors.

    Raises:
        ConfigError: on the first thing that is wrong.
    """
    return toml.parse(table, TaskFile, where).task()


def read_task(path: Path) -> Task:
    """The task held by a TOML file.

    Raises:
        ConfigError: naming the file, the key and what to do.
    """
    return toml.read(path, TaskFile).task(path.parent)
