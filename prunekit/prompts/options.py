"""What a fresh prompt of any method is drawn with: plain numbers, and tensors that are measured elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from prunekit.support.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of the methods; each reads its own. The defaults are the published ones, where there are any.

    Attributes:
        rank: None for the method's own: dpt 10 (its code's default), dept 45 and adept 19 (their READMEs), ept 45
            (DePT's, its own being unknown), bilinear 75 (BPT, shallow), ulpt 2 (its README), singular min(P, H).
        factors: dpt; "uniform": U(-0.5, 0.5) factors, as published; "svd": balanced factors of the given values
            (PT-MoE).
        bottleneck: residual; the hidden width of its MLP (400 at T5-Large, which gives DPT's 925K parameters).
        input_tokens: dept and ept; the longest input that has an offset (DePT: 256).
        whiten: bilinear; whether W takes whitening columns, or Xavier-uniform entries (BPT has both).
        task_size: structured; the length of the task vector (ours; the paper's could not be read).
        subspace: intrinsic; "decoder": that of a prompt autoencoder; "random": a random subspace around the start.
        dimension: intrinsic, random subspace; its dimension (250 is the largest that IPT tries).
        spaces: ept; how many subspaces (ours).
        inner: ept; the inner width of spaces and fusion (ours).
        fusion: ept; False leaves out this module, one of the paper's two ablations.
        projection: ept; False leaves out this module, the other one.
    """

    rank: int | None = None
    factors: Literal["uniform", "svd"] = "uniform"
    bottleneck: int = 400
    input_tokens: int = 256
    whiten: bool = True
    task_size: int = 8
    subspace: Literal["decoder", "random"] = "decoder"
    dimension: int = 250
    spaces: int = 4
    inner: int = 8
    fusion: bool = True
    projection: bool = True

    def __post_init__(self) -> None:
        for name in ("rank", "bottleneck", "input_tokens", "task_size", "dimension", "spaces", "inner"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value}: give at least 1")

    def rank_or(self, published: int, most: int | None = None) -> int:
        """The rank that is asked for, else the published one.

        Raises:
            ConfigError: where it is above `most`, beyond which the method has nothing to give.
        """
        rank = published if self.rank is None else self.rank
        if most is not None and rank > most:
            origin = "the published default" if self.rank is None else "as asked"
            raise ConfigError(f"rank = {rank} ({origin}) is more than this prompt can use; set rank to {most} or less")
        return rank


@dataclass(frozen=True)
class Decoder:
    """The decoder of a prompt autoencoder, Linear-tanh-Linear: a code [D] to a prompt base + basis outer tanh(...).

    inner [W, D], inner_bias [W]: the first Linear.  outer [K, W], basis [K, P, H], base [P, H]: the second one, its
    weight in two factors, since what it makes lies in the space that its K + 1 source prompts span.
    """

    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    basis: Tensor
    base: Tensor


@dataclass(frozen=True)
class Context:
    """What some methods need of the model, or of earlier runs.

    Attributes:
        whitening: bilinear; [H, H], `whitened` of what the model's first attention makes of texts.
        decoder: intrinsic; the frozen map from a code to a prompt.
    """

    whitening: Tensor | None = None
    decoder: Decoder | None = None


PUBLISHED = Options()
NOTHING = Context()
