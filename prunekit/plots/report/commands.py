"""The commands that go on with a run, or make what its page lacks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from prunekit.experiment import settings_io
from prunekit.experiment.settings import Experiment, PruningSettings, SearchSettings
from prunekit.plots.run_choice import score_command
from prunekit.runs.paths import DENSE, Stage
from prunekit.runs.reader import RunReader

# what a command needs not say: it is settled by the run itself, or not part of what is asked
_LEFT_OUT = {"machine"}


def to_go_on(run: RunReader, stage: Stage = DENSE, *more: str) -> str:
    """The command that goes on with a run, or with one of its stages; `more` flags go behind it."""
    settings = run.settings()
    verb = stage.verb if stage.is_pruned else "tune"
    sections = {name: settings[name] for name in Experiment.model_fields if name in settings and name not in _LEFT_OUT}
    if verb != "tune":
        sections |= _split(run.stage_settings(stage), verb)
    words = ["prunekit", verb, *_flags(sections), "--out", str(run.path.parent), *more]
    return shlex.join(words)


def to_score(run: RunReader, seed: int, kind: str) -> str:
    """The command that scores the dense prompt of a seed."""
    return score_command(run, seed, "--kind", kind)


def _split(stage: Mapping[str, Any], verb: str) -> dict[str, dict[str, Any]]:
    """A stage's settings by the sections of an experiment that they came from."""
    fields = {"pruning": PruningSettings.model_fields, "search": SearchSettings.model_fields}
    sections = ("pruning",) if verb == "prune" else ("pruning", "search")
    return {name: {key: value for key, value in stage.items() if key in fields[name]} for name in sections}


def _flags(sections: Mapping[str, Any]) -> list[str]:
    """Flags for what differs from the defaults."""
    defaults = Experiment().model_dump(mode="json")
    words: list[str] = []
    for section, values in sections.items():
        if not isinstance(values, Mapping):
            words += _seeds(values) if section == "seeds" else []
            continue
        for key, value in values.items():
            if value is None or value == defaults[section].get(key):
                continue
            flag = settings_io.flag(f"{section}.{key}")
            words += [flag] if value is True else [flag, settings_io.written(value)]
    return words


def _seeds(seeds: Sequence[int]) -> list[str]:
    if list(seeds) == [0]:
        return []
    if list(seeds) == list(range(len(seeds))):
        return ["--seeds", str(len(seeds))]
    return ["--seeds", ",".join(map(str, seeds)) + "," * (len(seeds) == 1)]  # a number alone is a count
