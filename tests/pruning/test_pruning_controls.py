"""The controls with a fake `learn`: no model, every mask and every start worked out by hand."""

from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.engine.cohort import Values
from prunekit.prompts.mask import Mask
from prunekit.pruning.controls import Target, controls_for, train_controls
from prunekit.pruning.lottery import Rewinding, Round, RoundResult
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Random
from prunekit.pruning.scores.random import uniform
from prunekit.pruning.ticket import Ticket
from prunekit.runs.ticket_file import ticket_bytes
from prunekit.support.errors import ConfigError

P, K, H = 4, 2, 4
KEEPS = (Keep(3, 2), Keep(2, 1))
FINAL = ["10", "00", "01", "00"]  # the ticket after two rounds
NAMES = tuple(control.name for control in controls_for("cells"))
NEW = {"reinit", "short-prompt"}  # controls of new values


def values(number):
    return Values({"values": torch.full((P, H), float(number))}, {"weight": torch.full((2, H), number + 0.5)})


def mask_of(rows):
    piece = torch.tensor([[flag == "1" for flag in row] for row in rows])
    return Mask(piece.any(dim=1), piece)


def start_of(ticket):
    number = float(ticket.state["values"].unique())
    assert float(ticket.head["weight"].unique()) == number + 0.5
    return number


def dense(seeds=(0,)):
    """Seed s started from 1000 + s, was at 1005 + s after 5 updates and kept 100 + s."""
    tickets, learned = [], []
    for seed in seeds:
        start = values(1000 + seed)
        tickets.append(Ticket(Mask.full(P, K), start.state, start.head, seed=seed, origin={"run": "x"}))
        snapshots = {0: start, 5: values(1005 + seed)}
        learned.append(RoundResult(values(100 + seed), 0.5, None, snapshots))
    return Round(0, tuple(tickets), tuple(learned))


def target(first, seed=0, rows=FINAL, keeps=KEEPS, number=None):
    ticket, _ = first.of(seed)
    return Target(replace(ticket, mask=mask_of(rows), round=len(keeps) if number is None else number), keeps)


def new_values(ticket):
    """New values, named by seed and round."""
    return values(7000 + 10 * ticket.round + ticket.seed)


class FakeLearn:
    """Control number a of seed s keeps 10000 (a + 1) + 100 round + s; `stops`: the (name, seed, round) that diverge."""

    def __init__(self, stops=()):
        self.stops, self.turns = stops, []

    def __call__(self, turn):
        self.turns.append(dict(turn))
        return {key: self.learned(*key, ticket.round) for key, ticket in turn.items()}

    def learned(self, name, seed, number):
        kept = values(10_000 * (NAMES.index(name) + 1) + 100 * number + seed)
        return RoundResult(kept, None if (name, seed, number) in self.stops else 0.5, None, {})

    def of(self, name, seed=0):
        """The tickets of a control, turn by turn."""
        return [turn[name, seed] for turn in self.turns if (name, seed) in turn]


def run(rewind="trained", dropped_as="remove", learn=None, first=None, targets=None, **more):
    learn, first = learn or FakeLearn(), first or dense()
    targets = [target(first)] if targets is None else targets
    return train_controls(first, targets, learn, Rewinding(rewind, dropped_as, new_values), **more), learn


REWINDS = ("trained", "init", 5, "reinit")


# ---- how often

TURNS = {
    "trained": {name: [0, 1, 2] if name in NEW else [1, 2] for name in NAMES},
    "init": {name: [2] for name in NAMES},
    5: {name: [2] for name in NAMES},
    "reinit": {name: [] if name == "reinit" else [2] for name in NAMES},  # the ticket itself has fresh values
}


@pytest.mark.parametrize("rewind", REWINDS)
def test_every_control_is_trained_as_often_as_the_ticket_and_in_the_data_order_of_its_rounds(rewind):
    """A ticket of two rounds that hands its values on was trained three times, the dense prompt's included."""
    last, learn = run(rewind)
    assert {name: [ticket.round for ticket in learn.of(name)] for name in NAMES} == TURNS[rewind]
    assert all(len({ticket.round for ticket in turn.values()}) == 1 for turn in learn.turns)
    for (name, seed), (ticket, learned) in last.items():
        assert ticket is learn.of(name, seed)[-1]
        assert ticket.round == 2
        assert torch.equal(learned.kept.state["values"], learn.learned(name, seed, 2).kept.state["values"])
    assert set(last) == {(name, 0) for name in NAMES if TURNS[rewind][name]}


