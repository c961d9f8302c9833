"""`--dry-run`: what would be trained, and how long it may take, from a few updates that are thrown away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.train import train
from prunekit.experiment.prepare import Prepared
from prunekit.pruning.controls import CONTROLS
from prunekit.pruning.schedule import Keep, grid, line, rungs
from prunekit.support.digest import identity


@dataclass(frozen=True)
class Part:
    """Tickets of a kind that would be trained.

    Attributes:
        title: what they are.
        tokens: how many tokens they keep, in words where it differs.
        pieces: how many pieces they keep, in words where it differs.
        tickets: how many, over all seeds.
        share: of the updates of a full training that each makes at most.
    """

    title: str
    tokens: str
    pieces: str
    tickets: int
    share: float = 1.0


def pruning_parts(prepared: Prepared, controls: bool) -> list[Part]:
    """The rounds of `prune`, and its controls."""
    seeds = len(prepared.experiment.seeds)
    keeps = prepared.experiment.keeps()
    parts = [
        _dense(prepared),
        *(Part(f"round {n}", str(k.tokens), str(k.pieces), seeds) for n, k in enumerate(keeps, 1)),
    ]
    if not (controls and keeps):
        return parts
    trainings = _control_trainings(prepared, len(keeps)) * seeds
    return [*parts, Part("controls", f"about {keeps[-1].tokens}", str(keeps[-1].pieces), trainings)]


def search_parts(prepared: Prepared, controls: bool) -> list[Part]:
    """The trials of `search`, and its controls."""
    experiment, seeds = prepared.experiment, len(prepared.experiment.seeds)
    tokens, pieces = experiment.prompt.tokens, experiment.prompt.pieces
    share = _halving_share(prepared) if experiment.search.halving else 1.0
    lines = {
        "token": Part("token ratios", _range(line(tokens)), str(pieces), seeds * len(line(tokens)), share),
        "piece": Part("piece ratios", str(tokens), _range(line(pieces)), seeds * len(line(pieces)), share),
        "full": Part("all pairs", _range(line(tokens)), _range(line(pieces)), seeds * len(grid(tokens, pieces)), share),
    }
    piece_line = Part("piece ratios", "as chosen", _range(line(pieces)[1:]), seeds * (len(line(pieces)) - 1), share)
    grid_name = experiment.search.grid
    parts = [_dense(prepared), lines["token"] if grid_name == "paper" else lines[grid_name]]
    if grid_name == "paper":
        parts.append(piece_line)
        if controls:
            parts.append(replace(piece_line, title="piece-only row", tokens=str(tokens)))
    if controls:
        in_grid = 0 if experiment.search.halving else 1  # dense continued is a trial, unless halving may stop it
        parts.append(Part("controls", "as chosen", "as chosen", seeds * (_control_trainings(prepared, 1) - in_grid)))
    return parts


def parts(prepared: Prepared, verb: Literal["tune", "prune", "search"], controls: bool) -> list[Part]:
    """What a verb would train."""
    match verb:
        case "search":
            return search_parts(prepared, controls)
        case "prune":
            return pruning_parts(prepared, controls)
        case "tune":
            return [_dense(prepared)]


def minutes(prepared: Prepared, parts: Sequence[Part], rates: tuple[float, float] | None = None) -> list[float]:
    """An upper bound of the minutes of each part: pruned tickets are quicker, and some stop early.

    Args:
        prepared: the experiment.
        parts: what would be trained.
        rates: the result of `timed` for the same model, task and prompt, where there is one.
    """
    plan = prepared.plan
    update, evaluation = rates or timed(prepared)
    evaluations = plan.train_steps // plan.evaluate_every + 1
    examples = len(prepared.training_data.validation) * evaluations + len(prepared.test)
    full = (update * plan.train_steps + evaluation * examples) / 60
    return [full * part.tickets * part.share for part in parts]


def timing_key(prepared: Prepared) -> str:
    """A digest that is equal for experiments whose updates and evaluations take equally long."""
    settings = prepared.experiment
    # where values start and how they are cut into pieces changes no shape
    prompt = settings.prompt.model_dump(mode="json", exclude={"init", "init_text", "init_from", "pieces"})
    shared = settings.model_dump(mode="json", include={"model", "task", "machine"})
    training = settings.training.model_dump(mode="json", include={"batch_size", "optimizer"})
    return identity(shared | {"prompt": prompt, "training": training, "members": _members(prepared)})


def _members(prepared: Prepared) -> int:
    """Tickets that are timed side by side, as they would be trained."""
    return min(prepared.width, max(len(prepared.experiment.seeds), 2))


def _control_trainings(prepared: Prepared, rounds: int) -> int:
    """Trainings of the controls beside one ticket of so many rounds."""
    rewind = prepared.experiment.pruning.rewind
    return sum(len(control.rounds(rounds, rewind)) for control in CONTROLS)


def _dense(prepared: Prepared) -> Part:
    prompt = prepared.experiment.prompt
    full = Keep(prompt.tokens, prompt.pieces)
    return Part("round 0", str(full.tokens), str(full.pieces), len(prepared.experiment.seeds))


def _halving_share(prepared: Prepared) -> float:
    """The mean share of the updates that a trial makes under successive halving."""
    plan = prepared.plan
    alive, share, previous = 1.0, 0.0, 0
    for rung in (*rungs(plan.train_steps, plan.evaluate_every), plan.train_steps):
        share += alive * (rung - previous) / plan.train_steps
        alive, previous = alive / 2, rung
    return share


def _range(counts: Sequence[int]) -> str:
    return f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else ", ".join(map(str, counts))


def timed(prepared: Prepared) -> tuple[float, float]:
    """Seconds per ticket of one update, and of evaluating one example, side by side as they would be trained."""
    members = _members(prepared)
    tickets = [prepared.dense(seed) for seed in range(members)]
    examples = prepared.training_data.validation[:16]
    data = replace(prepared.training_data, validation=examples, measure=lambda chosen: {"none": 0.0})
    plan = replace(prepared.plan, train_steps=3, evaluate_every=3)
    started = time.perf_counter()
    evaluate(prompt_batch([Member(ticket, prepared.model.device) for ticket in tickets]), prepared.model, examples)
    evaluation = time.perf_counter() - started
    started = time.perf_counter()
    train(tickets, prepared.model, data, plan)
    update = max(0.0, time.perf_counter() - started - 2 * evaluation) / 3
    return update / members, evaluation / len(examples) / members
