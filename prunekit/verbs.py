"""What the verbs that need a model do, between the command line and the library."""

from __future__ import annotations

import json as codec
import resource
import sys
import time
from pathlib import Path
from typing import Any

from prunekit import console, flags, inspection
from prunekit.cohort import Member, soft
from prunekit.config import Experiment
from prunekit.errors import ArtifactError, ConfigError, DivergedError
from prunekit.evaluation import Evaluation
from prunekit.evaluation import evaluate as judge
from prunekit.experiment import run
from prunekit.prepare import Prepared, backbone_of, encode, prepare, task_of
from prunekit.records import finished_ticket
from prunekit.runs import MANIFEST, SETTINGS, Run
from prunekit.tasks import load_task, read_rows
from prunekit.tickets import Ticket
from prunekit.training import train as train_cohort


def train(experiment: Experiment, out: Path, tolerance: float, *, dry_run: bool, json: bool, prune: bool) -> None:
    """`prune` and `tune`: run or resume, then show what was found.

    Raises: DivergedError at the end where a lineage stopped; what the others reached is kept and shown.
    """
    screen = console.Screen()
    prepared = prepare(experiment)
    _introduce(prepared, screen)
    if dry_run:
        _foresee(prepared, prune, json=json)
        return
    made = run(prepared, out, screen, prune=prune)
    stages = ["", prepared.stage] if prune else [""]
    inspection.show(made.path, tolerance, json=json, stages=stages)
    results = made.results()
    stopped = results[results["status"] == "diverged"]
    if len(stopped):
        first = stopped.iloc[0]
        raise DivergedError(
            f"{len(stopped)} lineage(s) stopped, the first is seed {first['seed']} in round {first['round']}: "
            f"{first['reason']}; try a smaller --learning-rate"
        )


def evaluate(ticket_path: Path, split: str, settings: dict[str, Any], *, json: bool) -> None:
    """`eval`: the metrics of a ticket on one split."""
    if split not in ("train", "selection", "report"):
        raise ConfigError(f'--split {split}: there are "train", "selection" and "report"')
    ticket, experiment = _ticket(ticket_path, settings)
    task, splits = task_of(experiment)
    examples = getattr(splits, split)
    found = _answers(ticket, experiment, task, examples)
    metrics = task.score(examples, found.chosen[0].tolist())
    facts = {"split": split, "examples": len(examples), **metrics, "loss": float(found.losses.mean())}
    if json:
        console.write(codec.dumps(facts))
        return
    console.show(
        list(facts), [[f"{value:.4f}" if isinstance(value, float) else str(value) for value in facts.values()]]
    )


def predict(ticket_path: Path, rows: Path, out: Path | None, settings: dict[str, Any]) -> None:
    """`predict`: one JSON line per row, with the answer, its place among the choices and its score."""
    ticket, experiment = _ticket(ticket_path, settings)
    task = load_task(experiment.task.name, experiment.task.data)
    examples = read_rows(rows, task)
    found = _answers(ticket, experiment, task, examples)
    lines = []
    for example, choice, score in zip(examples, found.chosen[0].tolist(), found.scores[0].tolist(), strict=True):
        answer = {"index": example.index, "answer": example.choices[choice], "choice": choice, "score": score}
        if task.labels is not None:
            answer["label"] = task.labels[choice]
        lines.append(codec.dumps(answer, ensure_ascii=False))
    text = "\n".join(lines) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
        console.write(f"{len(lines)} answers written to {out}")


def _ticket(path: Path, settings: dict[str, Any]) -> tuple[Ticket, Experiment]:
    """A finished ticket, and the settings to use it under: those of its run, with the given flags over them."""
    place = _round_of(path)
    if place is None:
        ticket = Ticket.load(path)
        made_with = {"model": ticket.origin.get("model"), "task": ticket.origin.get("task"), "place": ticket.place}
        return ticket, flags.experiment(None, made_with | _given(settings))
    made, stage, seed, number = place
    known = made.settings()
    table = {section: known[section] for section in ("model", "task", "prompt", "machine")}
    return finished_ticket(made, stage, seed, number), flags.experiment(None, _given(settings), table)


