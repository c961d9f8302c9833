"""Parameterisations of a soft prompt, one file per method, each named after its paper."""

from collections.abc import Mapping
from typing import Literal, get_args

from torch import Tensor

from prunekit.errors import ArtifactError
from prunekit.prompts.base import Absent, MaskedPrompt, Prompt
from prunekit.prompts.direct import DirectPrompt

Method = Literal["direct"]
METHODS: tuple[Method, ...] = get_args(Method)


def build(method: Method, state: Mapping[str, Tensor]) -> Prompt:
    """The prompt of a method at saved values (its `state_dict`)."""
    match method:
        case "direct":
            return DirectPrompt(state["values"])
    raise ArtifactError(f'method "{method}" is not known to this version; it knows {", ".join(METHODS)}')


__all__ = ["METHODS", "Absent", "DirectPrompt", "MaskedPrompt", "Method", "Prompt", "build"]
