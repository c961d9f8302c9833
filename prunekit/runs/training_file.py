"""A cohort in the midst of its training as the bytes of one file, from which it goes on to the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from prunekit.engine.evaluate import Evaluation
from prunekit.engine.train import Checkpoint, LogEntry, MemberState, TrainingState
from prunekit.pruning.ticket import Values
from prunekit.support import reading

#: What reading a damaged file raises.
BROKEN = (OSError, ValueError, SafetensorError)

_FACTS, _SHA256 = "facts", "sha256"
_EVALUATION = ("losses", "chosen", "scores")


def packed(state: TrainingState, of: str, seconds: float) -> bytes:
    """The bytes of a state.

    Args:
        of: what it is a state of: whoever reads it names the same.
        seconds: that the training took so far.
    """
    tensors: dict[str, Tensor] = {}
    members = [_member(member, f"{number}.", tensors) for number, member in enumerate(state.members)]
    facts = json.dumps({"of": of, "seconds": seconds, "step": state.step, "members": members})
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in sorted(tensors.items())}
    content: bytes = save(tensors, {_FACTS: facts, _SHA256: _digest(facts, tensors)})
    return content


def unpacked(content: bytes, of: str) -> tuple[TrainingState, float] | None:
    """The state that `packed` wrote and its seconds, or None where it is a state of something else.

    Raises:
        BROKEN: where a byte differs from what was written.
    """
    reading.check_tensors(content)
    metadata, tensors = reading.metadata(content), dict(sorted(load(content).items()))
    text = metadata.get(_FACTS, "")
    if metadata.get(_SHA256) != _digest(text, tensors):
        raise ValueError("it does not match its own sha256")
    facts = json.loads(text)
    if facts.get("of") != of:
        return None
    members = [_member_of(member, f"{number}.", tensors) for number, member in enumerate(facts["members"])]
    return TrainingState(facts["step"], tuple(members)), facts["seconds"]


def _digest(facts: str, tensors: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(facts.encode() + save(dict(tensors))).hexdigest()


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
    plain: dict[int, dict[str, Any]] = {}
    for number, remembered in state.optimizer.items():
        put(f"optimizer {number}", {key: part for key, part in remembered.items() if isinstance(part, Tensor)})
        plain[number] = {key: part for key, part in remembered.items() if not isinstance(part, Tensor)}
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
