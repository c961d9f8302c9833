"""Command-line flags made from the settings themselves: one definition, one help text, one check."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from prunekit.experiment import presets
from prunekit.experiment.settings import Experiment, TaskSettings
from prunekit.support import toml
from prunekit.support.errors import ConfigError, nearest
from prunekit.support.names import joined
from prunekit.tasks import IN_MEMORY, own_name

# of `Experiment`; "" is its own
_SECTIONS = ("", "model", "task", "prompt", "training", "pruning", "search", "baselines", "machine")
# flags that are not just the field's name
_NAMES = {
    "model.name": "model",
    "model.revision": "model-revision",
    "task.name": "task",
    "task.revision": "data-revision",
    "prompt.tokens": "prompt-tokens",
    "prompt.start_from": "from",
}

Command = TypeVar("Command", bound=Callable[..., None])


def with_settings(*sections: str) -> Callable[[Command], Command]:
    """Give a command a flag for every field of the named sections of `Experiment` (or for `section.field` alone)."""

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        parameters = inspect.signature(command).parameters.values()
        declared = [
            parameter.replace(annotation=hints[parameter.name])
            for parameter in parameters
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        flags = [_parameter(*field) for section in sections for field in _fields_of(section)]
        command.__signature__ = inspect.Signature([*declared, *flags])  # type: ignore[attr-defined]
        return command

    return decorate


def experiment(file: Path | None, flags: dict[str, Any], table: dict[str, Any] | None = None) -> Experiment:
    """The experiment of a TOML file (or of a table of settings) with flags laid over it.

    Args:
        file: a path, or the name of published settings.
        flags: by name, with underscores.
        table: settings by section, where there is no file.

    Raises:
        ConfigError: naming the flag, or the file and key, that is wrong.
    """
    table = toml.read_table(presets.file_of(file)) if file else dict(table or {})
    where = str(file) if file else "settings"
    for path, name in _flags_by_path().items():
        value = flags.get(_variable(name))
        if value is None:
            continue
        section, _, field = path.rpartition(".")
        (_section(table, section, where) if section else table)[field] = value
    _name_own_data(table, where)
    _refuse_model_without_task(table, where)
    _name_testbed_model(table, where)
    return toml.parse(table, Experiment, where, rename=flag)


def task_settings(flags: dict[str, Any]) -> TaskSettings:
    """The settings of data alone, whose task is made of its columns.

    Raises:
        ConfigError: naming the flag that is wrong.
    """
    return experiment(None, {"model": "none"} | flags).task  # no model is loaded, whatever it is called


def experiments(file: Path | None, flags: dict[str, Any]) -> list[Experiment]:
    """One experiment per task of `--task a,b`; `--data x,y` names their folders in the same order.

    Raises:
        ConfigError: as `experiment`, or where tasks and folders do not pair up.
    """
    names, folders = (str(flags.get(name) or "").split(",") for name in ("task", "data"))
    if len(names) == 1:
        return [experiment(file, flags)]
    if folders != [""] and len(folders) != len(names):
        raise ConfigError(f"--data = {flags['data']}: {len(folders)} folders for {len(names)} tasks; name one for each")
    pairs = zip(names, folders if folders != [""] else [None] * len(names), strict=True)
    return [experiment(file, flags | {"task": name.strip(), "data": folder}) for name, folder in pairs]


def _section(table: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """A section of a table, made where it is missing."""
    content: Any = table.setdefault(name, {})
    if not isinstance(content, dict):
        raise ConfigError(
            f'{where}: "{name}" is a section of settings, not {str(content)[:40]!r}; write [{name}] above them'
        )
    return content


def _name_own_data(table: dict[str, Any], where: str) -> None:
    """Data without a task is a task of its own, called after its file."""
    task = _section(table, "task", where)
    if task.get("name") is None and task.get("data") is not None:
        task["name"] = own_name(task["data"] if isinstance(task["data"], str) else IN_MEMORY)


def _name_testbed_model(table: dict[str, Any], where: str) -> None:
    """A task of a testbed is one of the embedded model that was pretrained for it."""
    from prunekit.tasks.testbed_tasks import PREFIX, model_for

    model, task = _section(table, "model", where), str(_section(table, "task", where).get("name", ""))
    if model.get("name") is None and task.startswith(PREFIX) and model_for(task) != "testbed":
        model["name"] = model_for(task)


def _refuse_model_without_task(table: dict[str, Any], where: str) -> None:
    """Refuse a model without a task or a task without a model: the embedded ones are defaults of each other alone."""
    model, task = (_section(table, section, where).get("name") for section in ("model", "task"))
    if model is None and task is not None and not str(task).startswith("testbed/"):
        raise ConfigError(f'{where}: task "{task}" needs a model: add --model (a local folder or a Hub name)')
    if task is None and model not in (None, "testbed"):
        choices = "a name from `prunekit tasks`, or a file"
        raise ConfigError(
            f'{where}: model "{model}" needs a task: add --task ({choices}), or your own rows: '
            "--data FILE --text COLUMN --label COLUMN"
        )


def flag(path: str) -> str:
    """The flag that sets a field, such as --keep-tokens for pruning.keep_tokens."""
    names = _flags_by_path()
    return f"--{names[path]}" if path in names else path


def written(value: Any) -> str:
    """A setting's value as its flag takes it."""
    if isinstance(value, Mapping):
        return json.dumps(dict(value), ensure_ascii=False)
    return joined(value) if isinstance(value, list | tuple) else str(value)


