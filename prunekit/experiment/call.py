"""What the functions of the library share: keyword settings, and a model that is loaded or named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from prunekit.experiment import settings_io
from prunekit.experiment.commits import without_others_revisions
from prunekit.experiment.prepare import model_of
from prunekit.experiment.settings import Experiment
from prunekit.models import FrozenModel, borrowed, wrap
from prunekit.models.load import family
from prunekit.support.errors import ConfigError

# where rows in memory belong
_ROWS = "rows in memory as data=, their columns as text= and label="


def experiment_of(
    model: Any, task: Any, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Experiment:
    """The experiment of keyword settings.

    Args:
        model: a loaded model, which goes by the name that it was loaded by; or a name; None for that of `defaults`.
        task: a name or path; None for that of `defaults`.
        settings: flags of the command line with underscores; None is as if it were not given.
        defaults: tables of settings by section, which hold where nothing else is given.

    Raises:
        ConfigError: naming the setting that there is not, or that is wrong.
    """
    if not isinstance(task, str | Path | None):
        raise ConfigError(f"task is a {type(task).__name__}; give a name or a path, and {_ROWS}")
    settings_io.check_names(settings, settings_io.names())
    flags = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    naming = _named(model) | ({} if task is None else {"task": str(task)})
    stated = {name: value for name, value in flags.items() if value is not None}
    tables = without_others_revisions(defaults or {}, naming | stated)
    return settings_io.experiment(None, naming | stated, deepcopy(tables))


def _named(model: Any) -> dict[str, str]:
    """The settings that name a model: of a loaded one also where it lies."""
    if model is None:
        return {}
    if isinstance(model, str | Path):
        return {"model": str(model)}
    if not hasattr(model, "config"):
        raise ConfigError(f"model is a {type(model).__name__}; give a loaded model or a name, and {_ROWS}")
    name = getattr(model.config, "_name_or_path", "") or model.config.model_type
    return {"model": name, "device": str(next(model.parameters()).device)}


def is_loaded(model: Any) -> bool:
    """Whether a model is in memory, and not only named."""
    return model is not None and not isinstance(model, str | Path)


def check_tokenizer(model: Any, tokenizer: Any) -> None:
    """Refuse a loaded model without its tokenizer, another beside a model that is named, and what is none.

    Raises:
        ConfigError: in one line.
    """
    if tokenizer is not None and not callable(tokenizer):
        raise ConfigError(f"tokenizer is a {type(tokenizer).__name__}; give a task as task=, and {_ROWS}")
    if tokenizer is not None and not is_loaded(model):
        raise ConfigError("a model that is named brings its own tokenizer; leave it out")
    if tokenizer is None and is_loaded(model):
        raise ConfigError("a loaded model needs its tokenizer beside it")


@contextmanager
def frozen_model(model: Any, tokenizer: Any, experiment: Experiment) -> Iterator[FrozenModel]:
    """The frozen model of a call; a loaded one gets its mode and its gradients' switches back in the end.

    Raises:
        ConfigError: as `check_tokenizer`.
        DataError: where there is no model of that name.
    """
    check_tokenizer(model, tokenizer)
    if not is_loaded(model):
        yield model_of(experiment)
        return
    settings = experiment.model
    with borrowed(model):
        yield wrap(
            model,
            tokenizer,
            position=settings.position if family(model.config) != "encoder-decoder" else "auto",
            ranking=settings.ranking,
            max_input_tokens=settings.max_input_tokens,
            text_cache_mb=settings.text_cache_mb,
        )
