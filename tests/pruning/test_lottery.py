"""The algorithm with a fake `learn`: no model, every mask worked out by hand."""

from dataclasses import replace
from itertools import pairwise

import pytest
import tiny
import torch

from prunekit.engine.cohort import Values
from prunekit.prompts.mask import Mask
from prunekit.pruning.lottery import Rewinding, Round, RoundResult, find_tickets, next_tickets
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket
from prunekit.runs.ticket_file import ticket_bytes

P, K, H = 4, 2, 4
KEEPS = (Keep(3, 2), Keep(2, 1), Keep(1, 1))


def values(number: float) -> Values:
    return Values({"values": torch.full((P, H), float(number))}, {"weight": torch.full((2, H), number + 0.5)})


def dense(seed=0) -> Ticket:
    start = values(0)
    return Ticket(Mask.full(P, K), start.state, start.head, seed=seed)


class FakeLearn:
    """Trains by writing numbers: member m of round r keeps 100 + 10 r + m; snapshots hold 1000 + step + m."""

    def __init__(self):
        self.seen = []

    def __call__(self, tickets):
        self.seen.append(tuple(tickets))
        return [self.learned(ticket, member) for member, ticket in enumerate(tickets)]

    def learned(self, ticket, member):
        # member 0 values its last tokens most, member 1 its first; second pieces are best on even tokens
        token = torch.arange(float(P)) if member == 0 else -torch.arange(float(P))
        piece = torch.tensor([[0.0, 1.0], [1.0, 0.0]] * (P // 2))
        snapshots = {step: values(1000 + step + member) for step in (0, 5)} if ticket.round == 0 else {}
        return RoundResult(values(100 + 10 * ticket.round + member), 0.5, Scores(token, piece, 7), snapshots)


def run(rewind="trained", learn=None, **more):
    return list(find_tickets([dense(0), dense(1)], KEEPS, learn or FakeLearn(), Rewinding(rewind, **more)))


def start_of(ticket):
    return float(ticket.state["values"].unique()), float(ticket.head["weight"].unique())


def test_train_score_prune_rewind_by_hand():
    rounds = run()
    assert [made.number for made in rounds] == [0, 1, 2, 3]
    first = [tiny.rows_of(made.tickets[0].mask) for made in rounds]
    assert first == [["11"] * 4, ["00", "11", "11", "11"], ["00", "00", "01", "10"], ["00", "00", "00", "10"]]
    second = [tiny.rows_of(made.tickets[1].mask) for made in rounds]
    assert second == [["11"] * 4, ["11", "11", "11", "00"], ["01", "10", "00", "00"], ["01", "00", "00", "00"]]
    for before, after in pairwise(rounds):
        assert all(new.mask <= old.mask for new, old in zip(after.tickets, before.tickets, strict=True))


def test_round_zero_is_the_dense_tickets_themselves():
    cohort = [dense(0), dense(1)]
    first = next(find_tickets(cohort, KEEPS, FakeLearn(), Rewinding("trained")))
    assert all(one is other for one, other in zip(first.tickets, cohort, strict=True))


def test_trained_restarts_from_what_the_previous_round_kept():
    assert [[start_of(t) for t in made.tickets] for made in run("trained")[1:]] == [
        [(100, 100.5), (101, 101.5)], [(110, 110.5), (111, 111.5)], [(120, 120.5), (121, 121.5)],
    ]  # fmt: skip


@pytest.mark.parametrize(("rewind", "value"), [("init", 1000), (0, 1000), (5, 1005)])
def test_init_and_a_step_restart_from_the_same_snapshot_every_time(rewind, value):
    for made in run(rewind)[1:]:  # all of them: the mask edits no value
        assert [start_of(t) for t in made.tickets] == [(value, value + 0.5), (value + 1, value + 1.5)]


def test_reinit_draws_new_values_for_each_ticket_and_round():
    def draw(ticket):
        return values(10_000 + 10 * ticket.round + ticket.seed)

    assert [[start_of(t)[0] for t in made.tickets] for made in run("reinit", draw=draw)[1:]] == [
        [10_010, 10_011], [10_020, 10_021], [10_030, 10_031],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="reinit"):
        run("reinit")


def test_each_ticket_records_its_round_and_rewind_and_keeps_the_rest():
    for made in run(5):
        for seed, ticket in enumerate(made.tickets):
            assert (ticket.round, ticket.seed) == (made.number, seed)
            assert ticket.rewind == ("start" if made.number == 0 else 5)


def test_learn_gets_the_whole_cohort_once_a_round():
    learn = FakeLearn()
    rounds = run(learn=learn)
    assert learn.seen == [made.tickets for made in rounds]
    assert [len(seen) for seen in learn.seen] == [2] * 4


def test_the_search_can_be_stopped_early_and_does_nothing_ahead():
    learn = FakeLearn()
    search = find_tickets([dense()], KEEPS, learn, Rewinding("trained"))
    assert learn.seen == []
    assert next(search).number == 0
    assert len(learn.seen) == 1
    assert next(search).number == 1
    search.close()
    assert len(learn.seen) == 2


def test_no_keeps_train_the_dense_round_alone():
    assert [made.number for made in find_tickets([dense()], [], FakeLearn(), Rewinding("trained"))] == [0]


def test_members_do_not_touch_each_other():
    alone = list(find_tickets([dense(0)], KEEPS, FakeLearn(), Rewinding("trained")))
    for made, both in zip(alone, run(), strict=True):
        assert ticket_bytes(made.tickets[0]) == ticket_bytes(both.tickets[0])


def test_the_next_tickets_without_a_head():
    learn = FakeLearn()
    ticket = replace(dense(), head=None)
    learned = replace(learn.learned(ticket, 0), kept=Values({"values": torch.ones(P, H)}, None))
    done = Round(0, (ticket,), (learned,))
    (child,) = next_tickets(done, done, Keep(2, 1), Rewinding("trained"))
    assert child.head is None
    assert tiny.rows_of(child.mask) == ["00", "00", "01", "10"]


@pytest.mark.parametrize("asked", [{}, {"dropped_as": "remove"}, {"dropped_as": "hide"}, {"dropped_as": "zero"}])
def test_absent_is_recorded_on_every_pruned_ticket_and_leaves_the_sequence_unless_asked_otherwise(asked):
    for made in run(**asked)[1:]:
        assert [t.dropped_as for t in made.tickets] == [asked.get("dropped_as", "remove")] * 2


class DivergingLearn(FakeLearn):
    """Member of seed 0 diverges in round `when`; tickets are told apart by their seed, not their place."""

    def __init__(self, when):
        super().__init__()
        self.when = when

    def learned(self, ticket, member):
        made = super().learned(ticket, ticket.seed)
        return replace(made, scores=None) if (ticket.seed, ticket.round) == (0, self.when) else made


@pytest.mark.parametrize("rewind", ["trained", "init", 5])
def test_a_seed_that_diverged_ends_and_the_other_goes_on_unchanged(rewind):
    whole, cut = run(rewind), run(rewind, DivergingLearn(1))
    assert [[t.seed for t in made.tickets] for made in cut] == [[0, 1], [0, 1], [1], [1]]
    for made, wanted in zip(cut, whole, strict=True):
        assert ticket_bytes(made.tickets[-1]) == ticket_bytes(wanted.tickets[-1])


def test_when_every_seed_has_diverged_the_search_ends():
    rounds = list(find_tickets([dense(0)], KEEPS, DivergingLearn(1), Rewinding("trained")))
    assert [made.number for made in rounds] == [0, 1]
