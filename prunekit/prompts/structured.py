"""Structured prompt tuning (Liu, Lee, Yih 2022, arXiv 2205.12309): a hypernetwork of a task vector makes the prompt.

Of the paper only the abstract could be read, and no code was found. This is its linear form, P = reshape(W z) with a
free task vector z: a reparameterisation, as DPT is, whose rank over tokens is not limited. Its start is ours.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from prunekit.prompts.base import AutoRate, Prompt, parameter
from prunekit.prompts.factors import normal
from prunekit.prompts.mask import Mask, piece_width
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options


class StructuredPrompt(Prompt):
    """A linear map of one trained vector, the map trained too; D (1 + P H) numbers.

    Attributes:
        task: z [D].
        weight: W [D, P, H].
    """

    method: ClassVar[str] = "structured"
    auto_rate: ClassVar[AutoRate] = AutoRate(0.1, in_units=True)

    def __init__(self, task: Tensor, weight: Tensor) -> None:
        super().__init__()
        self.task, self.weight = parameter(task), parameter(weight)

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt equal to values [P, H] up to rounding.

        z is a random unit vector. W sends it to `values`, and every direction beside it to noise of the same size,
        so that z has somewhere to go from the first update on.
        """
        task = normal(generator, (options.task_size,), 1.0, values)
        task = task / task.norm()
        size = float(values.square().mean().sqrt())
        noise = normal(generator, (options.task_size, *values.shape), size, values)
        beside = noise - torch.einsum("d,ph->dph", task, torch.einsum("d,dph->ph", task, noise))
        return cls(task, beside + torch.einsum("d,ph->dph", task, values))

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return torch.einsum("d,dph->ph", self.task, self.weight)

    def trainable(self, mask: Mask) -> int:
        """The task vector, and D weights for every kept coordinate."""
        width = piece_width(self.weight.shape[2], mask.piece.shape[1])
        return len(self.task) * (1 + mask.cells * width)

    @property
    def sizes(self) -> dict[str, int]:
        """The length of the task vector."""
        return {"task_size": len(self.task)}
