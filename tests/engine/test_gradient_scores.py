from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny
import torch

from prunekit.engine.gradient_scores import all_scores, gradient_scores
from prunekit.pruning.scores import ROUND_SCORES, Absolute, GradientScore, Magnitude, Random, Signed, Squared
from prunekit.pruning.ticket import Ticket
from prunekit.runs.ticket_file import ticket_bytes
from prunekit.support.errors import DivergedError

# P = 2 tokens, H = 4, K = 2 pieces; the loss of example b is <values, slope_b>
VALUES = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, -1.0]])
SLOPES = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 0, 2]], [[-1.0, -1, 0, 0], [1, 0, 0, 0]], [[0, 0, 1, -1], [0, 1, 1, 0]]])
# by example: token 0: 3, -3, -1; token 1: -2, 1, 0; pieces of 0: (3, 0) (-3, 0) (0, -1), of 1: (0, -2) (1, 0) (0, 0)


class Linear:
    """A model whose loss is linear in the prompt."""

    device = torch.device("cpu")

    def losses(self, soft, batch):
        slopes = batch.slopes[:, -soft.values.shape[2] :]
        return (soft.values * slopes).sum(dim=(2, 3))


def batches(*sizes):
    cut = torch.split(SLOPES, list(sizes))
    return [SimpleNamespace(size=len(part), slopes=part) for part in cut]


def ticket(mask=None, **more) -> Ticket:
    return Ticket(mask or tiny.masked([True, True], pieces=2), {"values": VALUES}, None, **more)


@pytest.mark.parametrize("sizes", [(3,), (1, 1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize(
    ("score", "token", "piece"),
    [
        (Absolute(), [7, 3], [[6, 1], [1, 2]]),
        (Signed(), [1, 1], [[0, 1], [-1, 2]]),
        (Squared(), [19, 5], [[18, 1], [1, 4]]),
    ],
)
def test_scores_by_hand(sizes, score, token, piece):
    (found,) = gradient_scores([ticket()], Linear(), batches(*sizes), score)
    assert found.examples == 3
    assert torch.allclose(found.token, torch.tensor(token).double() / 3)
    assert torch.allclose(found.piece, torch.tensor(piece).double() / 3)


def test_the_absolute_value_stands_inside_the_mean():
    two = [SimpleNamespace(size=2, slopes=SLOPES[:2])]
    (absolute,) = gradient_scores([ticket()], Linear(), two)
    (signed,) = gradient_scores([ticket()], Linear(), two, Signed())
    assert absolute.token[0] == 3  # examples of opposite sign do not cancel
    assert signed.token[0] == 0


def test_a_token_that_lowers_the_loss_has_a_positive_signed_score():
    helpful = [SimpleNamespace(size=1, slopes=-VALUES.sign()[None])]
    (found,) = gradient_scores([ticket()], Linear(), helpful, Signed())
    assert (found.token > 0).all()


def test_dropped_pieces_add_nothing():
    mask = tiny.masked([True, True], pieces=2, drop=[(0, 0)])
    (found,) = gradient_scores([ticket(mask)], Linear(), batches(3))
    assert torch.allclose(found.piece, torch.tensor([[0.0, 1.0], [1.0, 2.0]]).double() / 3)
    assert torch.allclose(found.token, torch.tensor([1.0, 3.0]).double() / 3)


def test_slots_go_back_to_their_own_tokens():
    mask = tiny.masked([False, True], pieces=2)
    alone, both = ticket(mask), [ticket(mask), ticket()]
    for found in (gradient_scores([alone], Linear(), batches(3))[0], gradient_scores(both, Linear(), batches(2, 1))[0]):
        assert torch.allclose(found.token, torch.tensor([0.0, 3.0]).double() / 3)
        assert torch.allclose(found.piece, torch.tensor([[0.0, 0.0], [1.0, 2.0]]).double() / 3)


def test_nothing_moves_while_scoring():
    given = ticket()
    before = ticket_bytes(given)
    gradient_scores([given], Linear(), batches(3))
    assert ticket_bytes(given) == before


@pytest.mark.parametrize("strange", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_refused(strange):
    broken = [SimpleNamespace(size=1, slopes=torch.full((1, 2, 4), strange))]
    with pytest.raises(DivergedError, match="scoring"):
        gradient_scores([ticket()], Linear(), broken)


def test_every_kind_comes_from_one_pass_and_equals_its_own():
    seen = []

    def once():
        for batch in batches(2, 1):
            seen.append(batch.size)
            yield batch

    cohort = [ticket(), ticket(seed=1)]
    found = all_scores(cohort, Linear(), once())
    assert seen == [2, 1]
    assert [set(scores) for scores in found] == [{score.name for score in ROUND_SCORES}] * 2
    for score in (Absolute(), Signed(), Squared()):
        for scores, wanted in zip(found, gradient_scores(cohort, Linear(), batches(3), score), strict=True):
            assert torch.allclose(scores[score.name].token, wanted.token)
            assert torch.allclose(scores[score.name].piece, wanted.piece)
    assert torch.equal(found[0]["magnitude"].token, Magnitude().of(cohort[0]).token)
    assert torch.equal(found[1]["random"].piece, Random().of(cohort[1]).piece)


def test_magnitude_by_hand():
    found = Magnitude().of(ticket())
    assert torch.allclose(found.token, torch.tensor([30.0, 2.0]).sqrt())
    assert torch.allclose(found.piece, torch.tensor([[5.0, 25.0], [1.0, 1.0]]).sqrt())
    dropped = Magnitude().of(ticket(tiny.masked([True, True], pieces=2, drop=[(0, 1)])))
    assert torch.allclose(dropped.token, torch.tensor([5.0, 2.0]).sqrt())


def test_a_random_score_is_fixed_by_seed_and_round():
    one, same = (Random().of(ticket(seed=3, round=1)) for _ in range(2))
    assert torch.equal(one.token, same.token)
    assert torch.equal(one.piece, same.piece)
    others = [Random().of(ticket(seed=4, round=1)), Random().of(ticket(seed=3, round=2))]
    assert not any(torch.equal(one.token, other.token) or torch.equal(one.piece, other.piece) for other in others)
    assert len(one.token) == 2
    assert one.piece.shape == (2, 2)


def test_a_score_of_ones_own_is_passed_in():
    class Cubed(GradientScore):
        name = "cubed"

        def reduce(self, slopes):
            return slopes.abs() ** 3

    (scores,) = gradient_scores([ticket()], Linear(), batches(3), Cubed())
    assert torch.allclose(scores.token, torch.tensor([27.0 + 27 + 1, 8 + 1]).double() / 3)


def test_a_head_of_zeros_silences_the_prompt():
    bone = tiny.frozen("bert")
    rows = tiny.encoded(bone, tiny.examples(3))
    batch = bone.batch([rows], every_choice=False)
    (found,) = gradient_scores([tiny.ticket(bone)], bone, [batch])
    (zero_head,) = gradient_scores([replace(tiny.ticket(bone), head=bone.new_head(2))], bone, [batch])
    assert found.token.min() > 0
    assert zero_head.token.abs().max() == 0
