"""What the verbs that need a model do, between the command line and the library."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from prunekit import export
from prunekit.cli import comparison, inspection
from prunekit.engine import memory as capacity
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import Evaluation
from prunekit.engine.evaluate import evaluate as judge
from prunekit.experiment import dry_run as foresight
from prunekit.experiment import environment, sameness, settings_io, tracking
from prunekit.experiment.prepare import Prepared, encode, model_of, prepare, task_of
from prunekit.experiment.prompt_method import listed
from prunekit.experiment.run import directory_of, run, search
from prunekit.experiment.settings import Experiment
from prunekit.models import FrozenModel
from prunekit.pruning.ticket import Ticket
from prunekit.runs import outputs
from prunekit.runs.round_files import locate, open_ticket
from prunekit.runs.run import Run
from prunekit.support import atomic, terminal
from prunekit.support.errors import ConfigError, DivergedError
from prunekit.tasks import Example, Task, load_task, read_rows

# settings that may be paths: what they name can lie in one folder or another
_LIE_SOMEWHERE = ("model.name", "task.name", "task.data")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Wish:
    """How a verb that trains was called.

    Attributes:
        tolerance: how far below dense a ticket may be, in units of the primary metric; also the margin of equivalence.
        track: who else is shown the numbers, as `tracking.tracker` takes it.
    """

    verb: Literal["tune", "prune", "search"]
    out: Path
    tolerance: float = 0.01
    controls: bool = False
    dry_run: bool = False
    json: bool = False
    track: str | None = None


def train(experiments: Sequence[Experiment], wish: Wish) -> None:
    """`tune`, `prune` and `search`, task by task: run or resume, then show what was found, over all tasks at the end.

    Raises:
        DivergedError: at the end where a lineage stopped; what the others reached is kept and shown.
    """
    screen = terminal.Screen()
    tracker = tracking.tracker(wish.track) if wish.track else None
    made: list[tuple[Run, str]] = []
    for prepared in _all_prepared(experiments):
        _introduce(prepared, screen)
        if wish.dry_run:
            _foresee(prepared, wish)
            continue
        directory, stage = _trained(prepared, wish, screen, tracker)
        made.append((directory, stage))
        if not wish.json:
            inspection.show(directory.path, wish.tolerance, json=False, stages=["", stage], arms=False)
    if not wish.dry_run:
        _conclude(made, wish)


def _trained(
    prepared: Prepared, wish: Wish, screen: terminal.Screen, tracker: tracking.Tracker | None
) -> tuple[Run, str]:
    """One task: its run, and the stage that was asked for."""
    path = directory_of(prepared, wish.out)
    with tracking.followed(screen, path, tracker) as watch:
        if wish.verb == "search":
            return search(prepared, wish.out, watch, controls=wish.controls), prepared.search_stage
        prune = wish.verb == "prune"
        made = run(prepared, wish.out, watch, prune=prune, controls=wish.controls)
    return made, prepared.stage if prune else ""


def _all_prepared(experiments: Sequence[Experiment]) -> list[Prepared]:
    """All tasks at once, on one model: what is wrong with the last is said before the first is trained."""
    prepared: list[Prepared] = []
    for experiment in experiments:
        made = prepare(experiment, prepared[0].model if prepared else None)
        if any(experiment.task.name == one.experiment.task.name for one in prepared):
            raise ConfigError(f"--task names {made.task.name} twice; a task's seeds would count as units of themselves")
        prepared.append(made)
    return prepared


def _conclude(made: Sequence[tuple[Run, str]], wish: Wish) -> None:
    """The comparison over all tasks, or everything as JSON; then whoever stopped."""
    if wish.json:
        each = [inspection.facts(directory, wish.tolerance, ["", stage]) for directory, stage in made]
        facts = each[0] if len(each) == 1 else {"runs": each}
        terminal.write_json(facts | (comparison.facts(made, wish.tolerance) if wish.controls else {}))
    elif wish.controls:
        comparison.show_arms(made, wish.tolerance)
    results = pd.concat([directory.results() for directory, _ in made])
    stopped = results[results["status"] == "diverged"]
    if len(stopped):
        first = stopped.iloc[0]
        raise DivergedError(
            f"{len(stopped)} lineage(s) stopped, the first is seed {first['seed']} in round {first['round']}: "
            f"{first['reason']}; try a smaller --learning-rate"
        )


@dataclass(frozen=True)
class Use:
    """A finished ticket with all that it is used on, compared with what it was made with.

    Attributes:
        rows: the examples of the splits that were asked for, by name.
        differences: what is not as it was, where that was allowed.
    """

    ticket: Ticket
    experiment: Experiment
    task: Task
    model: FrozenModel
    rows: Mapping[str, Sequence[Example]]
    differences: Sequence[str]
    content: sameness.Content


def evaluate(
    ticket_path: Path, split: str, settings: dict[str, Any], *, json: bool, allow_changed: bool = False
) -> None:
    """`eval`: the metrics of a ticket on one split."""
    if split not in SPLITS:
        raise ConfigError(f'--split {split}: there are "train", "validation" and "test"')
    use = in_use(ticket_path, settings, [split], allow_changed=allow_changed)
    examples = use.rows[split]
    found = _answers(use, examples)
    metrics = use.task.score(examples, found.chosen[0].tolist())
    facts = {"split": split, "examples": len(examples), **metrics, "loss": float(found.losses.mean())}
    if json:
        terminal.write_json(facts | ({"differs": use.differences} if use.differences else {}))
        return
    terminal.show(
        list(facts), [[f"{value:.4f}" if isinstance(value, float) else str(value) for value in facts.values()]]
    )


def predict(
    ticket_path: Path,
    rows: Path,
    out: Path | None,
    settings: dict[str, Any],
    *,
    allow_changed: bool = False,
    overwrite: bool = False,
) -> None:
    """`predict`: one JSON line per row, with the answer, its place among the choices and its score.

    Args:
        overwrite: also a file that holds something else than answers, but never the rows or the ticket.
    """
    if out is not None:
        outputs.check(out, overwrite=overwrite, is_ours=outputs.is_answers, reads=(rows, ticket_path))
    use = in_use(ticket_path, settings, [], allow_changed=allow_changed)
    task, examples = use.task, read_rows(rows, use.task)
    found = _answers(use, examples)
    lines = []
    for example, choice, score in zip(examples, found.chosen[0].tolist(), found.scores[0].tolist(), strict=True):
        answer = {"index": example.index, "answer": example.choices[choice], "choice": choice, "score": score}
        if task.labels is not None:
            answer["label"] = task.labels[choice]
        lines.append(terminal.json_line(answer, "utf-8" if out else sys.stdout.encoding))
    text = "\n".join(lines) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        atomic.replace(out, text.encode())
        terminal.write(f"{len(lines)} answers written to {out}")


def methods(settings: dict[str, Any], prompt_tokens: int, *, json: bool) -> None:
    """`methods`: every parameterisation with what it trains of P = `prompt_tokens` on a model, and where it is from."""
    # any task does: only the model is asked
    model = model_of(settings_io.experiment(None, {"task": "testbed/first-animal"} | _given(settings)))
    found = listed(prompt_tokens, model.width)
    if json:
        terminal.write_json(found)
        return
    rows = [[one["method"], str(one["parameters"]), one["description"]] for one in found]
    title = f"trained parameters of {prompt_tokens} prompt tokens on a model {model.width} wide"
    terminal.show(["method", "parameters", "what it is"], rows, title=title)


def opened(path: Path, settings: dict[str, Any]) -> tuple[Ticket, Experiment]:
    """A finished ticket, and the settings to use it under: those of its run, with the given flags over them."""
    found, ticket = locate(path), open_ticket(path)
    if found is None:
        made_with = {name: ticket.origin.get(name) for name in ("model", "model_revision", "task")}
        made_with |= sameness.settings_of(ticket) | {"position": ticket.position}
        return ticket, settings_io.experiment(None, made_with | _given(settings))
    return ticket, settings_io.experiment(None, _given(settings), _own(found[0]))


def changed(run: Run, settings: dict[str, Any]) -> dict[str, Any]:
    """The given flags of model and task that are other than a run's own, by dotted name.

    A model, task or data of the same name that lies in another folder is the same.
    """
    own, asked = (
        settings_io.experiment(None, given, _own(run)).model_dump(mode="json") for given in ({}, _given(settings))
    )
    found = {}
    for section in ("model", "task"):
        for name, value in asked[section].items():
            mine, lies = own[section][name], f"{section}.{name}" in _LIE_SOMEWHERE
            if value != mine and not (lies and value and mine and Path(value).name == Path(mine).name):
                found[f"{section}.{name}"] = value
    return found


def _own(run: Run) -> dict[str, Any]:
    """What a run's tickets are used under where nothing else is said."""
    known = run.settings()
    return {section: known[section] for section in ("model", "task", "prompt", "machine")}


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def in_use(path: Path, settings: dict[str, Any], splits: Sequence[str], *, allow_changed: bool) -> Use:
    """A finished ticket under its own settings with the given flags over them, its model and these splits loaded.

    What differs from what it was made with is said where it is allowed, and where it can be no more than rounding.

    Raises:
        ConfigError: in one line with all differences where they are not allowed, or the ticket cannot be used.
    """
    ticket, experiment = opened(path, settings)
    if splits:
        task, found = task_of(experiment)
        rows = {name: found.parts[name] for name in splits}
    else:
        task, rows = load_task(experiment.task.name, experiment.task.data), {}
    model = model_of(experiment)
    check_fit(ticket, model)
    now = sameness.content(model, task, rows)
    told = check_same(path, ticket, now, allow_changed=allow_changed, device=experiment.machine.device)
    return Use(ticket, experiment, task, model, rows, told, now)


