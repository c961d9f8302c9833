"""How a member's numbers are moved: the plan of a training, and one optimiser per member."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from prunekit.engine.cohort import Member


@dataclass(frozen=True)
class Plan:
    """How to train, every value resolved.

    Attributes:
        train_steps: optimiser updates.
        evaluate_every: updates between evaluations on validation.
        patience: evaluations without a better one before a member stops.
        learning_rate: of the prompt, per update.
        warmup_fraction: of train_steps.
        train_prompt: with False the prompt stays frozen at its start and only a head learns (a base line).
    """

    train_steps: int
    evaluate_every: int
    patience: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    optimizer: Literal["adamw", "adafactor", "sgd"] = "adamw"
    weight_decay: float = 1e-5
    warmup_fraction: float = 0.06
    clip_norm: float = 1.0
    model_dropout: bool = False
    train_prompt: bool = True

    def warmed(self, updates: int) -> float:
        """By what rates are multiplied after `updates` earlier updates: linear warm-up, then constant."""
        return min(1.0, (updates + 1) / max(1, math.ceil(self.warmup_fraction * self.train_steps)))


class MemberOptimizer:
    """One member's own optimiser: linear warm-up, then constant; statistics start empty.

    Adafactor sees each parameter as one flat vector, so that its second moment is not factored: rank-1 statistics
    would couple the tokens of a prompt (t5x switches factoring off for prompts too).
    """

    def __init__(self, member: Member, plan: Plan) -> None:
        # each part's parameters, and its rate; the numbers of a method that move the input may have their own
        prompt = member.masked.prompt
        offsets = {id(getattr(prompt, name)) for name in prompt.offset_parameters}
        offset_rate = (
            plan.learning_rate if prompt.offset_rate is None else prompt.offset_rate.beside(plan.learning_rate)
        )
        parts = [
            (plan.learning_rate, [weight for weight in prompt.parameters() if id(weight) not in offsets]),
            (offset_rate, [weight for weight in prompt.parameters() if id(weight) in offsets]),
            (plan.head_learning_rate, list(member.head.parameters())),
        ]
        self.pairs = [(weight, nn.Parameter(weight.data.view(-1))) for _, weights in parts for weight in weights]
        vectors = iter(vector for _, vector in self.pairs)
        filled = [(rate, [next(vectors) for _ in weights]) for rate, weights in parts if weights]
        self.rates = [rate for rate, _ in filled]
        self.inner = _optimizer([{"params": flat} for _, flat in filled], plan)
        self.plan = plan

    def state(self) -> dict[int, dict[str, Any]]:
        """What it remembers of earlier updates, by the number of the parameter: copies."""
        state: dict[int, dict[str, Any]] = deepcopy(self.inner.state_dict()["state"])
        return state

    def go_on(self, state: Mapping[int, Mapping[str, Any]]) -> None:
        """Remember what `state` gave."""
        self.inner.load_state_dict(self.inner.state_dict() | {"state": deepcopy(dict(state))})

    def step(self, updates: int) -> None:
        """One update, after `updates` earlier ones."""
        factor = self.plan.warmed(updates)
        for group, rate in zip(self.inner.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        for weight, vector in self.pairs:  # the vector shares the weight's storage
            vector.grad = None if weight.grad is None else weight.grad.view(-1)
        self.inner.step()


def _optimizer(groups: list[dict[str, Any]], plan: Plan) -> torch.optim.Optimizer:
    match plan.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=plan.learning_rate, weight_decay=plan.weight_decay)
        case "adafactor":
            from transformers.optimization import Adafactor

            fixed = dict(scale_parameter=False, relative_step=False, warmup_init=False)  # else it ignores the rate
            adafactor: torch.optim.Optimizer = Adafactor(
                groups, lr=plan.learning_rate, weight_decay=plan.weight_decay, **fixed
            )
            return adafactor
        case "sgd":  # without momentum: the one whose updates are as the gradients are, large where these are large
            return torch.optim.SGD(groups, lr=plan.learning_rate, weight_decay=plan.weight_decay)
