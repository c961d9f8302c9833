import hashlib

import torch

from prunekit.support.seeding import generator, seed_of


def test_a_name_gives_the_same_numbers_and_another_name_others():
    first = torch.rand(5, generator=generator("order", 0, 1, 2))
    assert torch.equal(first, torch.rand(5, generator=generator("order", 0, 1, 2)))
    others = [("order", 0, 1, 3), ("order", 0, 2, 2), ("order", 1, 1, 2), ("init", 0, 1, 2)]
    assert all(not torch.equal(first, torch.rand(5, generator=generator(*names))) for names in others)


def test_names_are_kept_apart():
    assert len({seed_of("a", 1, 11), seed_of("a", 11, 1), seed_of("a", 111), seed_of("a1", 11)}) == 4


def test_the_seed_is_written_down_here_so_that_it_never_changes():
    assert seed_of("order", 3, 0, 1) == int(hashlib.sha256(b"order/3/0/1").hexdigest()[:16], 16) // 2
    assert 0 <= seed_of("x") < 2**63


def test_the_global_state_is_left_alone():
    before = torch.random.get_rng_state()
    torch.rand(3, generator=generator("a"))
    assert torch.equal(torch.random.get_rng_state(), before)
