"""What a run or a ticket was made with, and how another use of it differs: model, task, data, precision.

A run holds all of it by name in its settings (section `content`), a ticket file in its origin.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prunekit.pruning.ticket import Ticket
from prunekit.runs.reader import RunReader
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example, Task

if TYPE_CHECKING:  # they import transformers, and who only compares a run's data needs none
    from prunekit.models import FrozenModel
    from prunekit.models.identity import ModelIdentity

#: part -> field -> its value or digest as text
Content = Mapping[str, Mapping[str, str]]

# the parts in the order of reports, and the words before their fields
_PARTS = {
    "weights": "model weights",
    "configuration": "model configuration",
    "tokenizer": "tokenizer",
    "answering": "",
    "model": "model",
    "task": "task",
    "data": "data",
}
# a field of these that one side lacks has its default there; of the other parts only common fields are compared
_BY_DEFAULT = ("configuration", "tokenizer", "task")
_DIGEST = "digest"
_MAX_DIFFERENCES = 10  # differences in one line
_MAX_VALUE = 60  # characters of a value


def content(
    frozen_model: FrozenModel,
    task: Task | None = None,
    splits: Mapping[str, Sequence[Example]] | None = None,
    *,
    model: ModelIdentity | None = None,
) -> dict[str, dict[str, str]]:
    """All that decides the answers and what they are compared with.

    Args:
        frozen_model: the model.
        task: without it, the model's parts alone.
        splits: by name, those whose rows are used.
        model: the model's identity, where it was computed before.
    """
    model = model or frozen_model.identity()
    parts = {
        "model": {_DIGEST: model.digest},
        "weights": {_DIGEST: model.weights, "rounded": model.rounded},
        "configuration": dict(model.configuration),
        "tokenizer": dict(model.tokenizer),
        "answering": {
            "precision": precision(frozen_model.model),
            "position": frozen_model.position,
            "ranking": frozen_model.ranking,
            "max_input_tokens": str(frozen_model.max_input_tokens),
        },
    }
    return parts if task is None else parts | task_content(task) | data_content(task, splits or {})


def task_content(task: Task) -> dict[str, dict[str, str]]:
    """The part of `content` that describes the task."""
    return {"task": {name: _json(value) for name, value in task.definition().items()}}


def data_content(task: Task, splits: Mapping[str, Sequence[Example]]) -> dict[str, dict[str, str]]:
    """The part of `content` that describes the rows of some splits."""
    return {"data": {name: _rows(task, examples) for name, examples in splits.items()}}


def precision(model: Any) -> str:
    """The type of a model's weights: "float32", "bfloat16", "8bit" or "4bit"."""
    for name in ("8bit", "4bit"):
        if getattr(model, f"is_loaded_in_{name}", False):
            return name
    return str(model.dtype).removeprefix("torch.")


def run_content(run: RunReader) -> dict[str, dict[str, str]]:
    """What a run was made with, from its settings; empty where they do not say."""
    return _checked(run.settings().get("content"))


def ticket_content(ticket: Ticket) -> dict[str, dict[str, str]]:
    """What a ticket was made with, from its origin; empty where that does not say."""
    model = {"model": {_DIGEST: ticket.origin.get("model_digest")}}
    return _checked(model) | _checked(ticket.origin.get("content"))


def ticket_model_content(ticket: Ticket) -> dict[str, dict[str, str]]:
    """The model that a ticket was made with, without its task and data."""
    parts = ticket_content(ticket)
    precision_field = {name: text for name, text in parts.get("answering", {}).items() if name == "precision"}
    model_parts = {part: fields for part, fields in parts.items() if part not in ("answering", "task", "data")}
    return model_parts | ({"answering": precision_field} if precision_field else {})


def ticket_settings(ticket: Ticket) -> dict[str, str]:
    """The settings that a ticket was made under, from its origin: flag -> value."""
    answering = ticket_content(ticket).get("answering", {})
    settings: dict[str, str] = {
        name: answering[name] for name in ("position", "ranking", "max_input_tokens") if name in answering
    }
    precision = answering.get("precision")
    return (
        settings
        if precision is None
        else settings | {"quantize" if precision in ("8bit", "4bit") else "precision": precision}
    )


