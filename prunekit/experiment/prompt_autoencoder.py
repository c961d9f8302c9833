"""The subspace that many trained prompts share: a prompt autoencoder over finished runs (Qin et al., arXiv 2110.07867).

Encoder Linear(P H -> D); decoder Linear(D -> 768), tanh, Linear(768 -> P H), the authors' shapes. Theirs is trained on
200 x reconstruction error + the tasks' own loss, through the language model. Ours is trained on reconstruction alone: a
run directory holds prompts and not the data of their tasks, and the second term would tie a run to all of them. A
prompt that is reconstructed to the last digit keeps its task loss; the remaining error is `Fitted.error`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from prunekit.prompts.factors import kaiming
from prunekit.prompts.options import Decoder
from prunekit.runs.round_files import finished_ticket
from prunekit.runs.run import Run
from prunekit.support.errors import ConfigError, DivergedError
from prunekit.support.seeding import generator

INNER = 768
#: The largest of the dimensions that the paper tries.
DIMENSION = 250

# full-batch Adam on a few dozen prompts: seconds, and more of it changes little
_STEPS = 1000
_RATE = 1e-3
# directions that hold less of the spread than this are rounding
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class SourcePrompts:
    """Trained prompts, ordered by their digests, so that the names of runs do not matter.

    Attributes:
        values: [N, P, H].
        runs: how many runs they are from.
        digest: sha256 over all of them.
    """

    values: Tensor
    runs: int
    digest: str


@dataclass(frozen=True)
class Fitted:
    """A fitted decoder.

    Attributes:
        decoder: from a code to a prompt.
        error: squared error of reconstruction, as a share of the prompts' spread around their mean.
    """

    decoder: Decoder
    error: float


def source_prompts(names: Sequence[str], shape: tuple[int, int], model: str) -> SourcePrompts:
    """The dense prompts, as trained, of every seed of some finished runs.

    Args:
        names: of the runs.
        shape: P and H that the prompts must have.
        model: digest of the model that they were trained on.

    Raises:
        ArtifactError: where a name is not a run.
        ConfigError: where its prompts do not fit.
    """
    values_by_digest: dict[str, Tensor] = {}
    for name in names:
        run = Run.open(Path(name))
        dense = [key for key in run.tickets() if not key.stage and run.result(key)["status"] == "done"]
        if not dense:
            raise ConfigError(f"--subspace-from {name}: no finished dense prompt; run `prunekit tune` there first")
        for key in dense:
            ticket = finished_ticket(run, key)
            if ticket.origin.get("model_digest") != model:
                raise ConfigError(f"--subspace-from {name}: its prompts were trained on another model (or precision)")
            values = ticket.prompt().prompt.materialise()
            if values.shape != shape:
                raise ConfigError(
                    f"--subspace-from {name}: prompts of {len(values)} tokens x {values.shape[1]}, this one has "
                    f"{shape[0]} x {shape[1]}; name runs of the same length and model"
                )
            values_by_digest[hashlib.sha256(values.numpy().tobytes()).hexdigest()] = values
    order = sorted(values_by_digest)
    digest = hashlib.sha256("".join(order).encode()).hexdigest()
    return SourcePrompts(torch.stack([values_by_digest[digest] for digest in order]), len(names), digest)


def dimension_for(prompts: int, requested: int | None) -> int:
    """The subspace's dimension: as requested, else the largest that makes sense, at most the paper's `DIMENSION`.

    Args:
        prompts: how many it is fitted to.
        requested: None for the default.

    Raises:
        ConfigError: where so many dimensions would reproduce every source prompt exactly.
    """
    limit = prompts - 1  # a plane through N points has N - 1 dimensions, and holds all of them
    if limit < 2:
        raise ConfigError(
            f"--subspace-from: {prompts} trained prompt{'s' * (prompts != 1)} share no subspace; name runs that hold "
            "at least 3 in all (many tasks, or seeds)"
        )
    dimension = min(DIMENSION, limit - 1) if requested is None else requested
    if dimension >= limit:
        raise ConfigError(
            f"--dimension {dimension} is too many for {prompts} trained prompts, which lie in {limit} anyway; give "
            f"{limit - 1} or less, or name more runs with --subspace-from"
        )
    return dimension


def fit(values: Tensor, dimension: int) -> Fitted:
    """Fit the autoencoder to values [N, P, H]; the same values always give the same decoder.

    It is fitted in the coordinates of the prompts around their mean, K = N - 1 of them or fewer, and put back: all that
    the encoder reads of a prompt, and all that the best decoder can be right about, lies there. The code is
    standardised: over the source prompts it has mean 0 and RMS 1.

    Raises:
        DivergedError: where a value is NaN or infinite.
        ConfigError: where the prompts are all equal.
    """
    flat = values.flatten(1).double()
    if not bool(torch.isfinite(flat).all()):
        raise DivergedError("--subspace-from: a prompt with NaN or infinite values shares no subspace")
    mean = flat.mean(dim=0)
    left, size, right = torch.linalg.svd(flat - mean, full_matrices=False)
    kept = size > _NEGLIGIBLE * size[0]
    if not bool(size[0] > 0):
        raise ConfigError("--subspace-from: all its prompts are equal, so that they share no subspace")
    left, size, right = left[:, kept], size[kept], right[kept]
    coordinates = left * size  # [N, K]
    unit = coordinates.square().mean().sqrt()
    encoder, inner, outer = _trained(coordinates / unit, dimension)
    with torch.no_grad():
        codes = encoder(coordinates / unit)  # [N, D]
        error = (outer(torch.tanh(inner(codes))) - coordinates / unit).square().mean()  # their spread is 1
        middle = codes.mean(dim=0)
        spread = (codes - middle).square().mean().sqrt()
        base = mean + unit * (outer.bias @ right)
        decoder = Decoder(
            inner=(inner.weight * spread).float(),
            inner_bias=(inner.bias + inner.weight @ middle).float(),
            outer=(outer.weight * unit).float(),
            basis=right.unflatten(1, values.shape[1:]).float(),
            base=base.view(values.shape[1:]).float(),
        )
    return Fitted(decoder, float(error))


def _trained(points: Tensor, dimension: int) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    """Encoder, and the two maps of the decoder, fitted to points [N, K] by the mean squared error."""
    draw = generator("subspace", dimension)
    width = points.shape[1]
    encoder, inner, outer = (
        _linear(*shape, points, draw) for shape in ((width, dimension), (dimension, INNER), (INNER, width))
    )
    optimizer = torch.optim.Adam(
        [weight for layer in (encoder, inner, outer) for weight in layer.parameters()], lr=_RATE
    )
    for _ in range(_STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss = (outer(torch.tanh(inner(encoder(points)))) - points).square().mean()
        loss.backward()
        optimizer.step()
    return encoder, inner, outer


def _linear(width: int, height: int, like: Tensor, draw: torch.Generator) -> nn.Linear:
    """As torch starts it, from a generator of our own; biases at zero."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, width, height, dtype=like.dtype)
    with torch.no_grad():
        layer.weight.copy_(kaiming(draw, (height, width), like))
        layer.bias.zero_()
    return layer