def check_same(
    path: Path,
    ticket: Ticket,
    now: sameness.Content,
    *,
    allow_changed: bool,
    device: str = "cpu",
    apart: Collection[str] = (),
) -> list[str]:
    """In what a use differs from what a round of a run, or a ticket file, was made with; it is said.

    Raises:
        ConfigError: where it differs and that is not allowed.
    """
    found = locate(path)
    own = sameness.of_ticket(ticket) if found is None else sameness.of_run(found[0])
    told = sameness.check(path, own, now, allow_changed=allow_changed, apart=apart)
    if told:
        terminal.Screen().say(f"note: not what it was made with, and used all the same: {sameness.in_line(told)}")
    if found is not None:
        for line in environment.notes(found[0], [found[1]], device):
            terminal.Screen().say(line)
    return told


def check_fit(ticket: Ticket, model: FrozenModel) -> None:
    """Whether a ticket can be used on a model.

    Raises:
        ConfigError: where its prompt or its head is of another width.
    """
    with torch.no_grad():
        width = ticket.prompt()()[0].shape[-1]
    if width != model.width:
        raise ConfigError(f"the ticket is {width} wide, the model's embeddings {model.width}")
    if ticket.head is not None and (wide := ticket.head["weight"].shape[1]) != model.hidden_width:
        raise ConfigError(f"the ticket's head is {wide} wide, the model's states {model.hidden_width}")


