"""What a run or a ticket was made with, and in what another use of it differs: model, task, data, precision.

A run holds all of it by name in its settings (section `content`), a ticket file in its origin.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from prunekit.models import FrozenModel
from prunekit.models.identity import DEFAULT, ModelIdentity
from prunekit.pruning.ticket import Ticket
from prunekit.runs.reader import RunReader
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example, Task

#: part -> field -> its value or digest as text
Content = Mapping[str, Mapping[str, str]]

# the parts in the order in which they are told, and what their fields are called by
_PARTS = {
    "weights": "model weights",
    "configuration": "model configuration",
    "tokenizer": "tokenizer",
    "answering": "",
    "model": "model",
    "task": "task",
    "data": "data",
}
# of these a field that one side lacks is at its default there; of the others only what both tell is compared
_BY_DEFAULT = ("configuration", "tokenizer", "task")
_WHOLE = "digest"
_TEN = 10  # differences that one line holds
_SHORT = 60  # characters of a value


def content(
    frozen: FrozenModel,
    task: Task | None = None,
    splits: Mapping[str, Sequence[Example]] | None = None,
    *,
    model: ModelIdentity | None = None,
) -> dict[str, dict[str, str]]:
    """All that decides the answers and what they are compared with.

    Args:
        task: without it, the model's parts alone.
        splits: by name, those whose rows are used.
        model: the model's identity, where it is known already.
    """
    model = model or frozen.identity()
    whole = {
        "model": {_WHOLE: model.digest},
        "weights": {_WHOLE: model.weights, "rounded": model.rounded},
        "configuration": dict(model.configuration),
        "tokenizer": dict(model.tokenizer),
        "answering": {
            "precision": precision(frozen.model),
            "position": frozen.position,
            "ranking": frozen.ranking,
            "max_input_tokens": str(frozen.max_input_tokens),
        },
    }
    if task is not None:
        whole |= of_task(task)
        whole["data"] = {name: _rows(task, examples) for name, examples in (splits or {}).items()}
    return whole


def of_task(task: Task) -> dict[str, dict[str, str]]:
    """The part of `content` that tells the task."""
    return {"task": {name: _json(value) for name, value in task.definition().items()}}


def precision(model: Any) -> str:
    """In what a model's weights are held: "float32", "bfloat16", "8bit" or "4bit"."""
    for name in ("8bit", "4bit"):
        if getattr(model, f"is_loaded_in_{name}", False):
            return name
    return str(model.dtype).removeprefix("torch.")


def of_run(run: RunReader) -> dict[str, dict[str, str]]:
    """What a run was made with, as its settings tell it; empty where they do not."""
    return _checked(run.settings().get("content"))


def of_ticket(ticket: Ticket) -> dict[str, dict[str, str]]:
    """What a ticket was made with, as far as its origin tells; empty of one from elsewhere."""
    model = {"model": {_WHOLE: ticket.origin.get("model_digest")}}
    return _checked(model) | _checked(ticket.origin.get("content"))


def of_model(ticket: Ticket) -> dict[str, dict[str, str]]:
    """What a ticket tells of the model that it was made with, whatever its task was."""
    found = of_ticket(ticket)
    held = {name: text for name, text in found.get("answering", {}).items() if name == "precision"}
    own = {part: fields for part, fields in found.items() if part not in ("answering", "task", "data")}
    return own | ({"answering": held} if held else {})


def settings_of(ticket: Ticket) -> dict[str, str]:
    """The settings that a ticket was made under, as far as its origin tells: flags by name."""
    found = of_ticket(ticket).get("answering", {})
    known: dict[str, str] = {name: found[name] for name in ("position", "ranking", "max_input_tokens") if name in found}
    held = found.get("precision")
    return known if held is None else known | {"quantize" if held in ("8bit", "4bit") else "precision": held}


def differences(own: Content, now: Content, apart: Collection[str] = ()) -> list[str]:
    """Each thing in which a use differs from what something was made with, in a few words.

    Weights in two precisions are compared as rounded to the smaller one; whole numbers cannot be.

    Args:
        own: of a run or of a ticket.
        now: of the use; a split that it lacks is not compared.
        apart: fields of `answering` that may differ.
    """
    told: list[str] = []
    for part, title in _PARTS.items():
        if part not in own or part not in now or (part == "model" and told):  # the digest of all that is told already
            continue
        before, after = (_comparable(part, side, (own, now)) for side in (own, now))
        names = before.keys() | after.keys() if part in _BY_DEFAULT else before.keys() & after.keys()
        for name in sorted(names - set(apart)):
            if before.get(name) != after.get(name):
                told.append(" ".join(filter(None, (title, _told(name, before.get(name), after.get(name))))))
    return told


def check(where: Any, own: Content, now: Content, *, allow_changed: bool, apart: Collection[str] = ()) -> list[str]:
    """The differences, where there are none or they are allowed.

    Args:
        where: what the line names.

    Raises:
        ConfigError: with all of them in one line.
    """
    told = differences(own, now, apart)
    if told and not allow_changed:
        raise ConfigError(
            f"{where}: not what it was made with: {in_line(told)}; restore it, or add --allow-changed (allow_changed="
            "True) to go on all the same"
        )
    return told


def in_line(told: Sequence[str]) -> str:
    """Differences as one line, of which a long list is cut."""
    more = f"; and {len(told) - _TEN} more" if len(told) > _TEN else ""
    return "; ".join(told[:_TEN]) + more


def digests(now: Content) -> dict[str, str]:
    """One short digest for each part of a use, for what is measured in it."""
    return {part: identity(dict(fields), 16) for part, fields in now.items()}


def _comparable(part: str, side: Content, both: tuple[Content, Content]) -> Mapping[str, str]:
    """The fields of a part by which two sides can be compared."""
    fields = side.get(part, {})
    held = {one.get("answering", {}).get("precision") for one in both}
    if part not in ("weights", "model"):
        return fields
    if len(held) == 1 or not all(held):
        return {_WHOLE: fields.get(_WHOLE, "")}
    if part == "model":  # it is over the weights as they are held
        return {}
    return {} if held & {"8bit", "4bit"} else {_WHOLE: fields.get("rounded", "")}


def _told(name: str, before: str | None, after: str | None) -> str:
    """One field and its values; a digest says nothing to a reader, and is left out."""
    if name == _WHOLE or _is_digest(before) or _is_digest(after):
        return "" if name == _WHOLE else name
    return f"{name} {_near(before, after)} -> {_near(after, before)}"


def _is_digest(text: str | None) -> bool:
    return text is not None and len(text) in (16, 64) and not set(text) - set("0123456789abcdef")


def _near(text: str | None, other: str | None) -> str:
    """A value, of a long one the part in which it begins to differ from the other."""
    if text is None:
        return f"({DEFAULT})"
    if len(text) <= _SHORT:
        return text
    pairs = enumerate(zip(text, other or "", strict=False))
    first = next((position for position, (one, two) in pairs if one != two), min(len(text), len(other or "")))
    start = min(max(0, first - _SHORT // 3), len(text) - _SHORT)
    end = start + _SHORT
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
    """Content as it was written; a file from elsewhere may hold anything."""
    parts = value if isinstance(value, Mapping) else {}
    tables = {part: fields for part, fields in parts.items() if part in _PARTS and isinstance(fields, Mapping)}
    texts = {
        part: {str(name): text for name, text in fields.items() if isinstance(text, str)}
        for part, fields in tables.items()
    }
    return {part: fields for part, fields in texts.items() if fields}


def _json(value: Any) -> str:
    return json.dumps(value, default=dict, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
