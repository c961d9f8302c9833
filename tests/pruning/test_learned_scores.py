"""Finders that learn a mask, on losses whose answer is known; movement beside the path that it sums up."""

import math
from types import SimpleNamespace

import pytest
import tiny
import torch
import transformers
from scipy.optimize import brentq

from prunekit import models
from prunekit.engine.probe import TicketProbe
from prunekit.models import Encoded
from prunekit.prompts.mask import Mask
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import HardConcrete, Movement, StraightThrough
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError

LEARNED = (HardConcrete, StraightThrough)
HOLES = tiny.masked([True, False, True, True, True], pieces=2, drop=[(0, 1)])
#: What leaving out each piece adds to the loss.
COSTS = torch.tensor([[4.0, 0.0], [0.0, 0.0], [0.1, 0.2], [3.0, 1.0], [-1.0, -1.0]])


class Planted:
    """A probe of a loss that is linear in the factors, with noise that differs from example to example."""

    examples, batch, start = 16, 8, None

    def __init__(self, mask=HOLES, levels=("token",), keep=None):
        self.ticket = Ticket(mask, {"values": torch.zeros(5, 4)}, None)
        self.levels, self.keep, self.seen = levels, keep, []

    def losses(self, factors, update):
        self.seen.append(factors.detach())
        noise = torch.randn(self.batch, generator=torch.Generator().manual_seed(update))
        return noise + ((1 - factors) * COSTS).sum(dim=(1, 2))


@pytest.mark.parametrize("finder", LEARNED)
def test_what_the_loss_needs_is_found_at_both_levels(finder):
    probe = Planted(levels=("token", "piece"), keep=Keep(2, 1))
    scores = finder(epochs=20).score(probe)
    assert scores.facts == {"updates": 2 * 20 * 2} == {"updates": len(probe.seen)}
    mask = prune_mask(HOLES, scores, probe.keep)
    assert mask.token.nonzero().flatten().tolist() == [0, 3]
    assert mask.piece[[0, 3]].tolist() == [[True, False], [True, False]]
    assert mask <= HOLES
    assert all((factors[:, ~HOLES.piece] == 0).all() for factors in probe.seen[40:])


@pytest.mark.parametrize("finder", LEARNED)
def test_open_gates_fall_from_all_to_those_that_are_kept(finder):
    for keep, fewest in ((Keep(1, 2), 1), (None, 2)):
        probe = Planted(keep=keep)
        finder(epochs=20).score(probe)
        opened = torch.stack([(factors[..., 0] > 0).sum(dim=1).double().mean() for factors in probe.seen])
        assert opened[0] >= 3
        assert opened[-4:].mean() == pytest.approx(fewest, abs=0.4)


@pytest.mark.parametrize("finder", LEARNED)
def test_a_finder_draws_the_same_for_the_same_seed(finder):
    first, again = (finder().score(Planted()).token for _ in range(2))
    assert torch.equal(first, again)


class Steep(Planted):
    """A loss whose slope at a closed token 0 is infinite, or no number, as in a deep decoder."""

    def __init__(self, weight, **more):
        super().__init__(**more)
        self.weight = weight

    def losses(self, factors, update):
        return super().losses(factors, update) - self.weight * factors[:, 0, 0].sqrt()


@pytest.mark.parametrize("weight", [0.0, 1e-3], ids=["no number", "infinite"])
@pytest.mark.parametrize("finder", LEARNED)
def test_a_slope_without_bound_at_a_closed_gate_drowns_no_other(finder, weight):
    scores = finder(epochs=20).score(Steep(weight, keep=Keep(2, 1)))
    assert scores.token.isfinite().all()
    assert prune_mask(HOLES, scores, Keep(2, 1)).token.nonzero().flatten().tolist() == [0, 3]


@pytest.mark.parametrize("finder", LEARNED)
def test_gates_of_a_deep_decoder_are_numbers(finder):
    """With its first token closed the rows of all 40 layers begin with zeros, through whose norms all slopes overflow.

    Some examples of an update have it open, and it is by these that the gates learn.
    """
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=40,
        num_attention_heads=2,
        initializer_range=0.5,
    )
    model = models.wrap(transformers.LlamaForCausalLM(config), None)
    rows = [Encoded(index, (5, 6 + index), ((7,), (8,)), index % 2) for index in range(4)]
    ticket = Ticket(Mask.full(4, 1), {"values": model.embed(torch.arange(4))}, None, position=model.position)
    probe = TicketProbe(ticket, model, rows, keep=Keep(2, 1))
    closed = torch.ones(4, 4, 1)
    closed[:, 0] = 0
    (slopes,) = torch.autograd.grad(probe.losses(closed.requires_grad_(), 0).sum(), closed)
    assert not slopes.isfinite().any()
    logits = finder().score(probe).token
    assert logits.isfinite().all() and len(logits.unique()) == 4


def test_hard_concrete_gates_are_the_published_formula_and_as_many_open_as_asked_for():
    logits, draw = torch.tensor([3.0, 1.0, -1.0, 0.5]), torch.Generator().manual_seed(0)
    uniform = torch.rand(200_000, 4, generator=draw, dtype=torch.float64)
    gates = HardConcrete().gates(logits.double(), 1.5, uniform.logit())
    assert (gates > 0).sum(dim=1).double().mean() == pytest.approx(1.5, abs=0.01)
    chance = brentq(lambda shift: float((logits + shift).sigmoid().sum()) - 1.5, -20, 20)  # of a gate to be open
    location = logits + chance + 2 / 3 * math.log(0.1 / 1.1)
    drawn = ((uniform.log() - (1 - uniform).log() + location) / (2 / 3)).sigmoid()
    assert torch.allclose(gates, (drawn * 1.2 - 0.1).clip(0, 1), atol=1e-6)


def test_straight_through_gates_are_exact_and_pass_slopes_on():
    logits = torch.tensor([3.0, 1.0, -1.0, 0.5], requires_grad=True)
    gates = StraightThrough().gates(logits, 2.4, torch.zeros(3, 4))
    assert torch.allclose(gates, torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(3, 4))
    (slopes,) = torch.autograd.grad((gates * torch.arange(4.0)).sum(), logits)
    assert torch.equal(slopes, 3 * torch.arange(4.0))


def test_movement_is_what_the_slopes_sum_to_along_training():
    """Gradient descent in small steps on a quadratic loss; at each -dL/dp times p, as published."""
    start = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    goal = start.roll(1, dims=0)
    values, sums = start.clone(), torch.zeros(3, 4, dtype=torch.float64)
    for _ in range(4_000):
        step = -1e-3 * (values - goal)
        sums += step * values
        values += step
    mask = tiny.masked([True, True, False], pieces=2, drop=[(1, 0)])
    ended, begun = (Ticket(mask, {"values": each}, None) for each in (values, start))
    scores = Movement().score(SimpleNamespace(ticket=ended, start=begun))
    expected = sums.view(3, 2, 2).sum(dim=2) * mask.piece
    assert torch.allclose(scores.piece, expected, atol=5e-3)
    assert torch.allclose(scores.token, expected.sum(dim=1), atol=5e-3)
    assert (expected[mask.piece].abs() > 0.05).all()


def test_movement_of_a_prompt_of_no_run_is_refused():
    with pytest.raises(ConfigError, match=r"score = movement: .* use a round of a run"):
        Movement().score(SimpleNamespace(ticket=None, start=None))
