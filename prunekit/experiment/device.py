"""Where a run happens: threads, device, and how many members go side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from prunekit.engine import distributed, memory
from prunekit.experiment.settings import MachineSettings
from prunekit.models import Encoded, FrozenModel
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError


def use(settings: MachineSettings) -> None:
    """Put the number of CPU threads in force, and join the other processes where there are any.

    Raises:
        ConfigError: where another number of processes was started.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    distributed.join(settings.processes, device(settings))
    if settings.processes > 1 and settings.device == "cpu":  # on GPUs each has one of its own
        memory.share_memory(settings.processes)


def device(settings: MachineSettings) -> str:
    """The device's name, once it was found to be there.

    Raises:
        ConfigError: where it is not.
    """
    shared = settings.processes > 1 and settings.device == "cuda"
    name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if shared else settings.device
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {settings.device}: {str(error).splitlines()[0]}; use cpu, or a device that is there"
        ) from error
    return name


def put(model: FrozenModel, settings: MachineSettings) -> None:
    """Bring the weights to the device, but for those that were given their place when they were loaded."""
    if not model.spread and not getattr(model.model, "is_quantized", False):
        model.model.to(device(settings))


def with_width(
    settings: MachineSettings,
    first: Ticket,
    model: FrozenModel,
    examples: Sequence[Encoded],
    batch_size: int,
    counts: memory.Counts,
) -> MachineSettings:
    """With width = "auto" settled from the memory at hand; where not one member fits, activations are recomputed.

    Args:
        first: a dense ticket, the largest there will be.
        counts: what was counted on this model and these examples before, and is added to.

    Raises:
        ConfigError: where even so none fits, or a batch is smaller than the team.
    """
    if (rows := min(batch_size, len(examples))) < settings.processes:
        raise ConfigError(f"--processes {settings.processes}: a batch of {rows} has no example for each process")
    if settings.width == "auto":
        settings = _by_memory(settings, first, model, examples, batch_size, counts)
    return _agreed(settings)


def _agreed(settings: MachineSettings) -> MachineSettings:
    """What rank 0 settled, for all processes of a team."""
    width, checkpointing = distributed.from_leader(
        distributed.team(), [int(settings.width), int(settings.checkpointing)]
    )
    return settings.model_copy(update={"width": width, "checkpointing": bool(checkpointing)})


def _by_memory(
    settings: MachineSettings,
    first: Ticket,
    model: FrozenModel,
    examples: Sequence[Encoded],
    batch_size: int,
    counts: memory.Counts,
) -> MachineSettings:
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(first.state.items()))

    def counted(checkpointing: bool) -> int:
        facts = (first.method, shapes, batch_size, checkpointing)
        if facts not in counts:
            counts[facts] = memory.activation_bytes(first, model, examples, batch_size)
        return counts[facts]

    checkpointing = settings.checkpointing
    needed = counted(checkpointing)
    width = memory.width(needed, model.device)
    if not width and not checkpointing:
        memory.recompute_activations(model)
        needed, checkpointing = counted(True), True
        width = memory.width(needed, model.device)
    if not width:
        free = memory.free_bytes(model.device)
        raise ConfigError(
            f"one update of one prompt keeps {needed / 2**20:.0f} MB, and {free / 2**20:.0f} MB are free on "
            f"{settings.device}; use a smaller --batch-size or --max-input-tokens"
        )
    return settings.model_copy(update={"width": width, "checkpointing": checkpointing})
