"""Processes that share every batch of a cohort (torchrun): each reads its part of the rows; gradients are added up.

The frozen model stands whole in every process. What goes over the wire in an update is the gradients of prompts and
heads and one loss per member: S x P x H + S numbers for plain prompts. All ranks then hold the same sums, bit for bit,
and take the same steps and decisions; only rank 0 writes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from prunekit.engine import evaluate as alone
from prunekit.engine.evaluate import Evaluation
from prunekit.engine.write import cut, in_order, write_batches
from prunekit.models import Encoded, FrozenModel, PromptBatch
from prunekit.support.errors import ConfigError, PrunekitError
from prunekit.tasks.decoding import Decoding

Row = TypeVar("Row")


class ProcessGroup:
    """The processes that work on one run, this one among them as `rank`; alone it sends nothing and changes nothing.

    Attributes:
        device: where numbers are handed over (NCCL takes none from a CPU).
        sent: numbers given into sums so far.
    """

    def __init__(self, size: int = 1, rank: int = 0, device: str = "cpu") -> None:
        self.size, self.rank, self.device = size, rank, device
        self.sent = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def part(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows of this process: every size-th."""
        return rows if self.size == 1 else rows[self.rank :: self.size]

    def share(self, rows: int) -> float:
        """What the mean over this process's part counts in the mean over all rows."""
        return 1.0 if self.size == 1 else len(range(self.rank, rows, self.size)) / rows

    def add(self, *tensors: Tensor) -> None:
        """Put the sums over all processes in the place of tensors of one type, in one message."""
        if self.size == 1 or not tensors:
            return
        message = torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).to(self.device)
        torch.distributed.all_reduce(message)
        self.sent += message.numel()
        for tensor, summed in zip(tensors, message.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(summed.view(tensor.shape))

    def add_gradients(self, modules: Sequence[nn.Module]) -> None:
        """Put the sums of gradients over all processes in their place."""
        if self.size > 1:
            weights = [weight for module in modules for weight in module.parameters()]
            self.add(*[weight.grad for weight in weights if weight.grad is not None])

    def total(self, count: int) -> int:
        """The sum of a count over all processes."""
        total = torch.tensor([count])
        self.add(total)
        return int(total.item())

    def gather(self, part: Row) -> list[Row]:
        """What each process has, for all: texts and whatever else cannot be added up."""
        parts: list[Any] = [part] * self.size
        if self.size > 1:
            torch.distributed.all_gather_object(parts, part)
        return parts

    def says(self, answer: bool) -> bool:
        """Rank 0's answer, for all; who comes last makes the others wait."""
        return bool(self.total(int(answer and self.leads)))

    def check_same(self, digest: str) -> None:
        """Raises: PrunekitError where the processes have not come to the same bytes."""
        if self.size == 1:
            return
        words = torch.tensor([int(digest[start : start + 8], 16) for start in range(0, 64, 8)], device=self.device)
        least, most = words.clone(), words.clone()
        torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
        if not torch.equal(least, most):
            raise PrunekitError("the processes came to different values; nothing was written, run it on one process")


#: A process by itself.
ALONE = ProcessGroup()

_joined: ProcessGroup | None = None


def join(processes: int, device: str = "cpu") -> ProcessGroup:
    """The team of so many processes, once that many are counted.

    Raises:
        ConfigError: where torchrun started another number, or none.
    """
    global _joined
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != processes:
        count = max(started, processes)
        both = f"torchrun --nproc-per-node {count} -m prunekit ... --processes {count}"
        raise ConfigError(f"--processes {processes}: {started} process(es) were started; give both alike: {both}")
    if processes == 1:
        return ALONE
    if _joined is None:
        if on_gpu := torch.device(device).type == "cuda":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
        atexit.register(torch.distributed.destroy_process_group)
        _joined = ProcessGroup(torch.distributed.get_world_size(), torch.distributed.get_rank(), device)
        counted = torch.ones(1, device=device)
        torch.distributed.all_reduce(counted)
        if not processes == _joined.size == int(counted.item()):
            raise ConfigError(f"--processes {processes}: {int(counted.item())} process(es) answer")
    return _joined


def team() -> ProcessGroup:
    """The team that this process has joined, or itself alone."""
    return _joined or ALONE


def evaluate(
    prompts: PromptBatch,
    model: FrozenModel,
    examples: Sequence[Encoded],
    tick: Callable[[int], None] = lambda completed: None,
) -> Evaluation:
    """As `prunekit.engine.evaluate.evaluate`, each process of the team doing its part of the examples."""
    group = team()
    part = alone.evaluate(prompts, model, group.part(examples), tick)
    if group.size == 1:
        return part
    shape = (prompts.members, len(examples))
    whole = Evaluation(torch.zeros(shape), torch.zeros(shape, dtype=torch.long), torch.zeros(shape))
    for name in ("losses", "chosen", "scores"):
        getattr(whole, name)[:, group.rank :: group.size] = getattr(part, name)
    group.add(whole.losses, whole.scores)
    group.add(whole.chosen)
    return whole


def answer(
    prompts: PromptBatch,
    model: FrozenModel,
    examples: Sequence[Encoded],
    decoding: Decoding | None,
    tick: Callable[[int], None] = lambda completed: None,
) -> list[Evaluation]:
    """What each member answers to all examples: losses and choices, and with `decoding` what it writes to them.

    Each process of the team writes some of the batches that a single process would cut, and all hold all answers.
    """
    evaluations = evaluate(prompts, model, examples, tick if decoding is None else lambda completed: None).members()
    if decoding is None:
        return evaluations
    group = team()
    batches = group.part(cut(examples, prompts.members))
    part = write_batches(prompts, model, examples, batches, decoding, lambda completed: tick(completed * group.size))
    texts = in_order(group.gather(part), len(examples))
    return [replace(evaluation, written=member) for evaluation, member in zip(evaluations, texts, strict=True)]


def from_leader(team: ProcessGroup, numbers: Sequence[int]) -> list[int]:
    """Rank 0's numbers, for all."""
    sums = torch.tensor([number if team.leads else 0 for number in numbers])
    team.add(sums)
    return [int(number) for number in sums]


__all__ = ["ALONE", "ProcessGroup", "answer", "evaluate", "from_leader", "join", "team"]
