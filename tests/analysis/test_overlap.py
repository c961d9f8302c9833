"""Agreement of masks: by hand, against exact chances, and on random masks."""

import numpy as np
import pytest
import torch
from scipy import stats

from prunekit.analysis import overlap
from prunekit.analysis.subjects import KEYS, PromptRecord
from prunekit.prompts.mask import Mask
from prunekit.support.seeding import generator


def subject(piece, seed=0, number=1, **keys):
    piece = torch.as_tensor(piece, dtype=torch.bool)
    values = torch.zeros(len(piece), piece.shape[1])
    known = dict.fromkeys(KEYS, "a") | {"seed": seed, "round": number} | keys
    return PromptRecord(known, values, values, values, Mask(piece.any(dim=1), piece))


def tokens(*kept, count=10, pieces=2):
    piece = np.zeros((count, pieces), dtype=bool)
    piece[list(kept)] = True
    return piece


def random_mask(name, count=20, kept=10, pieces=8, left=4):
    draw = generator("overlap test", name)
    piece = torch.zeros(count, pieces, dtype=torch.bool)
    for row in torch.randperm(count, generator=draw)[:kept].tolist():
        piece[row, torch.randperm(pieces, generator=draw)[:left]] = True
    return piece


def level(table, name):
    (one,) = table[table["level"] == name].to_dict("records")
    return one


def test_tokens_of_two_seeds_by_hand():
    table = overlap.pairs([subject(tokens(0, 1, 2, 3, 4), 0), subject(tokens(2, 3, 4, 5, 6), 1)])
    assert list(table.columns) == list(overlap.PAIRS)
    one = level(table, "token")
    assert (one["between"], one["seed"], one["other_seed"], one["nested"]) == ("seeds", 0, 1, False)
    assert (one["kept"], one["other_kept"], one["shared"]) == (5, 5, 3)
    assert (one["jaccard"], one["expected"]) == (3 / 7, 2.5)
    assert one["expected_jaccard"] == 2.5 / 7.5
    # of 252 ways to place 5 tokens of 10, those that share 3, 4 or 5 with 5 given ones
    assert one["p"] == pytest.approx((10 * 10 + 5 * 5 + 1) / 252)
    cells = level(table, "cell")
    assert (cells["kept"], cells["shared"], cells["expected"]) == (10, 6, 5)
    pieces = level(table, "piece")  # of the three shared tokens both keep everything, which is no agreement
    assert (pieces["kept"], pieces["shared"], pieces["expected"], pieces["p"]) == (6, 6, 6, pytest.approx(1))


def test_pieces_of_shared_tokens_by_hand():
    one = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    other = [[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    found = level(overlap.pairs([subject(one, 0), subject(other, 1)]), "piece")
    assert (found["kept"], found["other_kept"], found["shared"], found["expected"]) == (4, 4, 3, 2)
    # each token shares 0, 1 or 2 pieces with chance 1/6, 4/6, 1/6
    assert found["p"] == pytest.approx(2 * (1 / 6) * (4 / 6) + 1 / 36)


def test_masks_without_a_shared_token_have_no_pieces_to_compare():
    found = level(overlap.pairs([subject(tokens(0, 1), 0), subject(tokens(2, 3), 1)]), "piece")
    assert np.isnan([found["jaccard"], found["p"]]).all()


def test_chance_is_chance():
    """p of random masks is no smaller than it should be, and sharing is what is expected."""
    found = overlap.pairs([subject(random_mask(number), number) for number in range(25)], draws=499)
    for name in ("token", "piece", "cell"):
        mine = found[found["level"] == name]
        assert (mine["p"] <= 0.05).mean() < 0.09
        assert mine["shared"].mean() == pytest.approx(mine["expected"].mean(), rel=0.05)


def test_the_simulated_p_of_cells_agrees_with_the_exact_one():
    """One token: cells are pieces, placed as the hypergeometric law says."""
    one, other = [[1] * 6 + [0] * 6], [[0] * 2 + [1] * 6 + [0] * 4]
    found = level(overlap.pairs([subject(one, 0), subject(other, 1)], draws=20_000), "cell")
    assert found["p"] == pytest.approx(stats.hypergeom.sf(3, 12, 6, 6), abs=0.01)


def test_rounds_of_a_seed_are_nested_and_have_no_p():
    rounds = [subject(tokens(*range(8)), 0, 1), subject(tokens(*range(4)), 0, 2), subject(tokens(7, 8, 9), 0, 3)]
    found = overlap.pairs(rounds)
    mine = found[found["level"] == "token"].set_index(["round", "other_round"])
    assert set(found["between"]) == {"rounds"}
    assert mine["nested"].to_dict() == {(1, 2): True, (1, 3): False, (2, 3): False}
    assert np.isnan(mine.loc[(1, 2), "p"])
    assert mine.loc[(1, 2), "jaccard"] == 0.5
    assert mine.loc[(2, 3), "shared"] == 0


def test_other_runs_arms_and_whole_masks_are_not_compared():
    masks = [subject(tokens(1), 0), subject(tokens(1), 1, run="b"), subject(tokens(1), 2, arm="random")]
    masks += [subject(np.ones((10, 2)), seed) for seed in (3, 4)]
    assert overlap.pairs(masks).empty
    assert overlap.agreement(masks).empty
    assert list(overlap.pairs([]).columns) == list(overlap.PAIRS)
    other_seed_and_round = [subject(tokens(1), 0, 1), subject(tokens(1), 1, 2)]
    assert overlap.pairs(other_seed_and_round).empty


# ---- all seeds together


def test_agreement_of_all_seeds_is_the_mean_over_pairs():
    masks = [subject(random_mask(number), number) for number in range(5)]
    pairs, found = overlap.pairs(masks, draws=99), overlap.agreement(masks)
    assert list(found.columns) == list(overlap.AGREEMENT)
    for name in ("token", "cell"):
        one = level(found, name)
        assert one["seeds"] == 5
        assert one["jaccard"] == pytest.approx(pairs.loc[pairs["level"] == name, "jaccard"].mean())
        assert one["low"] < one["expected"] < one["high"]
        kept = [mask.mask.piece.any(dim=1) if name == "token" else mask.mask.piece for mask in masks]
        assert one["share"] == pytest.approx(np.mean([flags.float().mean() for flags in kept]))


def test_seeds_that_agree_are_told_from_chance():
    same = overlap.agreement([subject(random_mask("one"), seed) for seed in range(4)], draws=499)
    assert same["jaccard"].tolist() == [1, 1]
    assert same["p"].tolist() == pytest.approx([1 / 500] * 2)
    below = [
        overlap.agreement([subject(random_mask((number, seed)), seed) for seed in range(4)], draws=199)["p"]
        for number in range(60)
    ]
    assert (np.concatenate(below) <= 0.05).mean() < 0.12


def test_tokens_that_agree_while_their_pieces_do_not():
    pieces = np.zeros((12, 8), dtype=bool)
    masks = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        piece = pieces.copy()
        for row in range(6):
            piece[row, random.permutation(8)[:4]] = True
        masks.append(subject(piece, seed))
    assert level(overlap.agreement(masks), "token")["p"] < 0.01
    assert overlap.pairs(masks).query("level == 'piece'")["p"].median() > 0.1
