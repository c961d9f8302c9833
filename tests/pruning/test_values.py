"""What the algorithm hands on from round to round: nothing of it is edited in place, and nobody is lost on the way."""

from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from test_lottery import KEEPS, FakeLearn, dense, values

from prunekit.prompts.mask import Mask
from prunekit.pruning.lottery import Rewinding, Round, RoundResult, find_tickets
from prunekit.pruning.schedule import Keep, Schedule, rungs
from prunekit.pruning.scores import Scores
from prunekit.support.errors import ConfigError

HANDED_ON = [
    Mask.full(4, 2),
    Scores(torch.ones(4), torch.ones(4, 2), 1),
    Keep(2, 1),
    Schedule.geometric(2, 2, 1),
    RoundResult(values(1), 0.5, None, {}),
    Rewinding("trained"),
    Round(0, (), ()),
    dense(),
    values(1),
]


@pytest.mark.parametrize("one", HANDED_ON, ids=lambda one: type(one).__name__)
def test_none_of_it_can_be_edited(one):
    for field in fields(one):
        with pytest.raises(FrozenInstanceError):
            setattr(one, field.name, None)


def test_whoever_learns_gives_back_as_many_as_it_was_given():
    with pytest.raises(ValueError, match="shorter"):
        list(find_tickets([dense(0), dense(1)], KEEPS, lambda tickets: FakeLearn()(tickets)[:1], Rewinding("trained")))


def test_a_round_with_fewer_learned_than_tickets_has_no_member_to_give():
    tickets = (dense(0), dense(1))
    with pytest.raises(ValueError, match="shorter"):
        Round(0, tickets, tuple(FakeLearn()(tickets)[:1])).of(1)


def test_what_is_dropped_is_removed_unless_said_otherwise():
    assert Rewinding("trained").dropped_as == "remove"


# ---- edges of the same files, which a mutation run found unwatched


def test_scores_of_another_shape_are_refused_whichever_part_has_it():
    for token, piece in ((torch.ones(4, 1), torch.ones(4, 2)), (torch.ones(4), torch.ones(4))):
        with pytest.raises(ValueError, match=r"want token \[P\]"):
            Scores(token, piece, 1)


def test_masks_that_differ_are_told_apart_in_a_set():
    masks = [Mask(piece.any(dim=1), piece) for piece in torch.eye(4, dtype=torch.bool)[:, None]]
    assert len({hash(one) for one in masks}) == 4


def test_a_share_of_nothing_is_told_as_such_and_with_what_to_give():
    with pytest.raises(ConfigError, match=r"keep_tokens = 0\.0 keeps 0 of 4 tokens; give a count from 1 to 4, or a"):
        Schedule.geometric(2, 0.0, 1).keeps(4, 4)


def test_half_of_a_search_is_dropped_at_evaluations_before_the_last():
    assert rungs(80, 10) == (10, 20, 40)
    assert rungs(100, 30) == (30, 60)
    assert rungs(8, 8) == ()


def test_a_rewind_to_a_step_of_a_round_without_any_says_where_it_ended():
    learned = RoundResult(values(1), 0.5, None, {})
    with pytest.raises(ConfigError, match=r"rewind = 5: .*it ended at step 0"):
        Rewinding(5).start(dense(), Mask.full(4, 2), 1, learned, learned)
