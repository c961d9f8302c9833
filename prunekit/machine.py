"""Where a run happens: threads, device, and how many members go side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from prunekit import capacity
from prunekit.backbones import Backbone, Encoded
from prunekit.config import MachineSettings
from prunekit.errors import ConfigError
from prunekit.tickets import Ticket


def use_threads(settings: MachineSettings) -> None:
    """Put the number of CPU threads in force."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)


def device(settings: MachineSettings) -> str:
    """The device's name, once it was found to be there.

    Raises: ConfigError where it is not.
    """
    try:
        torch.empty(0, device=settings.device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {settings.device}: {str(error).splitlines()[0]}; use cpu, or a device that is there"
        ) from error
    return settings.device


def with_width(
    settings: MachineSettings, first: Ticket, backbone: Backbone, examples: Sequence[Encoded], batch_size: int
) -> MachineSettings:
    """With width = "auto" settled from the memory at hand; where not one member fits, activations are recomputed.

    first: a dense ticket, the largest there will be.  Raises: ConfigError where even so none fits.
    """
    if settings.width != "auto":
        return settings
    needed = capacity.activation_bytes(first, backbone, examples, batch_size)
    width, checkpointing = capacity.width(needed, backbone.device), settings.checkpointing
    if not width and not checkpointing:
        capacity.recompute_activations(backbone)
        needed, checkpointing = capacity.activation_bytes(first, backbone, examples, batch_size), True
        width = capacity.width(needed, backbone.device)
    if not width:
        free = capacity.free_bytes(backbone.device)
        raise ConfigError(
            f"one update of one prompt keeps {needed / 2**20:.0f} MB, and {free / 2**20:.0f} MB are free on "
            f"{settings.device}; use a smaller --batch-size or --max-input-tokens"
        )
    return settings.model_copy(update={"width": width, "checkpointing": checkpointing})
