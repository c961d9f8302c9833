"""Prompts by the name of their method: a fresh one, one at saved tensors, and whether two can be trained together.

What a method is made of is its `state_dict`, trained and frozen tensors alike: `build` needs nothing else. `start`
draws a fresh one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

import torch
from torch import Tensor

from prunekit.prompts import TICKET_METHODS, Method
from prunekit.prompts.base import Prompt
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options
from prunekit.support.errors import ArtifactError, ConfigError


def kind(method: Method, state: Mapping[str, Tensor] | None = None) -> type[Prompt]:
    """The class of a method's prompts; `state` tells apart the two classes of intrinsic prompt tuning.

    Raises:
        ArtifactError: where there is no such method.
    """
    if method not in TICKET_METHODS:
        raise ArtifactError(
            f'method "{method}" is unknown to this version of prunekit; it has {", ".join(TICKET_METHODS)}'
        )
    prompt_class: type[Prompt] = getattr(import_module(f"prunekit.prompts.{method}"), TICKET_METHODS[method])
    return prompt_class if state is None else prompt_class.of_state(state)


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
            raise ConfigError(f"{first.title} and {other.title} prompts cannot be trained side by side; run each alone")
        for name, size in first.sizes.items():
            if other.sizes[name] != size:
                raise ConfigError(
                    f"{first.title} prompts of {name} = {size} and {other.sizes[name]} cannot be trained side by "
                    "side; run each alone"
                )
