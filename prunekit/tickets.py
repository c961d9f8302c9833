"""Tickets: a mask, the values it starts from, and where both came from; on disk one safetensors file.

The file has a single metadata key, canonical JSON, which holds a sha256 over the tensors: safetensors itself notices no
flipped bit, and with more than one key it writes its metadata in any order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from prunekit import prompts
from prunekit.errors import ArtifactError
from prunekit.masks import Mask
from prunekit.prompts import Absent, MaskedPrompt, Method

State = Mapping[str, Tensor]
Rewind = str | int

_METADATA = "prunekit"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Ticket:
    """What one member of a cohort starts from.

    mask: which tokens and pieces are kept.
    state: the prompt's parameters by name (its `state_dict`); for prompt tuning `values` [P, H].
    head: weight [C, H] and bias [C] of a trained head, or None where the backbone answers with words.
    rewind: where the values come from: "trained", "init", "fresh", or a step of round 0; "start" in round 0.
    round: 0 is dense.  absent: what stands for a dropped token.  place: where in the input the prompt goes.
    seed: fixes initialisation and data order.
    origin: names and digests (backbone, task, run) for whoever finds the file.
    """

    mask: Mask
    state: State
    head: State | None
    rewind: Rewind = "start"
    round: int = 0
    absent: Absent = "remove"
    place: str = "first"
    method: Method = "direct"
    seed: int = 0
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ticket) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def prompt(self) -> MaskedPrompt:
        """The prompt with this ticket's values behind its mask, its parameters free to be trained."""
        return MaskedPrompt(prompts.build(self.method, self.state), self.mask, self.absent)

    def save(self, path: Path) -> None:
        """Write the ticket; the same ticket always gives the same bytes."""
        path.write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The file's content."""
        facts = {
            "rewind": self.rewind,
            "round": self.round,
            "absent": self.absent,
            "place": self.place,
            "method": self.method,
            "seed": self.seed,
            "origin": dict(self.origin),
        }
        tensors = {"mask.token": self.mask.token, "mask.piece": self.mask.piece}
        tensors |= {f"state.{name}": value for name, value in self.state.items()}
        tensors |= {f"head.{name}": value for name, value in (self.head or {}).items()}
        return pack(tensors, facts)

    @classmethod
    def load(cls, path: Path) -> Ticket:
        """Read a ticket.

        Raises: ArtifactError naming the file where it is missing, damaged or not a ticket.
        """
        tensors, facts = unpack(path)
        try:
            mask = Mask(tensors["mask.token"], tensors["mask.piece"])
            return cls(mask, _under(tensors, "state."), _under(tensors, "head.") or None, **facts)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path}: not a ticket ({error})") from error


def pack(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """Tensors and JSON facts as the bytes of one safetensors file, the same for the same content."""
    # copies, since safetensors refuses tensors that share memory (the best values may be the last)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    header = {"format": _FORMAT, "facts": dict(facts), "sha256": _digest(plain, facts)}
    content: bytes = save(plain, metadata={_METADATA: canonical(header)})
    return content


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a file that `pack` made.

    Raises: ArtifactError naming the file where it is missing, damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_METADATA, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a handle, not a dict)
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise ArtifactError(f"{path}: not a file of this version of prunekit")
        facts: dict[str, Any] = header["facts"]
        # the very bytes that this content has, its sha256 among them, so that no flipped bit anywhere goes unseen
        if pack(tensors, facts) != path.read_bytes():
            raise ArtifactError(f"{path}: damaged, its content does not match its sha256; restore it or run again")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(
            f"{path}: cannot be read ({str(error).splitlines()[0] if str(error) else 'empty'})"
        ) from error
    return tensors, facts


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, no NaN: the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    total = hashlib.sha256(canonical(facts).encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