def _answers(use: Use, examples: Sequence[Example]) -> Evaluation:
    with torch.no_grad():
        prompts = prompt_batch([Member(use.ticket, use.model.device)])
    return judge(prompts, use.model, encode(use.model, use.task, examples, len(use.ticket.mask.token)))


def _introduce(prepared: Prepared, screen: terminal.Screen) -> None:
    """What is about to be done, in a few lines."""
    settings, splits = prepared.experiment, prepared.splits
    prompt, plan = settings.prompt, prepared.plan
    screen.say(
        f"{prepared.task.name} on {settings.model.name}: {prompt.tokens} prompt tokens x {prompt.pieces} pieces, "
        f"placed {prepared.model.position}, seeds {', '.join(map(str, settings.seeds))}"
    )
    screen.say(
        f"train {len(splits.train)}, validation {len(splits.validation)}, test {len(splits.test)} examples; "
        f"{plan.train_steps} updates of {plan.batch_size} per round, {plan.optimizer} at {plan.learning_rate}, "
        f"evaluated every {plan.evaluate_every}, patience {plan.patience}"
    )
    if settings.task.labels == "shuffled":
        screen.say("the answers of train and validation are shuffled, those of test are true: a null of training")
    for note in (*prepared.notes, *prepared.making.notes):
        screen.say(note)
    try:
        export.check_exportable(prepared.dense(0), prepared.model)
    except ConfigError as error:
        screen.say(f"note: {error}")
    cut = sum(one.cut for one in prepared.training_data.train)
    if cut:
        limit = settings.model.max_input_tokens
        screen.say(f"{cut} of {len(splits.train)} training texts were cut to {limit} tokens (--max-input-tokens)")


def _foresee(prepared: Prepared, wish: Wish) -> None:
    """`--dry-run`: what would be trained, minutes and memory."""
    parts = foresight.parts(prepared, wish.verb, wish.controls)
    minutes = foresight.minutes(prepared, parts)
    total, memory = sum(minutes), capacity.peak_memory_mb()
    if wish.json:
        each = [asdict(part) | {"minutes": spent} for part, spent in zip(parts, minutes, strict=True)]
        terminal.write_json({"run": prepared.name, "parts": each, "minutes": total, "memory_mb": memory})
        return
    rows = [
        [part.title, part.tokens, part.pieces, str(part.tickets), f"{spent:.1f}"]
        for part, spent in zip(parts, minutes, strict=True)
    ]
    terminal.show(["part", "tokens", "pieces", "tickets", "minutes at most"], rows)
    terminal.write(
        f"at most {total:.0f} minutes and about {memory:.0f} MB in all (pruned tickets are quicker); "
        f"would be written to {prepared.name}"
    )
