"""Scores of directions, each beside a plain formula on single examples: the sum of u s v by numpy, and naive.py."""

from dataclasses import replace

import naive
import numpy as np
import pytest
import tiny
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunekit.engine.direction_probe import DirectionProbe
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import SCORES, Absolute, LeaveOneOut, Magnitude, SecondOrder, Signed
from prunekit.pruning.scores.movement import Movement
from prunekit.support.errors import ConfigError

FAMILIES = ("t5", "gpt2", "bert")


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    """(kind, model, ticket, encoded examples, its directions [R, P, H] by numpy)."""
    bone = tiny.frozen(request.param)
    ticket = tiny.ticket(bone)
    values = ticket.prompt().prompt().detach().double().numpy()
    left, size, right = np.linalg.svd(values, full_matrices=False)
    parts = torch.from_numpy(np.einsum("pr,r,rh->rph", left, size, right)).float()
    return request.param, bone, ticket, tiny.encoded(bone, tiny.examples(5)), parts


def probe(case):
    _, bone, ticket, rows, _ = case
    return DirectionProbe(ticket, bone, rows, start=started(bone, ticket), keep=Keep(4, 4, rank=2))


def started(bone, ticket):
    return replace(ticket, state=tiny.ticket(bone, seed=7).state)


def loss_of(case, example, gamma):
    kind, bone, ticket, _, parts = case
    return naive.loss(kind, bone, (gamma[:, None, None] * parts).sum(dim=0), example, ticket.head)


def slopes_of(case):
    """[N, R] by hand."""
    rows = []
    for example in case[3]:
        gamma = torch.ones(len(case[4]), requires_grad=True)
        rows.append(torch.autograd.grad(loss_of(case, example, gamma), gamma)[0].double())
    return torch.stack(rows)


def test_leave_one_out_is_the_loss_without_a_direction_less_the_loss_with_all(case):
    scores = LeaveOneOut().score(probe(case))
    whole = torch.ones(len(case[4]))
    for number in range(len(whole)):
        without = whole.clone()
        without[number] = 0
        costs = [loss_of(case, example, without) - loss_of(case, example, whole) for example in case[3]]
        assert float(scores.token[number]) == pytest.approx(float(torch.stack(costs).mean()), abs=1e-5)


def test_gradient_scores_are_means_over_the_slopes_of_single_examples(case):
    slopes = slopes_of(case)
    naive.close(Absolute().score(probe(case)).token, slopes.abs().mean(dim=0))
    naive.close(Signed().score(probe(case)).token, -slopes.mean(dim=0))


def test_second_order_is_slope_and_half_the_hessian_by_hand():
    bone = tiny.frozen("gpt2")
    ticket, rows = tiny.ticket(bone), tiny.encoded(bone, tiny.examples(3))
    left, size, right = np.linalg.svd(ticket.prompt().prompt().detach().double().numpy(), full_matrices=False)
    parts = torch.from_numpy(np.einsum("pr,r,rh->rph", left, size, right)).float()
    case = ("gpt2", bone, ticket, rows, parts)

    def mean_loss(gamma):
        return torch.stack([loss_of(case, example, gamma) for example in rows]).mean()

    with sdpa_kernel(SDPBackend.MATH):
        hessian = torch.autograd.functional.hessian(mean_loss, torch.ones(len(parts))).double()
    naive.close(SecondOrder().score(probe(case)).token, hessian.sum(dim=1) / 2 - slopes_of(case).mean(dim=0))


def test_every_score_scores_directions_and_costs_what_it_says(case):
    for score in SCORES:
        asked = probe(case)
        if not score.of_directions:
            with pytest.raises(ConfigError, match="attention is paid to tokens, not to directions"):
                score.score(asked)
            continue
        scores = score.score(asked)
        assert scores.token.shape == (len(case[4]),)
        assert torch.isfinite(scores.token).all(), score.name
        assert asked.passes.epochs <= score.passes([len(case[4])]).epochs
    naive.close(Magnitude().score(probe(case)).token, case[4].flatten(1).norm(dim=1))


def test_movement_is_half_of_what_training_added_to_the_square_along_each_direction(case):
    _, bone, ticket, _, parts = case
    start = started(bone, ticket).prompt().prompt().detach()
    units = parts / parts.flatten(1).norm(dim=1)[:, None, None]
    along = torch.einsum("rph,ph->r", units, start)
    naive.close(Movement().score(probe(case)).token, (parts.flatten(1).norm(dim=1).square() - along.square()) / 2)


def test_losses_behind_gates_are_those_of_the_sum_of_gated_directions(case):
    *_, rows, parts = case
    gates = torch.rand(len(rows), len(parts), 1, generator=torch.Generator().manual_seed(1))
    asked = probe(case)
    order = asked._order.draw(rows, 0)
    losses = asked.losses(gates, 0)
    by_hand = [loss_of(case, example, gates[place, :, 0]) for place, example in enumerate(order)]
    naive.close(losses.double(), torch.stack(by_hand).double())