def differences(made_with: Content, now: Content, ignored: Collection[str] = ()) -> list[str]:
    """Each difference between what a run or ticket was made with and a use of it, in a few words.

    Weights in two precisions are compared as rounded to the smaller one; whole numbers cannot be.

    Args:
        made_with: of a run or of a ticket.
        now: of the use; a split that it lacks is not compared.
        ignored: fields of `answering` that may differ.
    """
    lines: list[str] = []
    for part, title in _PARTS.items():
        if (
            part not in made_with or part not in now or (part == "model" and lines)
        ):  # its digest covers parts that differ already
            continue
        before, after = (_comparable(part, side, (made_with, now)) for side in (made_with, now))
        names = before.keys() | after.keys() if part in _BY_DEFAULT else before.keys() & after.keys()
        for name in sorted(names - set(ignored)):
            if before.get(name) != after.get(name):
                lines.append(" ".join(filter(None, (title, _difference(name, before.get(name), after.get(name))))))
    return lines


def check(
    where: Any, made_with: Content, now: Content, *, allow_changed: bool, ignored: Collection[str] = ()
) -> list[str]:
    """The differences; refused where there are any and they are not allowed.

    Args:
        where: the run or ticket, for the error.
        made_with: of the run or ticket.
        now: of the use.
        allow_changed: whether differences are allowed.
        ignored: fields of `answering` that may differ.

    Raises:
        ConfigError: with all of them in one line.
    """
    lines = differences(made_with, now, ignored)
    if lines and not allow_changed:
        raise ConfigError(
            f"{where}: not what it was made with: {one_line(lines)}; restore it, or add --allow-changed (allow_changed="
            "True) to go on all the same"
        )
    return lines


def one_line(lines: Sequence[str]) -> str:
    """Differences as one line; a long list is cut."""
    more = f"; and {len(lines) - _MAX_DIFFERENCES} more" if len(lines) > _MAX_DIFFERENCES else ""
    return "; ".join(lines[:_MAX_DIFFERENCES]) + more


def digests(now: Content) -> dict[str, str]:
    """One short digest for each part of a use, to write beside what is measured in it."""
    return {part: identity(dict(fields), 16) for part, fields in now.items()}


def _comparable(part: str, side: Content, both: tuple[Content, Content]) -> Mapping[str, str]:
    """The fields of a part by which two sides can be compared."""
    fields = side.get(part, {})
    precisions = {content.get("answering", {}).get("precision") for content in both}
    if part not in ("weights", "model"):
        return fields
    if len(precisions) == 1 or not all(precisions):
        return {_DIGEST: fields.get(_DIGEST, "")}
    if part == "model":  # it covers the weights in their own precision
        return {}
    return {} if precisions & {"8bit", "4bit"} else {_DIGEST: fields.get("rounded", "")}


def _difference(name: str, before: str | None, after: str | None) -> str:
    """One field and its values; a digest means nothing to a reader and is left out."""
    if name == _DIGEST or _is_digest(before) or _is_digest(after):
        return "" if name == _DIGEST else name
    return f"{name} {_excerpt(before, after)} -> {_excerpt(after, before)}"


def _is_digest(text: str | None) -> bool:
    return text is not None and len(text) in (16, 64) and not set(text) - set("0123456789abcdef")


def _excerpt(text: str | None, other: str | None) -> str:
    """A value; of a long one the part where it begins to differ from the other."""
    if text is None:
        from prunekit.models.identity import DEFAULT

        return f"({DEFAULT})"
    if len(text) <= _MAX_VALUE:
        return text
    pairs = enumerate(zip(text, other or "", strict=False))
    start_of_difference = next(
        (index for index, (ours, theirs) in pairs if ours != theirs), min(len(text), len(other or ""))
    )
    start = min(max(0, start_of_difference - _MAX_VALUE // 3), len(text) - _MAX_VALUE)
    end = start + _MAX_VALUE
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def _rows(task: Task, examples: Sequence[Example]) -> str:
    """How many rows there are, and a digest of them in order: of their fields, right answers and groups.

    Answers count by their labels where the task has any, so that other label words are another task and not other data.
    """
    labels = task.labels or task.choice_fields
    own_choices = not task.labels
    total = hashlib.sha256()
    for example in examples:
        right = [labels[gold] if labels else example.choices[gold] for gold in example.gold]
        row = [sorted(example.fields.items()), right, example.group, example.choices if own_choices else ()]
        total.update(_json(row).encode() + b"\n")
    return f"{len(examples)} rows ({total.hexdigest()[:16]})"


def _checked(value: Any) -> dict[str, dict[str, str]]:
    """The well-formed entries of content read from a file, which may hold anything."""
    parts = value if isinstance(value, Mapping) else {}
    tables = {part: fields for part, fields in parts.items() if part in _PARTS and isinstance(fields, Mapping)}
    texts = {
        part: {str(name): text for name, text in fields.items() if isinstance(text, str)}
        for part, fields in tables.items()
    }
    return {part: fields for part, fields in texts.items() if fields}


def _json(value: Any) -> str:
    return json.dumps(value, default=dict, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
