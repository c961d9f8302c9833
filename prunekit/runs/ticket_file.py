"""Tickets on disk: one safetensors file each.

The file has a single metadata key, canonical JSON, which holds a sha256 over the tensors: safetensors itself notices no
flipped bit, and with more than one key it writes its metadata in any order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from prunekit.prompts import TICKET_METHODS, methods
from prunekit.prompts.base import DroppedAs
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support import atomic, reading
from prunekit.support.digest import canonical
from prunekit.support.errors import ArtifactError, ConfigError

_METADATA = "prunekit"
_FORMAT = 1
# the names of `models.Position`, which would bring transformers along
_POSITIONS = ("first", "suffix", "after-cls", "prefix-kv")
#: Numbers in a prompt: far above any real one, far below what a small file of factors could ask for.
MOST_NUMBERS = 2**28


def save_ticket(ticket: Ticket, path: Path | str) -> None:
    """Write a ticket; the same ticket always gives the same bytes."""
    atomic.replace(Path(path), ticket_bytes(ticket))


def ticket_bytes(ticket: Ticket) -> bytes:
    """The content of a ticket's file."""
    return pack(ticket.tensors(), ticket.facts())


def load_ticket(path: Path | str) -> Ticket:
    """Read a ticket.

    Raises:
        ArtifactError: naming the file where it is missing, damaged or not a ticket.
    """
    return read_ticket(_content(Path(path)), Path(path))


def read_ticket(content: bytes, path: Path) -> Ticket:
    """The ticket that the bytes of its file hold.

    Args:
        content: of the file.
        path: which errors name.

    Raises:
        ArtifactError: where the content is damaged or not a ticket.
    """
    tensors, facts = unpacked(content, path)
    try:
        mask = Mask(tensors["mask.token"], tensors["mask.piece"])
        masks = ("mask.token", "mask.piece")
        if stray := [name for name in tensors if name not in masks and not name.startswith(("state.", "head."))]:
            raise ValueError(f"it holds {stray[0]!r}, which no ticket has")
        ticket = Ticket(mask, _under(tensors, "state."), _under(tensors, "head.") or None, **facts)
        check(ticket)
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError, ArtifactError) as error:
        raise ArtifactError(f"{path}: not a ticket ({_first_line(error)})") from error
    return ticket


def finite(ticket: Ticket, where: Path) -> Ticket:
    """The ticket itself, once all its values are known to be numbers.

    Raises:
        ArtifactError: naming `where`.
    """
    for name, value in (*ticket.state.items(), *(ticket.head or {}).items()):
        if not torch.isfinite(value).all():
            raise ArtifactError(f"{where}: its {name} holds NaN or infinite values; use a ticket that did not diverge")
    return ticket


def check(ticket: Ticket) -> None:
    """Whether a ticket that came from elsewhere is one that can be used; no memory is taken for what it claims.

    Raises:
        ValueError: and the errors of torch and of `prompts` on the first thing that is wrong.
    """
    allowed = {"dropped_as": get_args(DroppedAs), "position": _POSITIONS, "method": tuple(TICKET_METHODS)}
    for name, options in allowed.items():
        if getattr(ticket, name) not in options:
            raise ValueError(f"{name} {str(getattr(ticket, name))[:40]!r} is none of {', '.join(options)}")
    for name in ("round", "seed"):
        value = getattr(ticket, name)
        if type(value) is not int or not 0 <= value < 2**63:
            raise ValueError(f"{name} is no count")
    _check_frozen(ticket)
    if type(ticket.rewind) not in (str, int) or not isinstance(ticket.origin, dict):
        raise ValueError("rewind or origin is of another type")
    if any(not isinstance(ticket.origin.get(name), str | None) for name in ("task", "model")):
        raise ValueError("origin does not name task and model by text")
    tensors = [*ticket.state.values(), *(ticket.head or {}).values()]
    if not all(value.is_floating_point() for value in tensors):
        raise ValueError("values are floating-point numbers")
    shapes = {name: tuple(value.shape) for name, value in (ticket.head or {}).items()}
    prompt = methods.build(ticket.method, {name: value.to("meta") for name, value in ticket.state.items()})
    shape = tuple(prompt().shape)
    if len(shape) != 2 or shape[0] != len(ticket.mask.token) or not 0 < shape[0] * shape[1] <= MOST_NUMBERS:
        raise ValueError(f"a prompt of shape {list(shape)} for a mask of {len(ticket.mask.token)} tokens")
    ticket.mask.expand(shape[1])
    # a head reads hidden states, whose width need not be that of the embeddings (ELECTRA, RemBERT)
    fits = {name: len(shape) for name, shape in shapes.items()} == {"weight": 2, "bias": 1}
    if shapes and (not fits or shapes["weight"][0] != shapes["bias"][0] or 0 in shapes["weight"]):
        raise ValueError(f"a head of shapes {shapes}")


def _check_frozen(ticket: Ticket) -> None:
    if type(ticket.frozen) is not int or not 0 <= ticket.frozen < max(1, len(ticket.mask.token)):
        raise ValueError("frozen is no count of some of its tokens")
    if not bool(ticket.mask.piece[: ticket.frozen].all()) or (ticket.frozen and ticket.method != "direct"):
        raise ValueError("frozen tokens are pruned, or of another method than direct")


def pack(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """Tensors and JSON facts as the bytes of one safetensors file, the same for the same content."""
    # copies, since safetensors refuses tensors that share memory (the best values may be the last)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    header = {"format": _FORMAT, "facts": dict(facts), "sha256": _digest(plain, facts)}
    content: bytes = save(plain, metadata={_METADATA: canonical(header)})
    return content


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a file that `pack` made.

    Raises:
        ArtifactError: naming the file where it is missing, damaged or of another kind.
    """
    return unpacked(_content(path), path)


def unpacked(content: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts that the bytes of a file hold, where `pack` made them.

    Args:
        content: of the file.
        path: which errors name.

    Raises:
        ArtifactError: where the content is damaged or of another kind.
    """
    try:
        reading.check_tensors(content)
        header = json.loads(reading.metadata(content).get(_METADATA, "null"))
        tensors = load(content)
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise ArtifactError(f"{path}: not a file of this version of prunekit")
        facts: dict[str, Any] = header["facts"]
        # the very bytes that this content has, its sha256 among them, so that no flipped bit anywhere goes unseen
        if pack(tensors, facts) != content:
            raise ArtifactError(f"{path}: damaged, its content does not match its sha256; restore it or run again")
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise ArtifactError(f"{path}: cannot be read ({reading.reason(error)})") from error
    return tensors, facts


def _content(path: Path) -> bytes:
    try:
        return reading.tensors(path)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read ({reading.reason(error)})") from error


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    total = hashlib.sha256(canonical(facts).encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
