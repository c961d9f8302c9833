"""What every parameterisation of a prompt offers, and the mask that any of them can wear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from prunekit.prompts.mask import Mask
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options
from prunekit.support.errors import ConfigError

DroppedAs = Literal["remove", "hide", "zero"]


class OffsetRate(NamedTuple):
    """A learning rate of their own, for the numbers that move the input embeddings.

    Attributes:
        rate: as published.
        prompt_rate: what the same source gives the prompt itself.
        in_units: whether what is added is a sum of these numbers, in the units of the embeddings as the prompt's values
            are: then the rate follows the prompt's own onto models whose embeddings are larger or smaller. Otherwise
            these numbers only map embeddings to embeddings, have no unit, and the published rate holds as it is.
    """

    rate: float
    prompt_rate: float
    in_units: bool

    def beside(self, prompt_rate: float) -> float:
        """The rate to use where the prompt itself learns at `prompt_rate`."""
        return self.rate * prompt_rate / self.prompt_rate if self.in_units else self.rate


class AutoRate(NamedTuple):
    """The learning rate of a method under `learning_rate = "auto"`, for AdamW.

    The published rates are for one family of models and its embeddings. These come from `prunekit compare --task
    testbed/alike-mood --learning-rate 1 --learning-rates 0.01,0.03,0.1,0.3,1 --train-examples 256 --validation-examples
    100 --test-examples 200 --train-steps 60 --evaluate-every 10 --threads 1`, and from the same with that model's
    residual stream made 16 times as small (RMS 0.06 instead of 0.99), the same function of other embeddings: of the
    rates that learn fastest on both, the middle.

    Attributes:
        factor: the rate, or its multiple of that RMS.
        in_units: whether it is in units of the RMS of the model's embeddings, as what is learned is; else it is
            absolute, as where factors start at a size of their own.
    """

    factor: float
    in_units: bool

    def on(self, embedding_rms: float) -> float:
        """The rate on a model; three digits, so that no machine's rounding of a mean makes it another run."""
        return float(f"{self.factor * (embedding_rms if self.in_units else 1.0):.3g}")


class Prompt(nn.Module):
    """A module that makes P prompt vectors in the model's embedding space.

    Its `state_dict` holds all that it is made of: the trained numbers as parameters, what stays as it was drawn or
    measured as buffers.

    Attributes:
        method: its name.
        moves_input: whether the method also moves the input embeddings (then all members of a cohort do).
        published_rate: the learning rate of its authors, absolute; None where they give none that could be read.
        auto_rate: the one that is used where none is asked for.
        offset_parameters: names of the parameters that learn at a rate of their own, `offset_rate`.
    """

    method: ClassVar[str] = "prompt"
    moves_input = False
    published_rate: ClassVar[float | None] = None
    auto_rate: ClassVar[AutoRate] = AutoRate(0.2, in_units=True)
    offset_parameters: ClassVar[tuple[str, ...]] = ()
    offset_rate: ClassVar[OffsetRate | None] = None

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Prompt:
        """A fresh prompt; values: [P, H] from an initialiser, of which some methods take the shape alone.

        Raises:
            ConfigError: where `options` do not fit, or `context` lacks what the method needs.
        """
        raise NotImplementedError

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> type[Prompt]:
        """The class whose prompt a `state_dict` is, where a method has several; else this one."""
        return cls

    @property
    def title(self) -> str:
        """What a message calls the method."""
        return self.method

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        raise NotImplementedError

    def embed_input(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H] -> [B, T, H]: the input embeddings, moved where the method also moves those (DePT, ADePT).

        Args:
            mask: Bool[B, T], False on padding, which is never moved.
        """
        return embedded

    def trainable(self, mask: Mask) -> int:
        """How many trained numbers are left under `mask`.

        A number is gone when it belongs to dropped tokens or pieces alone, and reaches nothing that is kept; what all
        tokens share, and what moves the input, is counted whole.
        """
        raise NotImplementedError

    @property
    def sizes(self) -> dict[str, int]:
        """The method's own sizes, such as its rank, which the members of a cohort share."""
        return {}

    @property
    def rank(self) -> int | None:
        """How many directions pruning left of it; None where none was pruned."""
        return None

    def density(self, mask: Mask) -> float:
        """Kept cells / (P x K), in [0, 1]; of a prompt whose directions were pruned, its free numbers / (P x H).

        Of plain vectors both are the share of numbers that are left, so that either kind of pruning has one axis.
        """
        return mask.density

    def materialise(self) -> Tensor:
        """[P, H] static prompt, detached: what is kept of the method once it is trained.

        Raises:
            ConfigError: where the method has none, since it moves the input embeddings too.
        """
        if self.moves_input:
            raise ConfigError(
                f'method "{self.method}" has no static prompt: it also adds something to every input embedding, which '
                "prompt vectors alone cannot carry"
            )
        with torch.no_grad():
            values: Tensor = self()
        return values.detach().clone()


class MaskedPrompt(nn.Module):
    """A prompt seen through a mask. Values and mask stay apart: the effective prompt is their product, at use.

    Attributes:
        dropped_as: what stands where a token was dropped. "remove": nothing, the sequence is shorter. "hide": its slot,
            which nobody attends to. "zero": its slot, with a zero vector (the paper's literal gamma * P).
        hides_pieces: whether a dropped piece is hidden too, as it can be where pieces are keys and values of heads;
            else it is zeros.
    """

    def __init__(self, prompt: Prompt, mask: Mask, dropped_as: DroppedAs, hides_pieces: bool = False) -> None:
        super().__init__()
        self.prompt, self.mask, self.dropped_as, self.hides_pieces = prompt, mask, dropped_as, hides_pieces

    def forward(self) -> tuple[Tensor, Tensor]:
        """Values [P, H], exact zeros where the mask is False, and present Bool[P]: the slots that are attended to."""
        values = self.prompt()
        keep = self.mask.expand(values.shape[1]).to(values.device)
        present = self.mask.token.new_ones(len(self.mask.token)) if self.dropped_as == "zero" else self.mask.token
        return values.where(keep, values.new_zeros(())), present.to(values.device)


def parameter(values: Tensor) -> nn.Parameter:
    """A trainable copy of values [...], contiguous, since an optimiser may see it as one flat vector."""
    return nn.Parameter(frozen(values))


def frozen(values: Tensor) -> Tensor:
    """A contiguous copy of values [...], for a buffer."""
    return values.detach().clone(memory_format=torch.contiguous_format)
