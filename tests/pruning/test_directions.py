"""Directions with a fake `learn`: no model, every subspace worked out by numpy and not by the code under test."""

import numpy as np
import pytest
import torch

from prunekit.engine.cohort import Member, Values
from prunekit.prompts.mask import Mask
from prunekit.pruning.controls import Target, controls_for, train_controls
from prunekit.pruning.directions import Directions, fixed, in_subspace
from prunekit.pruning.lottery import Rewinding, RoundResult, find_tickets
from prunekit.pruning.schedule import Keep, ranks
from prunekit.pruning.scores import Magnitude, Random, Scores
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError

P, K, H = 4, 2, 6
KEEPS = ranks(2, 1, P, K)


def matrix(name, rank=P):
    """[P, H] of a name, of full rank or less."""
    draw = torch.Generator().manual_seed(sum(map(ord, name)))
    left, right = torch.randn(P, rank, generator=draw), torch.randn(rank, H, generator=draw)
    return left @ right if rank < P else torch.randn(P, H, generator=draw)


def ticket_at(values, **more):
    head = {"weight": torch.ones(2, H), "bias": torch.zeros(2)}
    return Ticket(Mask.full(P, K), {"values": values}, head, **more)


def vectors(ticket):
    return ticket.prompt().prompt().detach()


def nearest(values, kept):
    """The sum of some singular directions, by numpy."""
    left, size, right = np.linalg.svd(values.double().numpy(), full_matrices=False)
    return torch.from_numpy(sum(size[index] * np.outer(left[:, index], right[index]) for index in kept)).float()


def projected(values, onto):
    """Values as far as they lie in the row space of `onto`, by least squares."""
    basis = np.linalg.qr(onto.double().numpy().T)[0][:, : np.linalg.matrix_rank(onto.numpy(), tol=1e-4)]
    return torch.from_numpy(values.double().numpy() @ basis @ basis.T).float()


def close(left, right):
    assert (left - right).abs().max() <= 1e-6 * right.abs().max()


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
def test_a_ticket_of_full_rank_is_the_trained_prompt(size):
    values = size * matrix("trained")
    directions = Directions.of(ticket_at(values))
    ticket = in_subspace(directions.ticket, directions.factor(directions.right))
    close(vectors(ticket), values)
    assert ticket.head is directions.ticket.head
    assert (ticket.rank, ticket.density) == (P, 1.0)


@pytest.mark.parametrize("kept", [[0], [1, 3], [0, 2, 3]])
def test_a_ticket_of_some_directions_is_their_sum_and_counts_its_free_numbers(kept):
    values, rank = matrix("trained"), len(kept)
    directions = Directions.of(ticket_at(values))
    ticket = in_subspace(directions.ticket, directions.factor(directions.right[kept]))
    close(vectors(ticket), nearest(values, kept))
    flags = torch.tensor([index in kept for index in range(P)])
    close(vectors(directions.only(flags)), nearest(values, kept))
    assert ticket.rank == rank
    assert ticket.prompt().prompt.trainable(ticket.mask) == rank * (P + H - rank)
    assert ticket.density == rank * (P + H - rank) / (P * H)


def test_free_numbers_are_the_dimensions_in_which_a_prompt_can_move():
    directions = Directions.of(ticket_at(matrix("trained")))
    prompt = in_subspace(directions.ticket, directions.factor(directions.right[:2])).prompt().prompt

    def product(left, right):
        return torch.func.functional_call(prompt, {"left": left, "right": right}, ())

    parts = torch.autograd.functional.jacobian(product, (prompt.left.detach(), prompt.right.detach()))
    whole = torch.cat([part.reshape(P * H, -1) for part in parts], dim=1)
    assert int(torch.linalg.matrix_rank(whole, rtol=1e-4)) == prompt.trainable(Mask.full(P, K)) == 2 * (P + H - 2)


@pytest.mark.parametrize("size", [1e-2, 30.0])
def test_both_factors_are_as_large_as_the_prompt_so_that_one_learning_rate_fits(size):
    directions = Directions.of(ticket_at(size * matrix("trained")))
    ticket = in_subspace(directions.ticket, directions.factor(directions.right))
    rms = {name: float(ticket.state[name].square().mean().sqrt()) / size for name in ("left", "right")}
    assert rms == pytest.approx(dict.fromkeys(rms, float(matrix("trained").square().mean().sqrt())), rel=1e-5)


def test_of_a_fixed_subspace_what_tokens_have_of_it_alone_is_trained():
    directions = Directions.of(ticket_at(matrix("trained")))
    free = in_subspace(directions.ticket, directions.factor(directions.right[:2]))
    ticket = fixed(free)
    assert torch.equal(vectors(ticket), vectors(free))
    assert list(Member(ticket).values().state) == ["left"]
    assert ticket.prompt().prompt.trainable(ticket.mask) == 2 * P
    assert ticket.rank == 2


def test_as_tokens_directions_are_as_long_as_their_singular_values():
    values = matrix("trained")
    tokens = Directions.of(ticket_at(values)).as_tokens()
    close(Magnitude().of(tokens).token, torch.linalg.svdvals(values))
    assert Random().of(tokens).token.shape == (P,)


