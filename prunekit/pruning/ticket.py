"""Tickets: a mask, the values it starts from, and where both came from."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from prunekit.prompts import Method, methods
from prunekit.prompts.base import DroppedAs, MaskedPrompt
from prunekit.prompts.mask import Mask

State = Mapping[str, Tensor]
Rewind = str | int


@dataclass(frozen=True)
class Values:
    """The trained numbers of one member: the prompt's parameters by name, and the head's (or None).

    What a method drew or measured and never trains is not among them; of a fresh start it is.
    """

    state: State
    head: State | None

    def flat(self) -> dict[str, Tensor]:
        """One table of tensors, for a file: `state.<name>` and `head.<name>`."""
        head = self.head or {}
        return {f"state.{name}": value for name, value in self.state.items()} | {
            f"head.{name}": value for name, value in head.items()
        }

    @classmethod
    def from_flat(cls, tensors: State) -> Values:
        """The inverse of `flat`."""
        parts: dict[str, dict[str, Tensor]] = {"state": {}, "head": {}}
        for name, tensor in tensors.items():
            part, _, parameter = name.partition(".")
            parts[part][parameter] = tensor
        return cls(parts["state"], parts["head"] or None)


@dataclass(frozen=True, eq=False, repr=False)
class Ticket:
    """What one member of a cohort starts from.

    Attributes:
        mask: which tokens and pieces are kept.
        state: the prompt's parameters by name (its `state_dict`); for prompt tuning `values` [P, H].
        head: weight [C, H] and bias [C] of a trained head, or None where the model answers with words.
        rewind: where the values come from: "trained", "init", "reinit", or a step of round 0; "start" in round 0.
        round: 0 is dense.
        dropped_as: what stands for a dropped token.
        position: where in the input the prompt goes.
        seed: fixes initialisation and data order.
        frozen: so many first tokens are neither trained nor pruned.
        origin: names and digests (model, task, run) for whoever meets the file.
    """

    mask: Mask
    state: State
    head: State | None
    rewind: Rewind = "start"
    round: int = 0
    dropped_as: DroppedAs = "remove"
    position: str = "first"
    method: Method = "direct"
    seed: int = 0
    frozen: int = 0
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ticket):
            return NotImplemented
        facts, tensors = self.facts(), self.tensors()
        others = other.tensors()
        if facts != other.facts() or tensors.keys() != others.keys():
            return False
        return all(_same(tensor, others[name]) for name, tensor in tensors.items())

    def __hash__(self) -> int:
        return hash((self.method, self.seed, self.round, str(self.rewind)))

    def __repr__(self) -> str:
        kept, origin = repr(self.mask).removeprefix("Mask(").removesuffix(")"), f"{self.rewind} of seed {self.seed}"
        return f"{type(self).__name__}(round {self.round}, {kept}, method {self.method}, values {origin})"

    def _repr_html_(self) -> str:
        """In a notebook its mask is drawn over it."""
        return f"{self.mask._repr_html_()}<p>{html.escape(repr(self))}</p>"

    def prompt(self) -> MaskedPrompt:
        """The prompt with this ticket's values behind its mask, its parameters free to be trained."""
        hides_pieces = self.position == "prefix-kv" and self.dropped_as != "zero"
        return MaskedPrompt(methods.build(self.method, self.state), self.mask, self.dropped_as, hides_pieces)

    def at(self, values: Values) -> Ticket:
        """The same ticket at other values. What its prompt is made of beside trained numbers, it keeps."""
        return replace(self, state={**self.state, **values.state}, head=values.head)

    def facts(self) -> dict[str, Any]:
        """All that is no tensor, by name; what came later is left out at its default, so that no older file changes."""
        names = ("rewind", "round", "dropped_as", "position", "method", "seed", *["frozen"] * (self.frozen > 0))
        return {name: getattr(self, name) for name in names} | {"origin": dict(self.origin)}

    @property
    def pieces(self) -> int:
        """Kept pieces of a token, at most; frozen tokens, which keep all, do not count."""
        return int(self.mask.piece[self.frozen :].sum(dim=1).max())

    @property
    def rank(self) -> int | None:
        """Kept directions, a count; None where no direction was pruned."""
        return self.prompt().prompt.rank

    @property
    def density(self) -> float:
        """The share of the dense prompt that is left, in [0, 1], as its method counts it (`Prompt.density`)."""
        return self.prompt().prompt.density(self.mask)

    @property
    def learning(self) -> Mask:
        """What of the mask is trained: all of it but the frozen tokens."""
        learns = torch.arange(len(self.mask.token)) >= self.frozen
        return Mask(self.mask.token & learns, self.mask.piece & learns[:, None])

    def tensors(self) -> dict[str, Tensor]:
        """Its mask, its prompt's parameters and its head as one table, named `mask.`, `state.` and `head.`."""
        mask = {"mask.token": self.mask.token, "mask.piece": self.mask.piece}
        return mask | Values(self.state, self.head).flat()


def _same(left: Tensor, right: Tensor) -> bool:
    """Bit for bit, so that NaN equals itself."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return torch.equal(*(tensor.contiguous().flatten().view(torch.uint8) for tensor in (left, right)))
