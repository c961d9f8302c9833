"""What a run was asked to do, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunekit.experiment.settings import TaskSettings
from prunekit.experiment.task_of import named_task
from prunekit.runs import summary
from prunekit.runs.paths import Stage
from prunekit.runs.reader import RunReader
from prunekit.support.errors import PrunekitError
from prunekit.tasks import Task

_SHUFFLED = "those of train and validation were shuffled: a null of training; test kept its own"


def request(run: RunReader) -> list[tuple[str, str]]:
    """Task, model, prompt, training and what else was asked for, as names and answers."""
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
        ("Judged by", _judged_by(run)),
        *[(stage, _stage(run, stage)) for stage in run.stages() if stage.is_pruned],
        ("Named beforehand", "the primary comparison: the pruned ticket against dense continued, paired over seeds"),
    ]


def _task_text(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The template and answers, where the task can still be read and is still the one that was trained on."""
    try:
        task = named_task(TaskSettings.model_validate(settings["task"]))
        same = task.digest() == settings["digests"]["task"]
    except (PrunekitError, OSError):
        return [("Text", "the task file is not where it was")]
    if not same:
        return [("Text", "the task file has changed since")]
    return [("Text", task.template), ("Answers", _answers(task))]


def _answers(task: Task) -> str:
    """What a model chooses among, or how it writes."""
    choices = "each example's own" if task.choices is None else ", ".join(task.choices)
    if not task.open:
        return choices
    right = f"right is {task.target}" if task.target else f"right is one of: {choices}"
    return f"written ({task.decoding.in_words}); {right}"


def _judged_by(run: RunReader) -> str:
    metric = str(run.settings()["metric"])
    chooses = summary.chosen_by(run.results(), metric)
    if chooses == metric:
        return f"{metric}; validation chooses, test is looked at once per finished ticket"
    return (
        f"{metric} of what is written; the {chooses} on validation chooses steps and ratios, and a finished ticket "
        "writes once to validation and once to test"
    )


def _stage(run: RunReader, stage: Stage) -> str:
    settings = run.stage_settings(stage)
    how = f"score {settings['score']}, rewound to {settings['rewind']}, dropped tokens: {settings['dropped_as']}"
    if stage.verb == "search":
        halving = ", halving" if settings["halving"] else ""
        if run.unit(stage) == "directions":
            return f"search over ranks, of singular directions{halving}; {how}"
        return f"search over ratios, grid {settings['grid']}{halving}; {how}"
    if "keep_rank" in settings:
        return f"{settings['rounds']} rounds of pruning directions, keep {settings['keep_rank']:g}; {how}"
    return (
        f"{settings['rounds']} rounds of pruning, keep tokens {settings['keep_tokens']:g} and pieces "
        f"{settings['keep_pieces']:g}; {how}"
    )