def test_ranks_fall_geometrically_to_a_count_or_a_fraction():
    assert [keep.rank for keep in ranks(3, 2, 16, 4)] == [8, 4, 2]
    assert [keep.rank for keep in ranks(2, 0.25, 20, 4)] == [10, 5]
    assert {(keep.tokens, keep.pieces, keep.unit) for keep in ranks(3, 2, 16, 4)} == {(16, 4, "directions")}
    assert Keep(2, 1).unit == "cells"
    with pytest.raises(ConfigError, match=r"keep_rank = 17 keeps 17 of 16 directions"):
        ranks(3, 17, 16, 4)


# ---- rounds

BY_ROUND = {0: torch.tensor([0.0, 3.0, 1.0, 2.0]), 1: torch.tensor([0.0, 1.0])}  # what scores say of directions


class FakeLearn:
    """Trains by writing: what a ticket keeps is another matrix of its rank; round 0 has snapshots."""

    def __init__(self):
        self.tickets = {}

    def __call__(self, tickets):
        return [self.result(ticket) for ticket in tickets]

    def result(self, ticket, name="ticket"):
        self.tickets[name, ticket.round] = ticket
        token = BY_ROUND.get(ticket.round, torch.zeros(1))
        scores = Scores(token, token[:, None], 3)
        if ticket.rank is None:
            snapshots = {step: Values({"values": matrix(f"step {step}")}, ticket.head) for step in (0, 5)}
            return RoundResult(Values({"values": matrix("trained")}, ticket.head), 0.5, scores, snapshots)
        state = {part: value + 0.1 for part, value in ticket.state.items() if part in ("left", "right")}
        return RoundResult(Values(state, ticket.head), 0.5, scores, {})


def new_values(ticket):
    return Values({"values": matrix(f"new {ticket.round}")}, ticket.head)


def rounds_of(rewind):
    learn = FakeLearn()
    rounds = list(find_tickets([ticket_at(matrix("start"))], KEEPS, learn, Rewinding(rewind, draw=new_values)))
    return rounds, [made.tickets[0] for made in rounds]


def test_train_score_prune_rewind_by_hand():
    rounds, tickets = rounds_of("trained")
    assert [ticket.rank for ticket in tickets] == [None, 2, 1]
    close(vectors(tickets[1]), nearest(matrix("trained"), [1, 3]))  # the best by score, not the longest
    trained = tickets[1].at(rounds[1].results[0].kept)
    close(vectors(tickets[2]), nearest(vectors(trained), [1]))
    assert {(ticket.mask.tokens, ticket.mask.cells, ticket.rewind) for ticket in tickets[1:]} == {(P, P * K, "trained")}


@pytest.mark.parametrize(("rewind", "name"), [("init", "step 0"), (5, "step 5"), ("reinit", "new")])
def test_early_values_are_taken_as_far_as_they_lie_in_the_directions_that_are_kept(rewind, name):
    rounds, tickets = rounds_of(rewind)
    kept = [nearest(matrix("trained"), [1, 3]), nearest(vectors(tickets[1].at(rounds[1].results[0].kept)), [1])]
    for number, (ticket, directions) in enumerate(zip(tickets[1:], kept, strict=True), start=1):
        values = matrix(f"new {number}" if name == "new" else name)
        assert (vectors(ticket) - projected(values, directions)).abs().max() < 1e-5


# ---- controls


def controls_beside(rewind="trained"):
    rounds, tickets = rounds_of(rewind)
    learn = FakeLearn()

    def train(turn):
        return {key: learn.result(ticket, key[0]) for key, ticket in turn.items()}

    train_controls(rounds[0], [Target(tickets[-1], KEEPS)], train, Rewinding(rewind, draw=new_values))
    return tickets, learn.tickets


def test_every_control_of_directions_is_trained_as_often_as_the_ticket():
    _, trained = controls_beside()
    names = [control.name for control in controls_for("directions")]
    assert names == ["dense-continued", "random-subspace", "lowest-directions", "fixed-subspace"]
    assert set(trained) == {(name, number) for name in names for number in (1, 2)}
    assert trained["dense-continued", 1].rank is None
    assert {trained[name, number].rank for name in names[2:] for number in (1, 2)} == {1}
    assert [trained["random-subspace", number].rank for number in (1, 2)] == [2, 1]


def test_controls_begin_where_they_say():
    tickets, trained = controls_beside()
    whole = matrix("trained")
    close(vectors(trained["lowest-directions", 1]), nearest(whole, [0]))  # scores 0: the longest, as it happens
    basis = vectors(tickets[2])
    assert (vectors(trained["fixed-subspace", 1]) - projected(whole, basis)).abs().max() < 1e-5
    assert torch.equal(trained["fixed-subspace", 2].state["basis"], tickets[2].state["right"])
    random = vectors(trained["random-subspace", 1])
    close(random, projected(whole, random))
    chosen = [nearest(whole, pair) for pair in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))]
    assert min(float((random - other).abs().max()) for other in chosen) > 0.05
    assert torch.equal(random, vectors(controls_beside()[1]["random-subspace", 1]))


def test_controls_of_tickets_that_restart_are_trained_once():
    tickets, trained = controls_beside(5)
    assert {number for _, number in trained} == {2}
    start = matrix("step 5")
    close(vectors(trained["dense-continued", 2]), start)
    basis = vectors(tickets[2])
    assert (vectors(trained["fixed-subspace", 2]) - projected(start, basis)).abs().max() < 1e-5


def test_of_all_directions_there_are_no_lowest():
    control = next(control for control in controls_for("directions") if control.name == "lowest-directions")
    assert [control.exists(density) for density in (0.5, 1.0)] == [True, False]