def _round_of(path: Path) -> tuple[Run, str, int, int] | None:
    """The run, stage, seed and round of a round directory; None for a ticket file.

    Raises: ArtifactError where the path is neither.
    """
    if path.is_file():
        return None
    if not (path / MANIFEST).is_file():
        raise ArtifactError(f"{path}: neither a ticket file nor a finished round's directory (seed=0/round=00)")
    path = path.resolve()
    seed, number = int(path.parent.name.removeprefix("seed=")), int(path.name.removeprefix("round="))
    above = path.parent.parent
    if (above / SETTINGS).is_file():
        return Run.open(above), "", seed, number
    return Run.open(above.parent), above.name, seed, number


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _answers(ticket: Ticket, experiment: Experiment, task: Any, examples: Any) -> Evaluation:
    import torch

    backbone = backbone_of(experiment)
    if ticket.origin.get("backbone") not in (None, backbone.digest()):
        console.Screen().say("note: this is not the model (or precision) that the ticket was made with")
    with torch.no_grad():
        prompts = soft([Member(ticket, backbone.device)])
    if prompts.values.shape[-1] != backbone.width:
        raise ConfigError(f"the ticket is {prompts.values.shape[-1]} wide, the model's embeddings {backbone.width}")
    encoded = encode(backbone, task, examples, len(ticket.mask.token))
    return judge(prompts, backbone, encoded)


def _introduce(prepared: Prepared, screen: console.Screen) -> None:
    """What is about to be done, in a few lines."""
    settings, splits = prepared.experiment, prepared.splits
    prompt, plan = settings.prompt, prepared.plan
    screen.say(
        f"{prepared.task.name} on {settings.model.name}: {prompt.tokens} prompt tokens x {prompt.pieces} pieces, "
        f"placed {prepared.backbone.place}, seeds {', '.join(map(str, settings.seeds))}"
    )
    screen.say(
        f"train {len(splits.train)}, selection {len(splits.selection)}, report {len(splits.report)} examples; "
        f"{plan.train_steps} updates of {plan.batch_size} per round, {plan.optimizer} at {plan.learning_rate}, "
        f"evaluated every {plan.evaluate_every}, patience {plan.patience}"
    )
    cut = sum(one.cut for one in prepared.lessons.train)
    if cut:
        limit = settings.model.max_input_tokens
        screen.say(f"{cut} of {len(splits.train)} training texts were cut to {limit} tokens (--max-input-tokens)")


def _foresee(prepared: Prepared, prune: bool, *, json: bool) -> None:
    """`--dry-run`: the rounds with their counts; minutes and memory from a few updates that are thrown away."""
    settings, plan, keeps = prepared.experiment, prepared.plan, prepared.keeps if prune else ()
    members = min(len(settings.seeds), settings.machine.width)
    update, evaluation = _timed(prepared, members)
    evaluations = plan.train_steps // plan.evaluate_every + 1
    looked_at = len(prepared.lessons.selection) * evaluations + len(prepared.report)
    cohorts = -(-len(settings.seeds) // members)
    minutes = (update * plan.train_steps + evaluation * looked_at) * cohorts / 60
    counts = [(settings.prompt.tokens, settings.prompt.pieces), *[(keep.tokens, keep.pieces) for keep in keeps]]
    rounds = [
        {"round": number, "tokens": tokens, "pieces": pieces, "cells": tokens * pieces, "minutes": minutes}
        for number, (tokens, pieces) in enumerate(counts)
    ]
    total, memory = minutes * len(rounds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if json:
        facts = {"run": prepared.name, "rounds": rounds, "minutes": total, "memory_mb": memory}
        console.write(codec.dumps(facts))
        return
    rows = [[f"{one['minutes']:.1f}" if key == "minutes" else str(one[key]) for key in one] for one in rounds]
    console.show(["round", "tokens", "pieces", "cells", "minutes at most"], rows)
    console.write(
        f"at most {total:.0f} minutes and about {memory:.0f} MB in all (pruned rounds are quicker); "
        f"would be written to {prepared.name}"
    )


def _timed(prepared: Prepared, members: int) -> tuple[float, float]:
    """Seconds of one update, and of evaluating one example, for `members` side by side; nothing is kept."""
    from dataclasses import replace

    tickets = [prepared.dense(seed) for seed in prepared.experiment.seeds[:members]]
    few = prepared.lessons.selection[:16]
    nothing = replace(prepared.lessons, selection=few, measure=lambda chosen: {"none": 0.0})
    plan = replace(prepared.plan, train_steps=3, evaluate_every=3)
    began = time.perf_counter()
    judge(soft([Member(ticket, prepared.backbone.device) for ticket in tickets]), prepared.backbone, few)
    evaluation = time.perf_counter() - began
    began = time.perf_counter()
    train_cohort(tickets, prepared.backbone, nothing, plan)
    update = max(0.0, time.perf_counter() - began - 2 * evaluation) / 3
    return update, evaluation / len(few)