def test_what_the_caller_has_is_not_trained_again():
    last, learn = run(without=("dense-continued", "short-prompt"))
    assert {name for name, _ in last} == {"random", "complement", "reinit"}
    assert not learn.of("dense-continued")
    assert not learn.of("short-prompt")


@pytest.mark.parametrize("rewind", REWINDS)
def test_a_search_has_one_round(rewind):
    first = dense()
    _, learn = run(rewind, first=first, targets=[target(first, keeps=(Keep(2, 1),))])
    one = {name: [0, 1] if rewind == "trained" and name in NEW else [1] for name in NAMES}
    wanted = one | ({"reinit": []} if rewind == "reinit" else {})
    assert {name: [ticket.round for ticket in learn.of(name)] for name in NAMES} == wanted


def test_no_target_no_control():
    last, learn = run(targets=[])
    assert (last, learn.turns) == ({}, [])


@pytest.mark.parametrize("rewind", REWINDS)
def test_the_dense_prompt_itself_has_no_controls(rewind):
    first = dense()
    last, learn = run(rewind, first=first, targets=[target(first, rows=["11"] * P, keeps=())])
    assert (last, learn.turns) == ({}, [])


# ---- masks


@pytest.mark.parametrize("rewind", ["trained", "init"])
def test_masks_by_hand(rewind):
    _, learn = run(rewind)
    wanted = {
        "dense-continued": ["11", "11", "11", "11"],
        "complement": ["01", "11", "10", "11"],
        "reinit": FINAL,
        "short-prompt": ["11", "00", "11", "00"],
    }
    for name, rows in wanted.items():
        assert [tiny.rows_of(ticket.mask) for ticket in learn.of(name)] == [rows] * len(TURNS[rewind][name]), name


def best(scores, allowed, count):
    """The `count` places of the largest scores, by hand."""
    return set(sorted(allowed, key=lambda place: -float(scores[place]))[:count])


def test_a_random_mask_has_the_counts_of_every_round_and_is_nested():
    first = dense()
    _, learn = run(first=first)
    one, two = learn.of("random")
    drawn = uniform(first.tickets[0], "scores")  # named by seed and round of the ticket that is pruned
    kept = best(drawn.token, range(P), 3)
    assert tiny.rows_of(one.mask) == ["11" if row in kept else "00" for row in range(P)]
    drawn = uniform(one, "scores")
    kept = best(drawn.token, kept, 2)
    single = {row: best(drawn.piece[row], range(K), 1) for row in kept}
    assert tiny.rows_of(two.mask) == [
        "".join("1" if row in kept and column in single[row] else "0" for column in range(K)) for row in range(P)
    ]
    assert (one.mask.tokens, one.mask.cells, two.mask.tokens, two.mask.cells) == (3, 6, 2, 2)


@pytest.mark.parametrize("rewind", ["init", 5, "reinit"])
def test_a_random_mask_that_restarts_is_drawn_at_once_with_the_last_counts(rewind):
    _, learn = run(rewind)
    (one,) = learn.of("random")
    assert (one.mask.tokens, one.mask.cells) == (2, 2)


def test_random_masks_differ_between_seeds_and_are_the_same_again():
    first = dense(range(8))
    targets = [target(first, seed) for seed in range(8)]
    masks = [
        [tiny.rows_of(run(first=first, targets=targets)[1].of("random", seed)[-1].mask) for seed in range(8)]
        for _ in (1, 2)
    ]
    assert masks[0] == masks[1]
    assert len({str(rows) for rows in masks[0]}) > 3


def test_where_nothing_was_dropped_there_is_no_complement():
    first = dense((0, 1))
    whole = target(first, 0, ["11"] * P, keeps=(Keep(P, K),))
    pruned = target(first, 1, ["11", "11", "11", "10"], keeps=(Keep(P, K),))
    last, learn = run(first=first, targets=[whole, pruned])
    assert {seed for name, seed in last if name == "complement"} == {1}
    assert tiny.rows_of(learn.of("complement", 1)[0].mask) == ["00", "00", "00", "01"]
    assert all(("complement", 0) not in turn for turn in learn.turns)
    assert {name for name, seed in last if seed == 0} == set(NAMES) - {"complement"}


# ---- where they start


