import pytest
import torch
from tiny import draw

from prunekit.prompts.bilinear import BilinearPrompt, whitened
from prunekit.prompts.options import Context, Options
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator


def covariance(width: int, directions: int):
    """A Sigma of given rank, its eigenvalues decades apart."""
    basis = torch.linalg.qr(draw(width, width)).Q[:, :directions]
    return basis * torch.logspace(0, -directions + 1, directions, dtype=torch.float64) @ basis.T


def test_the_prompt_is_the_product_of_its_factors():
    left, right = draw(5, 3), draw(8, 3)
    found = BilinearPrompt(left, right)()
    for token in range(5):
        for place in range(8):
            assert abs(found[token, place] - sum(left[token] * right[place])) < 1e-10


def test_whitening_makes_the_covariance_the_identity():
    sigma = covariance(6, 6)
    matrix = whitened(sigma, floor=1e-9)
    assert torch.allclose(matrix @ sigma @ matrix, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-9)
    assert torch.allclose(matrix, matrix.T, rtol=0, atol=1e-9)


def test_whitening_has_a_floor_under_directions_that_were_never_seen():
    sigma = covariance(6, 2)  # eigenvalues 1, 0.1 and four of 0
    matrix = whitened(sigma, floor=1e-2)
    sizes = torch.linalg.eigvalsh(matrix)
    wanted = torch.tensor([1.0, 10**0.5, 10, 10, 10, 10], dtype=torch.float64)  # never above 1 / sqrt(floor)
    assert torch.allclose(sizes, wanted, rtol=0, atol=1e-9)
    assert torch.allclose(whitened(4 * sigma, floor=1e-2), matrix / 2, rtol=0, atol=1e-9)  # in units of Sigma's own


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_nothing_can_be_whitened_by_a_sigma_without_content(bad):
    with pytest.raises(ConfigError, match="zero or not finite"):
        whitened(torch.full((4, 4), bad), floor=1e-3)


def test_it_starts_with_whole_columns_of_the_whitening_matrix():
    sigma = covariance(8, 5)
    prompt = BilinearPrompt.start(draw(40, 8), generator("start"), Options(rank=3), Context(whitening=whitened(sigma)))
    matrix = whitened(sigma, floor=1e-3)
    gaps = (prompt.right.T[:, None] - matrix.T[None]).abs().amax(dim=2)  # [R, H]
    assert (gaps.min(dim=1).values < 1e-12).all()
    assert len(set(gaps.argmin(dim=1).tolist())) == 3  # no column twice
    other = BilinearPrompt.start(draw(40, 8), generator("other"), Options(rank=3), Context(whitening=whitened(sigma)))
    assert not torch.equal(other.right, prompt.right)  # which ones is drawn
    assert abs(prompt.left.std() - 0.02) < 0.004


def test_random_columns_are_xavier_uniform():
    prompt = BilinearPrompt.start(torch.zeros(20, 64), generator("start"), Options(rank=32, whiten=False))
    bound = (6 / 96) ** 0.5
    assert 0.99 * bound < prompt.right.abs().max() <= bound


def test_it_says_what_it_lacks():
    values, options = torch.zeros(4, 8), Options(rank=2)
    with pytest.raises(ConfigError, match="starts from columns of a whitening matrix"):
        BilinearPrompt.start(values, generator("x"), options)
    with pytest.raises(ConfigError, match=r"matrix has shape \[6, 6\], this model's is \[8, 8\]"):
        BilinearPrompt.start(values, generator("x"), options, Context(whitening=torch.eye(6)))
    with pytest.raises(ConfigError, match="set rank to 8 or less"):
        BilinearPrompt.start(values, generator("x"), Options(), Context(whitening=torch.eye(8)))
