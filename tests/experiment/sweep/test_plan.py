from prunekit.experiment.sweep.plan import spread


def test_the_length_of_a_sweep_is_played_through():
    assert spread([3, 1, 1, 1], 2) == 3
    assert spread([1, 1, 1, 3], 2) == 4
    assert spread([1] * 8, 4, start=10) == 12
    assert spread([1] * 8, 8, handing=2) == 17
    assert spread([], 4) == 0