def test_controls_hand_their_own_values_on():
    _, learn = run("trained")
    for name in ("dense-continued", "random", "complement"):
        first, second = learn.of(name)
        assert start_of(first) == 100  # what the dense round kept
        assert start_of(second) == 10_000 * (NAMES.index(name) + 1) + 100  # what this name kept of round 1
        assert [first.rewind, second.rewind] == ["trained", "trained"]
    for name in NEW:
        zero, first, second = learn.of(name)
        own = 10_000 * (NAMES.index(name) + 1)
        assert [start_of(zero), start_of(first), start_of(second)] == [7000, own, own + 100]
        assert [zero.rewind, first.rewind, second.rewind] == ["reinit", "trained", "trained"]


@pytest.mark.parametrize(("rewind", "start"), [("init", 1000), (5, 1005)])
def test_controls_that_restart_do_so_from_the_dense_round_and_new_ones_from_new_values(rewind, start):
    _, learn = run(rewind)
    for name in NAMES:
        (ticket,) = learn.of(name)
        assert start_of(ticket) == (7020 if name in NEW else start)
        assert ticket.rewind == ("reinit" if name in NEW else rewind)


def test_controls_of_a_reinitialised_ticket_start_from_new_values_too():
    _, learn = run("reinit")
    for name in set(NAMES) - {"reinit"}:
        (ticket,) = learn.of(name)
        assert (start_of(ticket), ticket.rewind) == (7020, "reinit")


def test_a_step_that_the_dense_round_did_not_keep_is_refused():
    with pytest.raises(ConfigError, match="rewind = 4"):
        run(4)


def test_every_seed_has_its_own_values_and_origin():
    first = dense((3, 8))
    _, learn = run(first=first, targets=[target(first, 3), target(first, 8)])
    for seed in (3, 8):
        assert start_of(learn.of("complement", seed)[0]) == 100 + seed
        assert start_of(learn.of("reinit", seed)[0]) == 7000 + seed
        assert {ticket.seed for name in NAMES for ticket in learn.of(name, seed)} == {seed}
        assert all(ticket.origin == {"run": "x"} for name in NAMES for ticket in learn.of(name, seed))


def test_values_are_not_edited_by_the_mask():
    for rewind in REWINDS:
        _, learn = run(rewind)
        assert all((ticket.state["values"] != 0).all() for turn in learn.turns for ticket in turn.values())


@pytest.mark.parametrize("rewind", REWINDS)
@pytest.mark.parametrize("dropped_as", ["remove", "hide", "zero"])
def test_dropped_as_is_recorded_and_a_shorter_prompt_has_no_slots_for_what_it_lacks(dropped_as, rewind):
    _, learn = run(rewind, dropped_as)
    for turn in learn.turns:
        for (name, _), ticket in turn.items():
            assert ticket.dropped_as == ("remove" if name == "short-prompt" else dropped_as), name


# ---- ends


def test_a_control_that_diverges_stops_and_the_others_go_on_unchanged():
    whole, _ = run()
    last, learn = run(learn=FakeLearn(stops={("random", 0, 1), ("reinit", 0, 0)}))
    assert [ticket.round for ticket in learn.of("random")] == [1]
    assert [ticket.round for ticket in learn.of("reinit")] == [0]
    assert (last["random", 0][0].round, last["random", 0][1].validation) == (1, None)
    assert (last["reinit", 0][0].round, last["reinit", 0][1].validation) == (0, None)
    for name in ("dense-continued", "complement", "short-prompt"):
        assert ticket_bytes(last[name, 0][0]) == ticket_bytes(whole[name, 0][0])


def test_a_control_that_diverges_under_one_seed_goes_on_under_another():
    first = dense((0, 1))
    targets = [target(first, 0), target(first, 1)]
    last, learn = run(first=first, targets=targets, learn=FakeLearn(stops={("dense-continued", 1, 1)}))
    assert [ticket.round for ticket in learn.of("dense-continued", 0)] == [1, 2]
    assert [ticket.round for ticket in learn.of("dense-continued", 1)] == [1]
    assert last["dense-continued", 0][1].validation == 0.5


def test_learn_gets_all_controls_of_a_round_at_once():
    first = dense((0, 1))
    _, learn = run(first=first, targets=[target(first, 0), target(first, 1)])
    assert [len(turn) for turn in learn.turns] == [4, 10, 10]  # two controls of new values, then five, of two seeds


def test_the_random_mask_is_no_copy_of_what_the_random_score_keeps():
    tickets = dense().tickets
    for ticket in tickets:
        assert not torch.equal(uniform(ticket, "scores").token, Random().of(ticket).token)
