import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunekit.engine.order import batches_per_epoch, epoch_batches

SAME = [5] * 20


@given(st.lists(st.integers(1, 9), min_size=1, max_size=80), st.integers(1, 20), st.integers(0, 3))
def test_an_epoch_is_full_batches_of_different_examples(lengths, batch_size, epoch):
    batches = epoch_batches(lengths, batch_size, 0, 0, epoch)
    size = min(batch_size, len(lengths))
    assert len(batches) == batches_per_epoch(len(lengths), batch_size) == len(lengths) // size
    assert all(len(batch) == size for batch in batches)
    places = [place for batch in batches for place in batch]
    assert len(set(places)) == len(places)
    assert set(places) <= set(range(len(lengths)))


def test_each_example_has_its_turn_though_some_are_left_out_of_an_epoch():
    seen = [place for epoch in range(20) for batch in epoch_batches(list(range(7)), 3, 0, 0, epoch) for place in batch]
    assert len(seen) == 20 * 6
    assert set(seen) == set(range(7))


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_the_order_is_named_by_seed_round_and_epoch(other):
    assert epoch_batches(SAME, 4, 0, 0, 0) == epoch_batches(SAME, 4, 0, 0, 0)
    assert epoch_batches(SAME, 4, 0, 0, 0) != epoch_batches(SAME, 4, *other)


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_a_small_set_of_texts_of_different_lengths_is_mixed_anew_too(other):
    """DESIGN decisions 3 and 10: each member has its own data order; seeds vary the order."""

    def together(*names):
        return {frozenset(batch) for batch in epoch_batches(list(range(64)), 4, *names)}

    assert together(0, 0, 0) != together(*other)


def test_batches_hold_texts_of_like_length():
    lengths = torch.randint(5, 200, (640,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = epoch_batches(lengths, 10, 0, 0, 0)
    padded = sum(len(batch) * max(lengths[place] for place in batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)  # at random it is about 1.8


def test_members_see_short_and_long_texts_at_the_same_updates():
    lengths = torch.randint(5, 200, (640,), generator=torch.Generator().manual_seed(0)).tolist()
    longest = [[max(lengths[p] for p in batch) for batch in epoch_batches(lengths, 10, seed, 0, 0)] for seed in (0, 1)]
    gaps = [abs(one - other) for one, other in zip(*longest, strict=True)]
    assert sum(gaps) / len(gaps) < 20


def test_the_global_state_is_left_alone():
    before = torch.random.get_rng_state()
    epoch_batches(SAME, 4, 0, 0, 0)
    assert torch.equal(torch.random.get_rng_state(), before)
