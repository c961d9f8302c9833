"""What every parameterisation of a prompt offers, and the mask that any of them can wear."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from prunekit.masks import Mask

Absent = Literal["remove", "hide", "zero"]


class Prompt(nn.Module):
    """A thing that makes P prompt vectors in the backbone's embedding space.

    moves_input: whether the method also moves the input embeddings (then all members of a cohort do).
    """

    moves_input = False

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        raise NotImplementedError

    def embed_input(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H] -> [B, T, H]: the input embeddings, moved where the method also moves those (DePT, ADePT).

        mask: Bool[B, T], False on padding, which is never moved.
        """
        return embedded

    def trainable(self, mask: Mask) -> int:
        """How many trained numbers are left under `mask`."""
        raise NotImplementedError


class MaskedPrompt(nn.Module):
    """A prompt seen through a mask. Values and mask stay apart: the effective prompt is their product, at use.

    absent: what stands where a token was dropped. "remove": nothing, the sequence is shorter. "hide": its slot, which
    nobody attends to. "zero": its slot, with a zero vector (the paper's literal gamma * P).
    """

    def __init__(self, prompt: Prompt, mask: Mask, absent: Absent) -> None:
        super().__init__()
        self.prompt, self.mask, self.absent = prompt, mask, absent

    def forward(self) -> tuple[Tensor, Tensor]:
        """Values [P, H], exact zeros where the mask is False, and present Bool[P]: the slots that are attended to."""
        values = self.prompt()
        keep = self.mask.expand(values.shape[1]).to(values.device)
        present = self.mask.token.new_ones(len(self.mask.token)) if self.absent == "zero" else self.mask.token
        return values.where(keep, values.new_zeros(())), present.to(values.device)
