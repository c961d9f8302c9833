"""A method under the settings of a run: what it measures or fits first, how its prompts start, how fast they learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prunekit.experiment import prefix, prompt_autoencoder
from prunekit.experiment.settings import PromptSettings
from prunekit.models import Encoded, FrozenModel
from prunekit.models.whitening import query_key_moment
from prunekit.prompts import METHODS, Method, methods, summary
from prunekit.prompts.base import Prompt
from prunekit.prompts.bilinear import whitened
from prunekit.prompts.intrinsic import RandomSubspacePrompt
from prunekit.prompts.mask import Mask
from prunekit.prompts.options import Context, Options
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator


@dataclass(frozen=True)
class PromptFactory:
    """How the fresh prompts of a run are made.

    Attributes:
        method: the method's name.
        options: its hyper-parameters.
        context: what it needs of the model or of earlier runs.
        digests: of what prompts are made from other than model, task and data.
        notes: lines for the user.
    """

    method: Method
    options: Options
    context: Context
    digests: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def start(self, values: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
        """The tensors of a fresh prompt; values: [P, H] from an initialiser."""
        return dict(methods.start(self.method, values, draw, self.options, self.context).state_dict())


def prompt_factory(
    settings: PromptSettings, model: FrozenModel, train: Sequence[Encoded], input_tokens: int
) -> PromptFactory:
    """How a run's prompts are made; measures queries and keys (bilinear), fits a subspace (intrinsic).

    Args:
        train: the encoded training examples.
        input_tokens: the longest input there will be.

    Raises:
        ConfigError: where a setting cannot work.
        ArtifactError: where a run that it names cannot be used.
    """
    prefix.check_prompt(settings, model)
    options = _options(settings, input_tokens)
    if settings.subspace_from and not (settings.method == "intrinsic" and settings.subspace == "decoder"):
        raise ConfigError("--subspace-from goes with --method intrinsic --subspace decoder alone; leave it out")
    match settings.method:
        case "bilinear" if options.whiten:
            sigma = query_key_moment(model, [example.text for example in train])
            return PromptFactory("bilinear", options, Context(whitening=whitened(sigma)))
        case "intrinsic" if options.subspace == "decoder":
            return _intrinsic(settings, model, options)
        case method:
            return PromptFactory(method, options, Context())


def auto_rate(settings: PromptSettings, unit: float) -> float:
    """`learning_rate = "auto"` of a method for AdamW; unit: that of the model, the RMS of its embeddings."""
    return _kind(settings.method, settings.subspace).auto_rate.on(unit)


def list_methods(tokens: int, width: int) -> list[dict[str, Any]]:
    """Every method, with what it trains of P = `tokens` on a model H = `width` wide, at its defaults.

    Where a default rank is more than such a prompt can use, the largest that it can is taken. What the decoder of an
    intrinsic prompt trains depends on its runs; the list gives the paper's largest dimension.
    """
    rows = []
    for method in METHODS:
        prompt = _at_defaults(method, tokens, width)
        rows.append(
            {
                "method": method,
                "parameters": prompt.trainable(Mask.full(tokens, 1)),
                "description": summary(method),
            }
        )
    return rows


def _at_defaults(method: Method, tokens: int, width: int) -> Prompt:
    values, draw = torch.zeros(tokens, width), generator("methods")
    options = Options(whiten=False, subspace="random")  # which count as the others do
    try:
        return methods.start(method, values, draw, options)
    except ConfigError:
        rank = width if method in ("bilinear", "ulpt") else min(tokens, width)
        return methods.start(method, values, draw, Options(rank=rank, whiten=False))


def _intrinsic(settings: PromptSettings, model: FrozenModel, options: Options) -> PromptFactory:
    if not settings.subspace_from:
        raise ConfigError(
            "--method intrinsic needs --subspace-from RUN,RUN: finished runs of other tasks, on the same model and "
            "with prompts of the same length, whose subspace it learns in (or --subspace random, its control)"
        )
    shape = (settings.tokens, model.width)
    source = prompt_autoencoder.source_prompts(settings.subspace_from, shape, model.digest())
    dimension = prompt_autoencoder.dimension_for(len(source.values), settings.dimension)
    fitted = prompt_autoencoder.fit(source.values, dimension)
    note = (
        f"a subspace of {dimension} dimensions, fitted to {len(source.values)} prompts of {source.runs} runs: "
        f"{fitted.error:.1%} of their spread is lost"
    )
    return PromptFactory(
        "intrinsic", options, Context(decoder=fitted.decoder), {"subspace_from": source.digest}, (note,)
    )


def _options(settings: PromptSettings, input_tokens: int) -> Options:
    return Options(
        rank=settings.rank,
        bottleneck=settings.bottleneck,
        input_tokens=input_tokens,
        whiten=settings.columns == "whitening",
        subspace=settings.subspace,
        dimension=settings.dimension or prompt_autoencoder.DIMENSION,
    )


def _kind(method: Method, space: str) -> type[Prompt]:
    return RandomSubspacePrompt if method == "intrinsic" and space == "random" else methods.kind(method)
