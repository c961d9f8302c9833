"""What a run was asked to do, in words, and the command that would ask for it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from prunekit.experiment import settings_io
from prunekit.experiment.settings import Experiment, PruningSettings, SearchSettings
from prunekit.runs.run import Run
from prunekit.support.errors import PrunekitError
from prunekit.tasks import load_task

# what a command needs not say: it is settled by the run itself, or not part of what is asked
_LEFT_OUT = {"machine"}
_SHUFFLED = "those of train and validation were shuffled: a null of training; test kept its own"


def asked(run: Run) -> list[tuple[str, str]]:
    """What was asked, as names and answers."""
    settings = run.settings()
    model, prompt, training = settings["model"], settings["prompt"], settings["training"]
    sizes = settings["examples"]
    start = prompt.get("init_from") or prompt["init"]
    text = f' "{prompt["init_text"]}"' if prompt.get("init_text") else ""
    return [
        ("Task", settings["task"]["name"]),
        *_task_text(settings),
        *([("Labels", _SHUFFLED)] if settings["task"].get("labels") == "shuffled" else []),
        ("Model", f"{model['name']} (frozen, {model['precision']})"),
        (
            "Prompt",
            f"{prompt['tokens']} tokens, {prompt['pieces']} pieces each, method {prompt['method']}, "
            f"placed {model['position']}, started from {start}{text}",
        ),
        (
            "Training",
            f"{training['train_steps']} updates of {training['batch_size']} examples a round, {training['optimizer']} "
            f"at {training['learning_rate']:g}; the values kept are the {training['keep']} on validation",
        ),
        ("Seeds", f"{len(settings['seeds'])} ({', '.join(map(str, settings['seeds']))})"),
        ("Examples", f"train {sizes['train']}, validation {sizes['validation']}, test {sizes['test']}"),
        ("Judged by", f"{settings['metric']}; validation chooses, test is looked at once per finished ticket"),
        *[(stage, _stage(run, stage)) for stage in run.stages() if stage.startswith(("prune-", "search-"))],
        ("Named beforehand", "the primary comparison: the pruned ticket against dense continued, paired over seeds"),
    ]


def again(run: Run, stage: str = "", *more: str) -> str:
    """The command that goes on with a run, or with one of its stages; `more` flags go behind it."""
    settings = run.settings()
    verb = {"prune": "prune", "search": "search"}.get(stage.partition("-")[0], "tune")
    sections = {name: settings[name] for name in Experiment.model_fields if name in settings and name not in _LEFT_OUT}
    if verb != "tune":
        sections |= _split(run.stage_settings(stage), verb)
    words = ["prunekit", verb, *_flags(sections), "--out", str(run.path.parent), *more]
    return shlex.join(words)


def score(run: Run, seed: int, kind: str) -> str:
    """The command that scores the dense prompt of a seed."""
    return shlex.join(["prunekit", "score", str(run.path / f"seed={seed}" / "round=00"), "--kind", kind])


def _task_text(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The template and answers, where the task can still be read and is still the one that was trained on."""
    wanted = settings["task"]
    try:
        task = load_task(wanted["name"], wanted.get("data"))
        same = task.digest() == settings["digests"]["task"]
    except (PrunekitError, OSError):
        return [("Text", "the task file is not where it was")]
    if not same:
        return [("Text", "the task file has changed since")]
    answers = "each example's own" if task.choices is None else ", ".join(task.choices)
    return [("Text", task.template), ("Answers", answers)]


def _stage(run: Run, stage: str) -> str:
    asked = run.stage_settings(stage)
    ends = f"score {asked['score']}, rewound to {asked['rewind']}, dropped tokens: {asked['dropped_as']}"
    if stage.startswith("search-"):
        halving = ", halving" if asked["halving"] else ""
        return f"search over ratios, grid {asked['grid']}{halving}; {ends}"
    return (
        f"{asked['rounds']} rounds of pruning, keep tokens {asked['keep_tokens']:g} and pieces "
        f"{asked['keep_pieces']:g}; {ends}"
    )


def _split(stage: Mapping[str, Any], verb: str) -> dict[str, dict[str, Any]]:
    """A stage's settings by the sections of an experiment that they came from."""
    known = {"pruning": PruningSettings.model_fields, "search": SearchSettings.model_fields}
    sections = ("pruning",) if verb == "prune" else ("pruning", "search")
    return {name: {key: value for key, value in stage.items() if key in known[name]} for name in sections}


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
            words += (
                [settings_io.flag(f"{section}.{key}")]
                if value is True
                else [settings_io.flag(f"{section}.{key}"), str(value)]
            )
    return words


def _seeds(seeds: Sequence[int]) -> list[str]:
    if list(seeds) == [0]:
        return []
    return ["--seeds", str(len(seeds)) if list(seeds) == list(range(len(seeds))) else ",".join(map(str, seeds))]
