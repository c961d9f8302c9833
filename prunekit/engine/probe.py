"""What a score asks about one ticket, answered by the model: slopes, how they bend, losses without some of the cells.

gamma is a factor on each token, zeta one on each of its pieces; both are 1 in the prompt itself. As a token is its
pieces, the slope of its gamma is the sum of their zetas', so that one factor per cell gives all of them. Where a
dropped piece is hidden and not zeros (position prefix-kv) it is a factor of the attention that is paid to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunekit.engine.ablation import evaluator
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.gradient_scores import BATCH, put_back, scoring_batches, with_tokens
from prunekit.engine.order import Order
from prunekit.models import Batch, Encoded, FrozenModel, PromptBatch
from prunekit.models.attention import attention_received
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Passes
from prunekit.pruning.scores.base import Level, Objective
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError

# added to factors before their logarithm, so that even at 0 it has a slope; 1 stays 1
_NONE = 1e-30


class TicketProbe:
    """A ticket on a frozen model and examples: a `prunekit.pruning.scores.Probe`.

    Attributes:
        ticket: at its own values.
        levels: at which scores are asked for.
        examples: how many there are.
        batch: how many of them an update of training sees.
        start: the ticket as its training began, None where that is not known.
        keep: what pruning by the scores will keep, None where they serve several counts.
        passes: what the answers have cost so far.
    """

    def __init__(
        self,
        ticket: Ticket,
        model: FrozenModel,
        examples: Sequence[Encoded],
        levels: Sequence[Level] = ("token",),
        *,
        start: Ticket | None = None,
        keep: Keep | None = None,
    ) -> None:
        self.ticket, self.levels, self.examples = ticket, levels, len(examples)
        self.batch, self.start, self.keep = min(BATCH, len(examples)), start, keep
        self.passes = Passes()
        self._model, self._rows = model, examples
        self._order = Order(BATCH, ticket.seed, ticket.round)
        self._evaluate = evaluator(ticket, model, examples)
        with torch.no_grad():
            self._prompts = prompt_batch([Member(ticket, model.device)])

    def slopes(
        self, of_each: Callable[[Tensor], Tensor] | None = None, *, gamma: float = 1.0, objective: Objective = "loss"
    ) -> Tensor:
        """Float[P, K + 1], means over examples."""
        total = torch.zeros(())
        for batch in self._batches(objective):
            zeta = self._factors(batch, gamma)
            (slopes,) = torch.autograd.grad(self._objective(zeta, batch, objective).sum(), zeta)
            slopes = with_tokens(slopes.double())
            total = total + (slopes if of_each is None else of_each(slopes)).sum(dim=1).cpu()
        self._count(1, 1)
        return self._mean(total)

    def curvature(self) -> tuple[Tensor, Tensor]:
        """Two Float[P, K + 1]; under plain attention, since fused kernels have no second derivative."""
        total, bends = torch.zeros(()), torch.zeros(())
        for batch in self._batches("loss"):
            zeta = self._factors(batch, 1.0)
            with sdpa_kernel(SDPBackend.MATH):
                loss = self._objective(zeta, batch, "loss").sum()
                (slopes,) = torch.autograd.grad(loss, zeta, create_graph=True)
                (product,) = torch.autograd.grad(slopes.sum(), zeta)
            total = total + with_tokens(slopes.detach().double()).sum(dim=1).cpu()
            bends = bends + with_tokens(product.double()).sum(dim=1).cpu()
        self._count(1, 3)
        return self._mean(total), self._mean(bends)

    def loss(self, gamma: float) -> float:
        """The mean over examples."""
        with torch.no_grad():
            losses = [
                self._objective(self._factors(batch, gamma), batch, "loss").double().sum()
                for batch in self._batches("loss")
            ]
        self._count(1, 0)
        return float(torch.stack(losses).sum()) / self.examples

    def losses(self, factors: Tensor, update: int) -> Tensor:
        """Float[B], of the examples of one update, differentiable."""
        batch = self._model.batch([self._order.draw(self._rows, update)], every_choice=False)
        self._count(self.batch / self.examples, self.batch / self.examples)
        zeta = self._by_slot(factors.to(self._prompts.values))
        return self._objective(zeta[None], batch, "loss")[0]

    def attention(self) -> Tensor:
        """Float[P], the mean over examples."""
        received = [attention_received(self._model, self._prompts, row) for row in self._rows]
        self._count(1, 0)
        return self._mean(torch.stack(received).sum(dim=0)[None, :, None])[:, 0]

    def evaluate(self, cells: Sequence[Tensor], tick: Callable[[int], None]) -> tuple[Tensor, Tensor]:
        """Losses and chosen answers [M, N] with only some of the cells."""
        self._count(len(cells), 0)
        return self._evaluate(cells, tick)

    def _count(self, forward: float, backward: float) -> None:
        self.passes = Passes(self.passes.forward + forward, self.passes.backward + backward)

    def _batches(self, objective: Objective) -> Iterator[Batch]:
        return scoring_batches(self._model, self._rows, every_choice=objective == "margin")

    def _factors(self, batch: Batch, gamma: float) -> Tensor:
        """[1, B, P, K], a factor for each cell of each example's own copy of the prompt."""
        values, pieces = self._values, self.ticket.mask.piece.shape[1]
        shape = (1, batch.size, values.shape[1], pieces)
        return torch.full(shape, gamma, device=values.device, dtype=values.dtype, requires_grad=True)

    def _by_slot(self, factors: Tensor) -> Tensor:
        """[B, slots, K] of factors [B, P, K]."""
        return factors[:, self._prompts.source[0]]

    @property
    def _values(self) -> Tensor:
        """[1, P, H], what the factors are of."""
        return self._prompts.values

    def _times(self, zeta: Tensor) -> PromptBatch:
        """The prompt with its cells multiplied."""
        return _times(self._prompts, zeta)

    def _objective(self, zeta: Tensor, batch: Batch, objective: Objective) -> Tensor:
        """[1, B] of each example."""
        predictions = self._model.forward(self._times(zeta), batch)
        if objective == "loss":
            return predictions.losses
        return -_margins(predictions.logits, batch)

    def _mean(self, total: Tensor) -> Tensor:
        """Float[P, K + 1] of sums [1, slots, K + 1], zeros where a token has no slot."""
        return put_back(total[0], self._prompts.source[0], len(self.ticket.mask.token)) / self.examples


def _times(prompts: PromptBatch, zeta: Tensor) -> PromptBatch:
    """The prompt with its cells multiplied, or with so much attention paid to them where pieces are hidden."""
    values = prompts.values.detach()[:, None]
    if prompts.gates is not None:
        gates = prompts.gates[:, None] + (zeta + _NONE).log()
        return replace(prompts, values=values.expand(-1, zeta.shape[1], -1, -1), gates=gates)
    return replace(prompts, values=(values.unflatten(-1, (zeta.shape[-1], -1)) * zeta[..., None]).flatten(-2))


def _margins(logits: Tensor, batch: Batch) -> Tensor:
    """[S, B], the score of the best right choice less that of the best other."""
    if logits.shape[-1] < 2:
        raise ConfigError("score = margin needs answers to choose among; this task's are written, so use another score")
    right = batch.right.to(logits.device).expand(logits.shape)
    best, others = (logits.masked_fill(masked, float("-inf")).amax(dim=2) for masked in (~right, right))
    return best - others
