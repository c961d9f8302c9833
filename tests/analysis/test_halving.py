"""The replay of successive halving against a naive simulation, update by update."""

import numpy as np
import pandas as pd
import pytest

from prunekit.analysis.halving import COLUMNS, replay
from prunekit.pruning.schedule import rungs


def curves(cells, every=1):
    """{(seed, tokens, pieces): metric at each evaluation} as a table."""
    rows = [
        {"seed": seed, "tokens": tokens, "pieces": pieces, "step": (place + 1) * every, "validation": value}
        for (seed, tokens, pieces), values in cells.items()
        for place, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


BY_HAND = {
    # 8 updates, halved after 1, 2 and 4
    (0, 4, 4): [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.99],  # best in the end, dropped at once
    (0, 4, 2): [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9],
    (0, 2, 4): [0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6],
    (0, 2, 2): [0.7, 0.7, 0.2, 0.2, 0.8, 0.2, 0.2, 0.2],
    (0, 1, 4): [0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4],
}


def test_replay_by_hand():
    found = replay(curves(BY_HAND), (1, 2, 4))
    assert tuple(found.columns) == COLUMNS
    (one,) = found.to_dict("records")
    # of five the better three stay at 1 (one worse of the odd five), then two, then one: (2, 2)
    assert (one["tokens"], one["pieces"]) == (2, 2)
    assert (one["full_tokens"], one["full_pieces"]) == (4, 4)
    assert (one["updates"], one["full_updates"]) == (1 + 1 + 2 + 4 + 8, 5 * 8)
    assert one["saving"] == pytest.approx(1 - 16 / 40)
    assert one["regret"] == pytest.approx(0.99 - 0.8)


def test_without_rungs_nothing_is_saved_and_nothing_lost():
    (one,) = replay(curves(BY_HAND), ()).to_dict("records")
    assert (one["tokens"], one["pieces"], one["saving"], one["regret"]) == (4, 4, 0.0, 0.0)


def test_no_curves_no_rows():
    found = replay(curves(BY_HAND)[:0], (1, 2))
    assert found.empty
    assert tuple(found.columns) == COLUMNS


def test_a_cell_that_had_stopped_by_itself_costs_what_it_made():
    """Patience ended the first after 2 of 8 updates; it is dropped at the rung at 4 without having made 4."""
    cells = {(0, 2, 2): [0.5, 0.4], (0, 2, 1): [0.1, 0.2, 0.3, 0.6, 0.6, 0.6, 0.6, 0.6]}
    (one,) = replay(curves(cells), (4,)).to_dict("records")
    assert (one["updates"], one["full_updates"], one["saving"]) == (10, 10, 0.0)
    assert (one["tokens"], one["pieces"], one["regret"]) == (2, 1, 0.0)
    # and one that stopped early and leads stays
    (one,) = replay(curves(cells), (2,)).to_dict("records")
    assert (one["updates"], one["full_updates"]) == (2 + 2, 10)
    assert one["regret"] == pytest.approx(0.1)


def naive(cells, rungs):
    """One seed, every update counted: {(tokens, pieces): (values by evaluation, updates between evaluations)}."""
    alive, updates = set(cells), 0
    longest = max(len(values) * every for values, every in cells.values())
    for step in range(1, longest + 1):
        for cell in alive:
            values, every = cells[cell]
            updates += step <= len(values) * every
        if step in rungs:
            ranked = []
            for tokens, pieces in alive:
                values, every = cells[tokens, pieces]
                seen = [value for place, value in enumerate(values) if (place + 1) * every <= step]
                ranked.append((-max(seen), tokens * pieces, tokens, pieces))
            ranked.sort()
            better = len(ranked) - len(ranked) // 2
            alive = {(tokens, pieces) for *_, tokens, pieces in ranked[:better]}
    ends = sorted((-max(cells[one][0]), one[0] * one[1], *one) for one in cells)
    lefts = [end for end in ends if end[2:] in alive]
    full = sum(len(values) * every for values, every in cells.values())
    return (*lefts[0][2:], *ends[0][2:], updates, full, 1 - updates / full, lefts[0][0] - ends[0][0])


@pytest.mark.parametrize("draw", range(20))
def test_replay_is_the_naive_simulation(draw):
    random = np.random.default_rng(draw)
    every = int(random.integers(1, 4))
    evaluations = int(random.integers(4, 12))
    tables, wanted = {}, []
    steps = rungs(evaluations * every, every)
    for seed in (3, 1):
        pairs = [(tokens, pieces) for tokens in range(1, 6) for pieces in range(1, 5)]
        picked = random.permutation(len(pairs))[: random.integers(1, len(pairs) + 1)]
        cells = {}
        for place in picked:
            ends = evaluations if random.random() < 0.7 else int(random.integers(1, evaluations + 1))
            # few values, so that there are ties
            cells[pairs[place]] = ([float(value) for value in random.integers(0, 6, ends) / 10], every)
        tables |= {(seed, *pair): values for pair, (values, _) in cells.items()}
        wanted.append((seed, *naive(cells, steps)))
    found = replay(curves(tables, every).sample(frac=1, random_state=draw), steps)  # rows in any order
    assert list(found["seed"]) == [1, 3]
    for one in wanted:
        row = tuple(found[found["seed"] == one[0]][list(COLUMNS)].iloc[0])
        assert row == pytest.approx(one)
    assert (found["regret"] >= 0).all()
    assert found["saving"].between(0, 1).all()
