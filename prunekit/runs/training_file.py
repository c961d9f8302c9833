"""A cohort in the midst of its training as the bytes of one file, from which it goes on to the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from prunekit.engine.evaluate import Evaluation
from prunekit.engine.train import Checkpoint, LogEntry, MemberState, TrainingState
from prunekit.pruning.ticket import Values
from prunekit.runs import ticket_file
from prunekit.runs.paths import TRAINING
from prunekit.support.errors import ArtifactError

_EVALUATION = ("losses", "chosen", "scores")


def packed(state: TrainingState, of: str, seconds: float) -> bytes:
    """The bytes of a state.

    Args:
        of: what it is a state of: whoever reads it names the same.
        seconds: that the training took so far.
    """
    tensors: dict[str, Tensor] = {}
    members = [_member(member, f"{number}.", tensors) for number, member in enumerate(state.members)]
    return ticket_file.pack(tensors, {"of": of, "seconds": seconds, "step": state.step, "members": members})


def unpacked(content: bytes, of: str) -> tuple[TrainingState, float] | None:
    """The state that `packed` wrote and its seconds, or None where it is a state of something else.

    Raises:
        ValueError: where a byte differs from what was written.
    """
    try:
        tensors, facts = ticket_file.unpacked(content, Path(TRAINING))
    except ArtifactError as error:
        raise ValueError("it does not match its own sha256") from error
    if facts.get("of") != of:
        return None
    members = [_member_of(member, f"{number}.", tensors) for number, member in enumerate(facts["members"])]
    return TrainingState(facts["step"], tuple(members)), facts["seconds"]


def _member(state: MemberState, at: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What is no tensor of one member; its tensors are added to the table, under names that begin with `at`."""

    def put(name: str, part: Mapping[str, Tensor]) -> None:
        tensors.update({f"{at}{name}.{key}": tensor for key, tensor in part.items()})

    put("values", state.values.flat())
    for step, values in state.snapshots.items():
        put(f"snapshot {step}", values.flat())
    for name in ("best", "last"):
        checkpoint: Checkpoint = getattr(state, name)
        put(name, checkpoint.values.flat())
        if checkpoint.evaluation is not None:
            put(f"{name} evaluation", {part: getattr(checkpoint.evaluation, part) for part in _EVALUATION})
    plain: dict[str, dict[str, Any]] = {}
    for number, remembered in state.optimizer.items():
        put(f"optimizer {number}", {key: part for key, part in remembered.items() if isinstance(part, Tensor)})
        plain[str(number)] = {key: part for key, part in remembered.items() if not isinstance(part, Tensor)}
    return {
        "optimizer": plain,
        "snapshots": list(state.snapshots),
        "best": {"step": state.best.step, "metrics": dict(state.best.metrics)},
        "last": {"step": state.last.step, "metrics": dict(state.last.metrics)},
        "steps": state.steps,
        "log": [asdict(entry) for entry in state.log],
        "active": state.active,
        "ended": list(state.ended),
    }


def _member_of(facts: Mapping[str, Any], at: str, tensors: Mapping[str, Tensor]) -> MemberState:
    def take(name: str) -> dict[str, Tensor]:
        start = f"{at}{name}."
        return {key.removeprefix(start): tensor for key, tensor in tensors.items() if key.startswith(start)}

    diverged, dropped_at = facts["ended"]
    return MemberState(
        values=Values.from_flat(take("values")),
        optimizer={
            int(number): {**plain, **take(f"optimizer {number}")} for number, plain in facts["optimizer"].items()
        },
        best=_checkpoint(facts["best"], "best", take),
        last=_checkpoint(facts["last"], "last", take),
        steps=facts["steps"],
        snapshots={step: Values.from_flat(take(f"snapshot {step}")) for step in facts["snapshots"]},
        log=tuple(LogEntry(**entry) for entry in facts["log"]),
        active=facts["active"],
        ended=(diverged, dropped_at),
    )


def _checkpoint(facts: Mapping[str, Any], name: str, take: Callable[[str], dict[str, Tensor]]) -> Checkpoint:
    evaluation = take(f"{name} evaluation")
    return Checkpoint(
        facts["step"],
        Values.from_flat(take(name)),
        Evaluation(evaluation["losses"], evaluation["chosen"], evaluation["scores"]) if evaluation else None,
        facts["metrics"],
    )
