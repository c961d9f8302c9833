"""The ratio search with a fake `learn`: no model, every count and mask worked out by hand."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch

from prunekit.engine.cohort import Values
from prunekit.prompts.mask import Mask
from prunekit.pruning.lottery import Rewinding, Round, RoundResult
from prunekit.pruning.ratio_search import best, best_of, search_ratios, worse_half
from prunekit.pruning.schedule import Keep, grid, line, rank_line, rungs
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator

TWENTY = (20, 18, 16, 14, 12, 10, 8, 6, 4, 2)
SIXTEEN = (16, 15, 13, 12, 10, 8, 7, 5, 4, 2)  # 16 - floor(16 x 10 %) = 15, 16 - floor(3.2) = 13, ...


def values(number):
    return Values({"values": torch.full((2, 4), float(number))}, {"weight": torch.full((2, 4), number + 0.5)})


def scores(tokens, pieces, seed=0):
    draw = generator("test-search", seed)
    return Scores(torch.rand(tokens, generator=draw), torch.rand(tokens, pieces, generator=draw), 3)


def dense(tokens=4, pieces=4, seeds=(0,), found=scores):
    """A finished round 0: seed s kept values 100 + s, started from 1000 + s and was at 1005 + s after 5 updates."""
    tickets, learned = [], []
    for seed in seeds:
        start = values(1000 + seed)
        tickets.append(Ticket(Mask.full(tokens, pieces), start.state, start.head, seed=seed))
        snapshots = {step: values(1000 + step + seed) for step in (0, 5)}
        learned.append(RoundResult(values(100 + seed), 0.5, found(tokens, pieces, seed), snapshots))
    return Round(0, tuple(tickets), tuple(learned))


class FakeLearn:
    """Cells reach what `reached` says of their seed and counts; None is a cell that did not come to its end."""

    def __init__(self, reached=lambda seed, tokens, pieces: 0.5):
        self.reached, self.turns = reached, []

    def __call__(self, cells):
        self.turns.append(list(cells))
        return {
            (seed, keep): RoundResult(values(0), self.reached(seed, keep.tokens, keep.pieces), None, {})
            for seed, keep in cells
        }

    @property
    def counts(self):
        """By turn, the (tokens, pieces) that were asked for."""
        return [[(keep.tokens, keep.pieces) for _, keep in turn] for turn in self.turns]


def choices(found):
    """What is chosen of the whole grid, of the line of tokens and of that of pieces."""
    return found.chosen, found.best_of_line["token-only"], found.best_of_line["piece-only"]


def table(reached, otherwise=0.1):
    return FakeLearn(lambda seed, tokens, pieces: reached.get((tokens, pieces), otherwise))


def search(asked="full", learn=None, first=None, rewinding=None, **more):
    learn = learn or FakeLearn()
    return search_ratios(first or dense(), asked, learn, rewinding or Rewinding("trained"), **more), learn


# ---- counts


def test_the_lines_of_the_paper_by_hand():
    assert line(20) == TWENTY
    assert line(16) == SIXTEEN
    # what is dropped is rounded down, and no count comes twice
    assert line(10) == (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)
    assert line(4) == (4, 3, 2, 1)
    assert line(3) == (3, 2, 1)
    assert line(2) == (2, 1)
    assert line(1) == (1,)


@pytest.mark.parametrize("whole", range(1, 65))
def test_a_line_falls_from_all_to_at_least_one_and_drops_at_most_nine_tenths(whole):
    counts = line(whole)
    assert counts[0] == whole
    assert all(after < before for before, after in pairwise(counts))
    assert counts[-1] == whole - 9 * whole // 10 >= 1


@pytest.mark.parametrize("whole", range(1, 65))
def test_ratios_of_ones_own_drop_as_many_as_exact_fractions_say(whole):
    named = ("0.05", "0.25", "0.3", "0.5", "0.7", "0.99")
    naive = [whole - (whole * Fraction(ratio)).__floor__() for ratio in ("0", *named)]
    assert line(whole, tuple(map(float, named))) == tuple(dict.fromkeys(max(1, kept) for kept in naive))


def test_a_grid_is_every_pair_once():
    assert grid(3, 2) == tuple(Keep(*pair) for pair in [(3, 2), (3, 1), (2, 2), (2, 1), (1, 2), (1, 1)])
    assert len(set(grid(20, 16))) == 100


def test_rungs_are_the_evaluations_at_or_after_an_eighth_a_quarter_and_a_half():
    assert rungs(800, 100) == (100, 200, 400)
    assert rungs(600, 60) == (120, 180, 300)  # 75, 150 and 300 updates
    assert rungs(100, 10) == (20, 30, 50)  # 12.5, 25 and 50
    assert rungs(6, 2) == (2, 4)  # 0.75, 1.5 and 3: the first two are one evaluation
    assert rungs(10, 5) == (5,)
    assert rungs(10, 10) == rungs(8, 8) == rungs(1, 1) == ()  # an evaluation at the end has nothing left to save
    assert rungs(80, 10) == (10, 20, 40)
    assert rungs(100, 30) == (30, 60)


ALL = [(kept, left) for kept in TWENTY for left in SIXTEEN]


@pytest.mark.parametrize(
    ("asked", "turns"),
    [
        ("full", [ALL]),
        ("token", [[(kept, 16) for kept in TWENTY]]),
        ("piece", [[(20, kept) for kept in SIXTEEN]]),
        ("paper", [[(kept, 16) for kept in TWENTY], [(6, kept) for kept in SIXTEEN[1:]]]),
    ],
)
def test_the_counts_that_each_grid_asks_for(asked, turns):
    found, learn = search(asked, table({(6, 16): 0.9}), dense(20, 16))
    assert learn.counts == turns
    assert set(found.tickets) == set(found.results) == {(0, Keep(*pair)) for turn in turns for pair in turn}
    for (_, keep), ticket in found.tickets.items():
        assert ticket.mask.tokens == keep.tokens
        assert ticket.mask.piece.sum(dim=1)[ticket.mask.token].tolist() == [keep.pieces] * keep.tokens


@pytest.mark.parametrize(
    ("asked", "turns"),
    [
        ("paper", [[(20, 16), (15, 16), (10, 16)], [(15, 12), (15, 8)]]),
        ("token", [[(20, 16), (15, 16), (10, 16)]]),
        ("piece", [[(20, 16), (20, 12), (20, 8)]]),
        ("full", [[(kept, left) for kept in (20, 15, 10) for left in (16, 12, 8)]]),
    ],
)
def test_a_search_over_few_ratios_tries_those_and_nothing_dropped(asked, turns):
    found, learn = search(asked, table({(15, 16): 0.8, (15, 8): 0.9}), dense(20, 16), ratios=(0.25, 0.5))
    assert learn.counts == turns
    assert found.whole == Keep(20, 16)


def test_seeds_are_tried_side_by_side_and_the_paper_grid_follows_each_of_them():
    def reached(seed, tokens, pieces):
        return 0.9 if tokens == (3, 2)[seed - 4] else 0.1

    _, learn = search("paper", FakeLearn(reached), dense(4, 3, seeds=(4, 5)))
    assert learn.turns == [
        [(seed, Keep(kept, 3)) for seed in (4, 5) for kept in (4, 3, 2, 1)],
        [(seed, Keep(kept, left)) for seed, kept in ((4, 3), (5, 2)) for left in (2, 1)],
    ]


@pytest.mark.parametrize("tokens", [1, 2, 3])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("asked", ["paper", "full", "token", "piece"])
def test_short_prompts_keep_a_token_and_a_piece(asked, tokens, pieces):
    found, learn = search(asked, first=dense(tokens, pieces), piece_line=True)
    assert all(turn for turn in learn.turns)
    assert all(ticket.mask.tokens >= 1 and ticket.mask.cells >= 1 for ticket in found.tickets.values())
    fewest = {"paper": (1, 1), "full": (1, 1), "token": (1, pieces), "piece": (tokens, 1)}[asked]
    assert found.chosen == {0: Keep(*fewest)}  # all are equal here


@pytest.mark.parametrize("piece_line", [False, True])
@pytest.mark.parametrize("best_tokens", [1, 2, 3, 4])
@pytest.mark.parametrize("asked", ["paper", "full", "token", "piece"])
def test_no_cell_is_trained_twice(asked, best_tokens, piece_line):
    _, learn = search(asked, FakeLearn(lambda seed, tokens, pieces: tokens == best_tokens), piece_line=piece_line)
    tried = [key for turn in learn.turns for key in turn]
    assert len(tried) == len(set(tried))


# ---- ranks

P, K, H = 4, 2, 6


def drawn(*names):
    return torch.randn(P, H, generator=generator("rank search", *names))


def of_directions(seeds=(0,)):
    """A finished round 0 of P tokens of H coordinates, whose scores are of its P directions."""
    tickets, results = [], []
    for seed in seeds:
        tickets.append(Ticket(Mask.full(P, K), {"values": drawn("start", seed)}, None, seed=seed))
        kept = Values({"values": drawn("kept", seed)}, None)
        snapshots = {step: Values({"values": drawn(step, seed)}, None) for step in (0, 5)}
        results.append(RoundResult(kept, 0.5, scores(P, 1, seed), snapshots))
    return Round(0, tuple(tickets), tuple(results))


class ByRank(FakeLearn):
    """Trials reach what `reached` says of their seed and counts."""

    def __call__(self, trials):
        self.turns.append(list(trials))
        return {trial: RoundResult(values(0), self.reached(*trial), None, {}) for trial in trials}


def prompt(ticket):
    return ticket.prompt().prompt().detach().double().numpy()


def best_directions(seed, rank):
    """By numpy: the rows of V of the dense prompt with the highest scores."""
    right = np.linalg.svd(drawn("kept", seed).double().numpy(), full_matrices=False)[2]
    order = sorted(range(P), key=lambda index: -float(scores(P, 1, seed).token[index]))
    return right[order[:rank]]


@pytest.mark.parametrize("tokens", range(1, 65))
def test_ranks_fall_from_full_by_tenths_none_twice_and_keep_every_cell(tokens):
    naive = []
    for percent in range(0, 100, 10):
        rank = max(1, tokens - (tokens * percent) // 100)
        if rank not in naive:
            naive.append(rank)
    assert [keep.rank for keep in rank_line(tokens, 16)] == naive
    assert {(keep.tokens, keep.pieces) for keep in rank_line(tokens, 16)} == {(tokens, 16)}
    assert {keep.rank for keep in rank_line(tokens, 16, (0.5,))} == {tokens, max(1, tokens - tokens // 2)}


@pytest.mark.parametrize("seeds", [(0,), (3, 1)])
def test_each_rank_starts_with_the_directions_that_score_highest(seeds):
    found, learn = search("rank", ByRank(lambda seed, keep: 0.5), of_directions(seeds))
    assert learn.turns == [[(seed, keep) for seed in seeds for keep in rank_line(P, K)]]
    for (seed, keep), ticket in found.tickets.items():
        onto = best_directions(seed, keep.rank)
        wanted = drawn("kept", seed).double().numpy() @ onto.T @ onto
        assert np.abs(prompt(ticket) - wanted).max() < 1e-6
        assert (ticket.seed, ticket.round, ticket.rewind) == (seed, 1, "trained")
        assert ticket.mask == Mask.full(P, K)
        smaller = found.tickets[seed, Keep(P, K, max(1, keep.rank - 1))]
        within = np.linalg.matrix_rank(np.vstack([prompt(ticket), prompt(smaller)]), tol=1e-5)
        assert within == keep.rank  # what fewer directions span lies in what more of them span


@pytest.mark.parametrize(("rewind", "name"), [("trained", "kept"), ("init", 0), (5, 5)])
def test_full_rank_is_the_very_prompt_and_fewer_lie_within_the_trained_directions(rewind, name):
    found, _ = search("rank", ByRank(lambda seed, keep: 0.5), of_directions(), Rewinding(rewind))
    whole = found.tickets[0, Keep(P, K, P)]
    assert found.whole == Keep(P, K, P)
    assert (whole.method, whole.rank, whole.density) == ("direct", None, 1.0)
    assert torch.equal(whole.state["values"], drawn(name, 0))
    assert tiny.rows_of(whole.mask) == ["1" * K] * P
    onto = best_directions(0, 2)
    within = drawn(name, 0).double().numpy() @ onto.T @ onto
    assert np.abs(prompt(found.tickets[0, Keep(P, K, 2)]) - within).max() < 1e-6


@pytest.mark.parametrize("draw", range(20))
def test_the_best_rank_is_chosen_and_of_equals_the_one_of_fewest_free_numbers(draw):
    coarse = np.random.default_rng(draw).integers(0, 3, size=(2, P + 1)) / 2
    stopped = int(np.random.default_rng(draw + 100).integers(1, P + 1))
    learn = ByRank(lambda seed, keep: None if keep.rank == stopped else float(coarse[seed, keep.rank]))
    found, _ = search("rank", learn, of_directions((0, 1)))
    for seed in (0, 1):
        naive, most = None, -1.0
        for rank in sorted((rank for rank in range(1, P + 1) if rank != stopped), key=lambda k: k * (P + H - k)):
            if coarse[seed, rank] > most:
                naive, most = rank, coarse[seed, rank]
        assert found.chosen[seed] == Keep(P, K, naive)
    assert found.best_of_line == {"token-only": {}, "piece-only": {}}


def test_halving_ranks_drops_the_larger_of_equals():
    standings = {(0, Keep(P, K, rank)): value for rank, value in ((4, 0.5), (3, 0.5), (2, 0.5), (1, 0.4))}
    assert worse_half(standings) == {(0, Keep(P, K, 4)), (0, Keep(P, K, 1))}


# ---- masks


def test_tokens_go_first_and_pieces_of_the_survivors_second_by_hand():
    def by_hand(tokens, pieces, seed):
        # the last token is worth least, though its pieces are the best of all
        piece = [[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [9.0, 9.0, 8.0]]
        return Scores(torch.tensor([2.0, 3.0, 1.5, 0.5]), torch.tensor(piece), 1)

    found, _ = search("full", first=dense(4, 3, found=by_hand))
    masks = {(keep.tokens, keep.pieces): tiny.rows_of(ticket.mask) for (_, keep), ticket in found.tickets.items()}
    assert masks == {
        (4, 3): ["111", "111", "111", "111"],
        (4, 2): ["110", "011", "110", "110"],  # ties: the lower piece
        (4, 1): ["100", "001", "100", "100"],
        (3, 3): ["111", "111", "111", "000"],
        (3, 2): ["110", "011", "110", "000"],
        (3, 1): ["100", "001", "100", "000"],
        (2, 3): ["111", "111", "000", "000"],
        (2, 2): ["110", "011", "000", "000"],
        (2, 1): ["100", "001", "000", "000"],
        (1, 3): ["000", "111", "000", "000"],
        (1, 2): ["000", "011", "000", "000"],
        (1, 1): ["000", "001", "000", "000"],
    }


@pytest.mark.parametrize("seed", range(3))
def test_masks_are_nested_along_each_ratio(seed):
    found, _ = search("full", first=dense(20, 16, seeds=(seed,)))
    masks = {(keep.tokens, keep.pieces): ticket.mask for (_, keep), ticket in found.tickets.items()}
    for larger, smaller in pairwise(TWENTY):
        assert all(masks[smaller, left] <= masks[larger, left] for left in SIXTEEN)
    for larger, smaller in pairwise(SIXTEEN):
        assert all(masks[kept, smaller] <= masks[kept, larger] for kept in TWENTY)


def test_the_second_turn_of_the_paper_prunes_the_chosen_tokens():
    whole, _ = search("full", first=dense(4, 4))
    found, _ = search("paper", table({(2, 4): 0.9}), dense(4, 4))
    for left in (3, 2, 1):
        assert found.tickets[0, Keep(2, left)].mask == whole.tickets[0, Keep(2, left)].mask


@pytest.mark.parametrize(("rewind", "start"), [("trained", 100), ("init", 1000), (0, 1000), (5, 1005)])
def test_every_cell_of_a_seed_starts_from_the_same_rewound_values(rewind, start):
    found, _ = search("paper", table({(2, 4): 0.9}), dense(seeds=(0, 1)), Rewinding(rewind, "hide"), piece_line=True)
    for (seed, _), ticket in found.tickets.items():
        assert (ticket.seed, ticket.round, ticket.rewind, ticket.dropped_as) == (seed, 1, rewind, "hide")
        assert float(ticket.state["values"].unique()) == start + seed
        assert float(ticket.head["weight"].unique()) == start + seed + 0.5


def test_a_step_that_the_dense_round_did_not_keep_is_refused():
    with pytest.raises(ConfigError, match="rewind = 4: the dense round of seed 0 has no values of that step"):
        search("token", rewinding=Rewinding(4))


# ---- what is chosen


@pytest.mark.parametrize(("asked", "reached", "chosen", "of_tokens", "of_pieces"), [
    ("full", {(2, 3): 0.9, (3, 4): 0.8, (4, 2): 0.7}, (2, 3), (3, 4), (4, 2)),
    ("token", {(3, 4): 0.8, (2, 4): 0.9}, (2, 4), (2, 4), None),  # a line chooses on itself alone
    ("piece", {(4, 3): 0.8, (4, 2): 0.9}, (4, 2), None, (4, 2)),
    ("paper", {(2, 4): 0.9, (2, 3): 0.8}, (2, 4), (2, 4), None),  # all pieces, where no fewer do better
    ("paper", {(2, 4): 0.6, (3, 1): 0.95, (2, 2): 0.7}, (2, 2), (2, 4), None),  # tokens come first: (3, 1) is not tried
])  # fmt: skip
def test_the_best_of_the_grid_is_chosen_and_the_best_of_each_line_is_named(
    asked, reached, chosen, of_tokens, of_pieces
):
    found, learn = search(asked, table(reached))
    assert choices(found) == tuple({} if pair is None else {0: Keep(*pair)} for pair in (chosen, of_tokens, of_pieces))
    if asked == "paper":
        assert learn.counts == [[(4, 4), (3, 4), (2, 4), (1, 4)], [(2, 3), (2, 2), (2, 1)]]


def test_the_piece_line_is_for_the_table_and_changes_nothing_else():
    learn = table({(2, 4): 0.6, (2, 2): 0.7, (4, 1): 0.9})
    found, _ = search("paper", learn, piece_line=True)
    assert choices(found) == ({0: Keep(2, 2)}, {0: Keep(2, 4)}, {0: Keep(4, 1)})
    without, alone = search("paper", table({(2, 4): 0.6, (2, 2): 0.7, (4, 1): 0.9}))
    assert without.chosen == found.chosen
    assert learn.turns[:-1] == alone.turns
    assert learn.counts[-1] == [(4, 3), (4, 2), (4, 1)]
    for asked in ("full", "token", "piece"):
        assert search(asked, piece_line=True)[1].turns == search(asked)[1].turns
    assert search("token", piece_line=True)[0].best_of_line["piece-only"] == {}


def test_of_equals_the_fewest_cells_are_chosen_and_then_the_fewest_tokens():
    assert best_of({(0, Keep(4, 4)): 0.5, (0, Keep(3, 4)): 0.5, (0, Keep(4, 2)): 0.5}) == (0, Keep(4, 2))
    assert best_of({(0, Keep(4, 1)): 0.5, (0, Keep(2, 2)): 0.5, (0, Keep(1, 4)): 0.4}) == (0, Keep(2, 2))
    assert best_of({(0, Keep(4, 4)): 0.51, (0, Keep(1, 1)): 0.5}) == (0, Keep(4, 4))
    learn = table({(4, 1): 0.9, (2, 2): 0.9, (1, 4): 0.9, (2, 3): 0.9})
    assert search("full", learn)[0].chosen == {0: Keep(1, 4)}
    assert search("paper", table({}))[0].chosen == {0: Keep(1, 1)}


@pytest.mark.parametrize("asked", ["paper", "full"])
def test_cells_that_did_not_come_to_their_end_are_never_chosen(asked):
    def reached(seed, tokens, pieces):
        return None if tokens == 1 or pieces < 3 else tokens / 10 + pieces / 100

    found, _ = search(asked, FakeLearn(reached), piece_line=True)
    assert found.chosen == found.best_of_line["token-only"] == {0: Keep(4, 4)}
    assert found.best_of_line["piece-only"] == {0: Keep(4, 4)}
    assert best({(0, Keep(1, 1)): RoundResult(values(0), None, None, {})}, grid(4, 4)) == {}


def test_a_seed_all_of_whose_cells_stopped_has_no_choice_and_the_others_have_theirs():
    def reached(seed, tokens, pieces):
        return None if seed == 1 else 0.5

    found, learn = search("paper", FakeLearn(reached), dense(seeds=(0, 1, 2)))
    assert found.chosen == {0: Keep(1, 1), 2: Keep(1, 1)}
    assert {seed for seed, _ in learn.turns[1]} == {0, 2}


def test_a_seed_that_diverged_in_the_dense_round_has_no_cells():
    first = dense(seeds=(0, 1, 2))
    first = replace(first, results=(first.results[0], replace(first.results[1], scores=None), first.results[2]))
    found, learn = search("paper", first=first, piece_line=True)
    assert {seed for turn in learn.turns for seed, _ in turn} == set(found.chosen) == {0, 2}


@pytest.mark.parametrize("asked", ["paper", "full", "token", "piece"])
def test_where_every_seed_diverged_nothing_is_asked_of_anyone(asked):
    first = dense()
    first = replace(first, results=(replace(first.results[0], scores=None),))
    found, learn = search(asked, first=first, piece_line=True, rescore=tiny.refuse if asked == "paper" else None)
    assert learn.turns == []
    assert (*choices(found), dict(found.tickets)) == ({}, {}, {}, {})


# ---- scoring again


def rescoring(first, reached, again, **more):
    asked = []

    def rescore(keys):
        asked.append(list(keys))
        return {key: again for key in keys}

    found, learn = search("paper", table(reached), first, rescore=rescore, **more)
    return found, learn, asked


def test_pieces_go_by_new_scores_of_the_chosen_cell_alone():
    piece = torch.tensor([[1.0, 2.0, 3.0, 4.0]] * 4)
    first = dense(found=lambda *_: Scores(torch.tensor([4.0, 3.0, 2.0, 1.0]), piece, 1))
    again = Scores(torch.tensor([4.0, 3.0, 0.0, 0.0]), piece.flip(1), 1)
    found, learn, asked = rescoring(first, {(2, 4): 0.9}, again)
    assert asked == [[(0, Keep(2, 4))]]
    assert tiny.rows_of(found.tickets[0, Keep(2, 1)].mask) == ["1000", "1000", "0000", "0000"]
    assert learn.counts == [[(4, 4), (3, 4), (2, 4), (1, 4)], [(2, 3), (2, 2), (2, 1)]]
    once, _ = search("paper", table({(2, 4): 0.9}), first)
    assert tiny.rows_of(once.tickets[0, Keep(2, 1)].mask) == ["0001", "0001", "0000", "0000"]


def test_new_scores_do_not_choose_among_tokens_again():
    """A dropped token scores 0, more than a kept one whose signed score is negative; random scores know no mask."""
    first = dense(found=lambda *_: Scores(torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.ones(4, 4), 1))
    again = Scores(torch.tensor([-1.0, -2.0, 0.0, 5.0]), torch.ones(4, 4), 1)
    found, _, _ = rescoring(first, {(2, 4): 0.9}, again)
    assert tiny.rows_of(found.tickets[0, Keep(2, 3)].mask) == ["1110", "1110", "0000", "0000"]


def test_the_piece_line_goes_by_the_first_scores_and_leaves_what_was_scored_again():
    piece = torch.tensor([[1.0, 2.0, 3.0, 4.0]] * 4)
    first = dense(found=lambda *_: Scores(torch.tensor([4.0, 3.0, 2.0, 1.0]), piece, 1))
    again = Scores(torch.ones(4), piece.flip(1), 1)
    found, _, _ = rescoring(first, {(2, 4): 0.9}, again, piece_line=True)
    assert tiny.rows_of(found.tickets[0, Keep(4, 1)].mask) == ["0001"] * 4
    # where all tokens were chosen, the cells of the search are those of the line; with and without it they are the same
    for piece_line in (False, True):
        found, learn, _ = rescoring(first, {(4, 4): 0.9}, again, piece_line=piece_line)
        assert tiny.rows_of(found.tickets[0, Keep(4, 1)].mask) == ["1000"] * 4
        assert learn.counts[1:] == [[(4, 3), (4, 2), (4, 1)]]


# ---- successive halving


def test_the_worse_half_by_hand():
    cells = [Keep(4, 4), Keep(4, 2), Keep(2, 4), Keep(1, 4)]
    standings = {(0, keep): value for keep, value in zip(cells, (0.5, 0.9, 0.6, 0.7), strict=True)}
    assert worse_half(standings) == {(0, Keep(4, 4)), (0, Keep(2, 4))}
    equal = {(0, keep): 0.5 for keep in (Keep(4, 4), Keep(1, 1), Keep(4, 1), Keep(2, 2))}
    assert worse_half(equal) == {(0, Keep(4, 4)), (0, Keep(4, 1))}  # of equals the larger ones


@pytest.mark.parametrize(("cells", "dropped"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (7, 3), (100, 50)])
def test_an_odd_one_stays(cells, dropped):
    standings = {(0, Keep(1, number)): number / 1000 for number in range(1, cells + 1)}
    worse = worse_half(standings)
    assert {key[1].pieces for key in worse} == set(range(1, dropped + 1))


def test_every_seed_is_halved_on_its_own():
    good = {(1, Keep(tokens, 4)): 0.9 + tokens / 100 for tokens in (4, 3, 2)}
    bad = {(0, Keep(tokens, 4)): 0.1 + tokens / 100 for tokens in (4, 3)}
    assert worse_half(good | bad) == {(1, Keep(2, 4)), (0, Keep(3, 4))}
    assert worse_half({}) == set()
