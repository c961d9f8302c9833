"""Where a run happens: threads, device, and how many members go side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from prunekit.engine import distributed, memory
from prunekit.experiment.settings import MachineSettings
from prunekit.models import Encoded, FrozenModel
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError


def apply(settings: MachineSettings) -> None:
    """Set the number of CPU threads, and join the other processes where there are any.

    Raises:
        ConfigError: where another number of processes was started.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    distributed.join(settings.processes, device(settings))
    if settings.processes > 1 and settings.device == "cpu":  # on GPUs each has one of its own
        memory.share_memory(settings.processes)


def device(settings: MachineSettings) -> str:
    """The name of the device, which is checked to exist.

    Raises:
        ConfigError: where it does not.
    """
    shared = settings.processes > 1 and settings.device == "cuda"
    name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if shared else settings.device
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {settings.device}: {str(error).splitlines()[0]}; use cpu, or a device that this machine has"
        ) from error
    return name


def move_model(model: FrozenModel, settings: MachineSettings) -> None:
    """Move the weights to the device, unless they were spread or quantised when they were loaded."""
    if not model.spread and not getattr(model.model, "is_quantized", False):
        model.model.to(device(settings))


@dataclass(frozen=True)
class Update:
    """One update of one prompt, as its memory is counted.

    Attributes:
        ticket: a dense one, the largest there will be.
        model: the frozen model.
        examples: the training examples.
        batch_size: how many of them an update reads.
        counts: activation bytes that were counted on this model and these examples before; added to.
    """

    ticket: Ticket
    model: FrozenModel
    examples: Sequence[Encoded]
    batch_size: int
    counts: memory.Counts

    def activation_bytes(self, checkpointing: bool) -> int:
        """What it keeps in memory, counted once."""
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(self.ticket.state.items()))
        key = (self.ticket.method, shapes, self.batch_size, checkpointing)
        if key not in self.counts:
            self.counts[key] = memory.activation_bytes(self.ticket, self.model, self.examples, self.batch_size)
        return self.counts[key]


def resolve_width(settings: MachineSettings, update: Update) -> MachineSettings:
    """The settings with width = "auto" resolved by free memory; where no member fits, activations are recomputed.

    Args:
        settings: of the machine.
        update: what each member needs.

    Raises:
        ConfigError: where even so none fits, or a batch has fewer examples than there are processes.
    """
    if (rows := min(update.batch_size, len(update.examples))) < settings.processes:
        raise ConfigError(f"--processes {settings.processes}: a batch of {rows} has no example for each process")
    if settings.width == "auto":
        settings = _width_by_memory(settings, update)
    return _shared_by_processes(settings)


def _shared_by_processes(settings: MachineSettings) -> MachineSettings:
    """The settings of rank 0, for all processes of a group."""
    width, checkpointing = distributed.from_leader(
        distributed.team(), [int(settings.width), int(settings.checkpointing)]
    )
    return settings.model_copy(update={"width": width, "checkpointing": bool(checkpointing)})


def _width_by_memory(settings: MachineSettings, update: Update) -> MachineSettings:
    model, checkpointing = update.model, settings.checkpointing
    needed = update.activation_bytes(checkpointing)
    width = memory.width(needed, model.device)
    if not width and not checkpointing:
        memory.recompute_activations(model)
        needed, checkpointing = update.activation_bytes(True), True
        width = memory.width(needed, model.device)
    if not width:
        free = memory.free_bytes(model.device)
        raise ConfigError(
            f"one update of one prompt keeps {needed / 2**20:.0f} MB, and {free / 2**20:.0f} MB are free on "
            f"{settings.device}; use a smaller --batch-size or --max-input-tokens"
        )
    return settings.model_copy(update={"width": width, "checkpointing": checkpointing})
