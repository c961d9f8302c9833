"""Parameterisations of a soft prompt, one file per method, each named after its paper.

What a method is made of is its `state_dict`, trained and frozen tensors alike: `build` needs nothing else. `start`
draws a fresh one.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from prunekit.prompts.adept import AdeptPrompt
from prunekit.prompts.base import AutoRate, DroppedAs, MaskedPrompt, OffsetRate, Prompt
from prunekit.prompts.bilinear import BilinearPrompt, whitened
from prunekit.prompts.dept import DeptPrompt
from prunekit.prompts.direct import DirectPrompt
from prunekit.prompts.dpt import DptPrompt
from prunekit.prompts.ept import EptPrompt
from prunekit.prompts.intrinsic import IntrinsicPrompt, RandomSubspacePrompt
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Decoder, Options
from prunekit.prompts.residual import ResidualPrompt
from prunekit.prompts.singular import SingularPrompt
from prunekit.prompts.structured import StructuredPrompt
from prunekit.prompts.ulpt import UlptPrompt
from prunekit.support.errors import ArtifactError, ConfigError

Method = Literal[
    "direct", "dpt", "residual", "dept", "adept", "ept", "bilinear", "structured", "intrinsic", "ulpt", "singular"
]
METHODS: tuple[Method, ...] = get_args(Method)


def kind(method: Method, state: Mapping[str, Tensor] | None = None) -> type[Prompt]:  # noqa: C901 (a case a method)
    """The class of a method's prompts; `state` tells apart the two classes of intrinsic prompt tuning.

    Raises:
        ArtifactError: where there is no such method.
    """
    match method:
        case "direct":
            return DirectPrompt
        case "dpt":
            return DptPrompt
        case "residual":
            return ResidualPrompt
        case "dept":
            return DeptPrompt
        case "adept":
            return AdeptPrompt
        case "ept":
            return EptPrompt
        case "bilinear":
            return BilinearPrompt
        case "structured":
            return StructuredPrompt
        case "intrinsic":
            return RandomSubspacePrompt if state is not None and "inner" not in state else IntrinsicPrompt
        case "ulpt":
            return UlptPrompt
        case "singular":
            return SingularPrompt
    raise ArtifactError(f'method "{method}" is unknown to this version of prunekit; it has {", ".join(METHODS)}')


def build(method: Method, state: Mapping[str, Tensor]) -> Prompt:
    """The prompt of a method at saved tensors (its `state_dict`, trained and frozen ones).

    Raises:
        ArtifactError: where there is no such method, or the tensors are another's.
    """
    prompt_class = kind(method, state)
    try:
        return prompt_class(**state)
    except TypeError as error:
        raise ArtifactError(
            f'the tensors {", ".join(sorted(state))} are not those of a prompt of method "{method}"'
        ) from error


def start(
    method: Method, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
) -> Prompt:
    """A fresh prompt of a method.

    Args:
        method: its name.
        values: [P, H] from an initialiser, which direct, residual, dept, adept, ept, structured, singular, dpt with
            factors "svd" and the random subspace start from; of the others it gives the shape alone.
        generator: where random numbers are drawn from.
        options: the method's hyper-parameters.
        context: what the method needs of the model or of earlier runs.

    Raises:
        ConfigError: where `options` do not fit, or `context` lacks what the method needs.
        ArtifactError: where there is no such method.
    """
    return kind(method).start(values, generator, options, context)


def same_kind(prompts: Sequence[Prompt]) -> None:
    """Check that prompts can be trained side by side: of one method, with the same sizes of its own (P may differ).

    Raises:
        ConfigError: naming the first difference.
    """
    if not prompts:
        return
    first = prompts[0]
    for other in prompts[1:]:
        if type(other) is not type(first):
            raise ConfigError(
                f"{_named(first)} and {_named(other)} prompts cannot be trained side by side; run each alone"
            )
        for name, size in first.sizes.items():
            if other.sizes[name] != size:
                raise ConfigError(
                    f"{_named(first)} prompts of {name} = {size} and {other.sizes[name]} cannot be trained side by "
                    "side; run each alone"
                )


def _named(prompt: Prompt) -> str:
    return "random-subspace" if isinstance(prompt, RandomSubspacePrompt) else prompt.method


__all__ = [
    "METHODS",
    "NOTHING",
    "PUBLISHED",
    "AdeptPrompt",
    "AutoRate",
    "BilinearPrompt",
    "Context",
    "Decoder",
    "DeptPrompt",
    "DirectPrompt",
    "DptPrompt",
    "DroppedAs",
    "EptPrompt",
    "IntrinsicPrompt",
    "MaskedPrompt",
    "Method",
    "OffsetRate",
    "Options",
    "Prompt",
    "RandomSubspacePrompt",
    "ResidualPrompt",
    "SingularPrompt",
    "StructuredPrompt",
    "UlptPrompt",
    "build",
    "kind",
    "same_kind",
    "start",
    "whitened",
]