def names(*sections: str) -> frozenset[str]:
    """What the settings of sections (of all, where none is named) are called in Python: such as keep_tokens."""
    flags = _flags_by_path()
    return frozenset(_variable(flags[path]) for section in sections or _SECTIONS for path in _paths(section))


def check_names(settings: Iterable[str], known: Collection[str], otherwise: str = "") -> None:
    """Refuse settings that there are not.

    Args:
        known: a part of `names()`.
        otherwise: where other settings belong, for the error.

    Raises:
        ConfigError: with the nearest one.
    """
    for name in settings:
        if name not in known:
            raise ConfigError(f'unknown setting "{name}"; {nearest(name, known)}{otherwise}')


def _variable(name: str) -> str:
    """A flag's name in Python; `from`, a keyword there, becomes `from_`."""
    plain = name.replace("-", "_")
    return f"{plain}_" if iskeyword(plain) else plain


@cache
def _flags_by_path() -> dict[str, str]:
    """Dotted path of every setting, such as pruning.keep_tokens -> the name of its flag."""
    paths = (path for section in _SECTIONS for path in _paths(section))
    return {path: _NAMES.get(path, path.rpartition(".")[2].replace("_", "-")) for path in paths}


def _paths(section: str) -> list[str]:
    return [f"{section}.{name}".lstrip(".") for name, _ in _fields(section)]


def _fields_of(section: str) -> list[tuple[str, str, FieldInfo]]:
    """(section, name, field) of a section, or of the one field that "section.field" names."""
    section, _, only = section.partition(".")
    return [(section, name, field) for name, field in _fields(section) if only in ("", name)]


def _fields(section: str) -> list[tuple[str, FieldInfo]]:
    """The plain fields of a section; "" is the experiment's own."""
    if not section:
        return [("seeds", Experiment.model_fields["seeds"])]
    model = Experiment.model_fields[section].annotation
    assert isinstance(model, type) and issubclass(model, BaseModel)
    return list(model.model_fields.items())


def _parameter(section: str, name: str, field: FieldInfo) -> inspect.Parameter:
    path = f"{section}.{name}".lstrip(".")
    flag = _flags_by_path()[path]
    kind = bool if field.annotation is bool else str
    default = "" if field.is_required() or field.default is None else f" (default: {_default_text(field.default)})"
    option = typer.Option(
        f"--{flag}",
        help=f"{field.description or ''}{default}",
        rich_help_panel=f"Settings: {section or 'experiment'}",
        metavar=None if kind is bool else _metavar(field.annotation),
        show_default=False,
    )
    return inspect.Parameter(
        _variable(flag),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _default_text(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return f"{value[0]}," if len(value) == 1 else joined(value)  # a number alone is a count


def _metavar(annotation: Any) -> str:
    """What a flag takes, such as trained|init|reinit|INT."""
    if get_origin(annotation) is Annotated:
        return _metavar(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    parts = [_metavar(argument) for argument in get_args(annotation) if argument not in (type(None), ...)]
    kinds = {int: "INT", float: "NUMBER", str: "TEXT"}
    words = parts or [kinds.get(annotation, "TEXT")]
    # literals read best before the open kinds
    return "|".join(sorted(dict.fromkeys(words), key=lambda word: word in kinds.values()))
