"""What the algorithm hands on from round to round: nothing of it is edited in place, and nobody is lost on the way."""

from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from test_lottery import KEEPS, FakeLearn, dense, values

from prunekit.prompts.mask import Mask
from prunekit.pruning.lottery import Rewinding, Round, RoundResult, find_tickets
from prunekit.pruning.schedule import Keep, Schedule
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


def test_a_rewind_to_a_step_of_a_round_without_any_says_where_it_ended():
    learned = RoundResult(values(1), 0.5, None, {})
    with pytest.raises(ConfigError, match=r"rewind = 5: .*it ended at step 0"):
        Rewinding(5).start(dense(), Mask.full(4, 2), 1, learned, learned)
