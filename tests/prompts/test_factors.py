import torch

from prunekit.prompts.factors import kaiming, normal, svd, uniform, xavier
from prunekit.support.seeding import generator

LIKE = torch.zeros(0, dtype=torch.float64)


def test_the_parts_give_the_matrix_back_and_descend():
    values = torch.randn(6, 9, generator=generator("svd"), dtype=torch.float64)
    left, size, right = svd(values, 6)
    assert torch.allclose(left @ size.diag() @ right, values, rtol=0, atol=1e-12)
    assert (size.diff() <= 0).all()
    assert [part.shape[0] for part in svd(values, 2)] == [6, 2, 2]


def test_signs_are_fixed():
    values = torch.randn(6, 9, generator=generator("svd"))
    left, _, right = svd(values, 6)
    flipped_left, _, flipped_right = svd(-values, 6)
    assert (right.gather(1, right.abs().argmax(dim=1, keepdim=True)) > 0).all()
    assert torch.allclose(flipped_right, right, atol=1e-6)
    assert torch.allclose(flipped_left, -left, atol=1e-6)


def test_a_matrix_of_zeros_has_a_decomposition():
    left, size, right = svd(torch.zeros(3, 4), 3)
    assert torch.equal((left * size) @ right, torch.zeros(3, 4))


def test_draws_are_named_by_their_generator_alone_and_have_the_asked_type():
    for make in (lambda g: uniform(g, (4, 3), 0.5, LIKE), lambda g: normal(g, (4, 3), 0.5, LIKE)):
        assert torch.equal(make(generator("a")), make(generator("a")))
        assert not torch.equal(make(generator("a")), make(generator("b")))
        assert make(generator("a")).dtype == torch.float64


def test_bounds_and_deviations():
    assert 0.49 < uniform(generator("u"), (100, 100), 0.5, LIKE).abs().max() <= 0.5
    assert abs(normal(generator("n"), (100, 100), 0.02, LIKE).std() - 0.02) < 1e-3
    assert 0.199 < kaiming(generator("k"), (400, 25), LIKE).abs().max() <= 0.2  # 1 / sqrt(25)
    assert 0.24 < xavier(generator("x"), (46, 50), LIKE).abs().max() <= 0.25  # sqrt(6 / 96)
