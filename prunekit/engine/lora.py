"""LoRA by PEFT, trained as long as a prompt on the same batches: how far weights that move would come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from prunekit.engine.distributed import answer
from prunekit.engine.evaluate import Evaluation
from prunekit.engine.optimizer import Plan
from prunekit.engine.order import Order
from prunekit.engine.parts import in_parts
from prunekit.engine.train import TrainingData, rank
from prunekit.models import Encoded, FrozenModel, Head
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import seed_of
from prunekit.tasks.decoding import Decoding

#: Of AdamW; that of PEFT's own examples for adapters of this rank.
LEARNING_RATE = 1e-3
RANK = 8


@dataclass(frozen=True)
class TrainedLora:
    """The adapters that did best on validation.

    Attributes:
        validation: what the model answers with them there: losses, choices and scores [N].
        test: the same on the test split.
        parameters: numbers that were trained, a head's included.
        step: updates before they were kept.
        learning_rate: of the adapters.
    """

    validation: Evaluation
    test: Evaluation
    parameters: int
    step: int
    learning_rate: float = LEARNING_RATE


def check_peft() -> None:
    """Raises: ConfigError where PEFT is missing; it is not loaded for that."""
    if find_spec("peft") is None:
        raise ConfigError("--ceiling lora needs PEFT: pip install peft")


def trained_lora(
    model: FrozenModel,
    data: TrainingData,
    test: Sequence[Encoded],
    plan: Plan,
    ticket: Ticket,
    decoding: Decoding | None = None,
    tick: Callable[[int], None] = lambda updates: None,
) -> TrainedLora:
    """Train adapters on every linear layer as the plan says, and keep what did best on validation.

    Args:
        data: what the dense prompt is trained and chosen on.
        plan: the dense prompt's; its updates, batches, warm-up, clipping and the head's rate hold here too.
        ticket: the dense one, whose order of examples and head at the start are taken.
        decoding: how answers are written in the end, where they are.
        tick: called with the updates made.
    """
    with _adapted(model, seed_of("lora", ticket.seed)) as adapters:
        learner = _Learner(model, adapters, ticket, plan)
        best, step, kept = learner.judged(data), 0, learner.state()
        for step_before in range(plan.train_steps):
            learner.update(data.train, plan, step_before)
            if (step_before + 1) % plan.evaluate_every == 0 or step_before + 1 == plan.train_steps:
                judged = learner.judged(data)
                if step == 0 or judged > best:
                    best, step, kept = judged, step_before + 1, learner.state()
            tick(step_before + 1)
        learner.restore(kept)
        validation, tested = (learner.evaluation(rows, decoding) for rows in (data.validation, test))
        return TrainedLora(validation, tested, learner.parameters, step)


class _Learner:
    """Adapters (and a head) with their optimiser."""

    def __init__(self, model: FrozenModel, adapters: list[nn.Parameter], ticket: Ticket, plan: Plan) -> None:
        self.model, self.order = model, Order(plan.batch_size, ticket.seed, ticket.round)
        head = {name: value.to(model.device) for name, value in (ticket.head or {}).items()}
        self.head = {name: nn.Parameter(value.clone()) for name, value in head.items()}
        self.weights = [*adapters, *self.head.values()]
        groups = [{"params": adapters, "lr": LEARNING_RATE, "rate": LEARNING_RATE}]
        if self.head:
            rate = plan.head_learning_rate
            groups.append({"params": list(self.head.values()), "lr": rate, "rate": rate})
        self.optimizer = torch.optim.AdamW(groups, weight_decay=plan.weight_decay)

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(weight.numel() for weight in self.weights)

    def update(self, examples: Sequence[Encoded], plan: Plan, step: int) -> None:
        """One step on the batch that the dense prompt has at this one."""
        rows = self.order.draw(examples, step)
        for part in in_parts([rows], self.model, 0):
            batch = self.model.batch(part, every_choice=False)
            (self.model.losses(self.model.no_prompt(self._head()), batch).sum() / len(rows)).backward()
        nn.utils.clip_grad_norm_(self.weights, plan.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * plan.warmed(step)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def judged(self, data: TrainingData) -> tuple[float, float]:
        """How good it is on validation: what a better one has more of."""
        evaluation = self.evaluation(data.validation)
        return rank(data.measure(evaluation.chosen.tolist()), float(evaluation.losses.mean()))

    def evaluation(self, examples: Sequence[Encoded], decoding: Decoding | None = None) -> Evaluation:
        """What the model answers now."""
        with torch.no_grad():
            return answer(self.model.no_prompt(self._head()), self.model, examples, decoding)[0]

    def state(self) -> list[Tensor]:
        """A copy of the numbers as they stand."""
        return [weight.detach().clone() for weight in self.weights]

    @torch.no_grad()
    def restore(self, state: Sequence[Tensor]) -> None:
        """Put a copy back."""
        for weight, value in zip(self.weights, state, strict=True):
            weight.copy_(value)

    def _head(self) -> Head | None:
        return Head(self.head["weight"][None], self.head["bias"][None]) if self.head else None


@contextmanager
def _adapted(model: FrozenModel, seed: int) -> Iterator[list[nn.Parameter]]:
    """The model with fresh adapters in it; they are gone afterwards.

    Yields:
        Their parameters.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT tells how it fits layers, and asks transformers what is deprecated
        torch.manual_seed(seed)
        adapted = get_peft_model(model.model, config)
    try:
        adapted.eval()
        with model.reading_whole_rows():
            yield [weight for weight in adapted.parameters() if weight.requires_grad]
    finally:
        adapted.unload()
