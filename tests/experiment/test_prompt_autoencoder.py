import pytest
import tiny
import torch

from prunekit.experiment import prompt_autoencoder
from prunekit.prompts.intrinsic import IntrinsicPrompt
from prunekit.prompts.options import Context
from prunekit.support.errors import ArtifactError, ConfigError
from prunekit.support.seeding import generator

SHAPE = (4, tiny.WIDTH)


def near_plane(count: int, directions: int, noise: float = 0.0):
    """Prompts [N, P, H] near a plane of so many dimensions, far from zero, in small units."""
    draw = generator("plane", count, directions)
    middle, basis = torch.randn(*SHAPE, generator=draw), torch.randn(directions, *SHAPE, generator=draw)
    codes = torch.randn(count, directions, generator=draw)
    spread = torch.randn(count, *SHAPE, generator=draw)
    return 0.05 * (3 * middle + torch.einsum("nd,dph->nph", codes, basis) + noise * spread)


def decoded(decoder, code):
    prompt = IntrinsicPrompt.start(torch.zeros(SHAPE), generator("x"), context=Context(decoder=decoder))
    prompt.code.data = code
    return prompt().detach()


# ---- the fit


@pytest.fixture(scope="module")
def fitted():
    return prompt_autoencoder.fit(near_plane(12, 3), 3)


def test_prompts_of_a_plane_are_reconstructed_from_as_many_numbers(fitted):
    assert fitted.error < 1e-3
    assert fitted.decoder.inner.shape == (768, 3)
    assert fitted.decoder.basis.shape == (3, *SHAPE)  # no more directions than the prompts have
    assert all(part.dtype == torch.float32 for part in vars(fitted.decoder).values())


def test_some_code_of_unit_size_makes_each_of_them(fitted):
    """The code's unit: RMS 1 over the source prompts, so that one learning rate fits every subspace."""
    prompts, parts = near_plane(12, 3), fitted.decoder
    codes = torch.zeros(12, 3, requires_grad=True)
    optimizer = torch.optim.Adam([codes], lr=0.05)
    for _ in range(300):
        inner = torch.tanh(codes @ parts.inner.T + parts.inner_bias) @ parts.outer.T
        made = parts.base + torch.einsum("nk,kph->nph", inner, parts.basis)
        loss = (made - prompts).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach() / (prompts - prompts.mean(0)).square().sum()) < 0.01
    found = codes.detach()
    assert found.square().mean().sqrt() == pytest.approx(1.0, abs=0.15)
    assert torch.allclose(decoded(parts, found[3]), made.detach()[3], atol=1e-2)


def test_the_middle_of_the_code_is_near_the_mean_prompt(fitted):
    prompts = near_plane(12, 3)
    spread = (prompts - prompts.mean(0)).square().mean()
    gap = (decoded(fitted.decoder, torch.zeros(3)) - prompts.mean(0)).square().mean()
    assert gap < 0.2 * spread


def test_fewer_numbers_lose_about_what_they_must():
    prompts = near_plane(12, 4)
    flat = (prompts - prompts.mean(0)).flatten(1)
    size = torch.linalg.svdvals(flat).square()
    linear = float(size[2:].sum() / size.sum())  # the least that a linear map of two numbers loses
    assert prompt_autoencoder.fit(prompts, 2).error < linear + 0.02


def test_the_same_prompts_always_give_the_same_decoder_and_no_global_random_number_is_drawn(monkeypatch):
    monkeypatch.setattr(prompt_autoencoder, "_STEPS", 50)
    torch.manual_seed(0)
    first = prompt_autoencoder.fit(near_plane(5, 2), 2)
    after = torch.rand(1)
    again = prompt_autoencoder.fit(near_plane(5, 2), 2)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))
    assert first.error == again.error
    assert all(
        torch.equal(a, b) for a, b in zip(vars(first.decoder).values(), vars(again.decoder).values(), strict=True)
    )


def test_equal_prompts_share_no_subspace():
    with pytest.raises(ConfigError, match="all its prompts are equal"):
        prompt_autoencoder.fit(torch.ones(4, *SHAPE), 2)


@pytest.mark.parametrize(("prompts", "asked", "wanted"), [(10, None, 8), (3, None, 1), (500, None, 250), (10, 8, 8)])
def test_the_dimension_leaves_something_to_share(prompts, asked, wanted):
    assert prompt_autoencoder.dimension_for(prompts, asked) == wanted


def test_too_few_prompts_or_too_many_dimensions_are_refused():
    with pytest.raises(ConfigError, match="2 trained prompts share no subspace; name runs that hold at least 3"):
        prompt_autoencoder.dimension_for(2, None)
    with pytest.raises(ConfigError, match="--dimension 9 is too many for 10 trained prompts, which lie in 9 anyway"):
        prompt_autoencoder.dimension_for(10, 9)


# ---- the runs


def tuned(folder, name, kind="gpt2", **more):
    return tiny.finished(kind, folder, folder / name, prune=False, rounds=None, keep_tokens=None, train_steps=2, **more)


@pytest.fixture(scope="module")
def source(folder):
    return tuned(folder, "source", seeds=3)


def test_the_dense_prompts_of_every_seed_are_read_as_they_were_trained(source):
    run, prepared = source
    found = prompt_autoencoder.source_prompts([str(run.path)], SHAPE, prepared.digests["model"])
    assert found.values.shape == (3, *SHAPE)
    assert found.runs == 1
    starts = torch.stack([prepared.dense(seed).state["values"] for seed in range(3)])
    assert not any(torch.equal(one, start) for one in found.values for start in starts)


def test_it_does_not_matter_how_or_in_which_order_runs_are_named(folder, source):
    run, prepared = source
    other, _ = tuned(folder, "other", seeds="7,8", learning_rate=0.2)
    digest = prepared.digests["model"]
    one = prompt_autoencoder.source_prompts([str(run.path), str(other.path)], SHAPE, digest)
    two = prompt_autoencoder.source_prompts([str(other.path), str(run.path), str(run.path)], SHAPE, digest)
    assert torch.equal(one.values, two.values)
    assert one.digest == two.digest
    assert one.digest != prompt_autoencoder.source_prompts([str(run.path)], SHAPE, digest).digest


def test_runs_that_do_not_fit_are_named_with_the_way_out(folder, source, tmp_path):
    run, prepared = source
    digest = prepared.digests["model"]
    with pytest.raises(ConfigError, match=r"prompts of 4 tokens x 32, this one has 5 x 32; name runs of the same"):
        prompt_autoencoder.source_prompts([str(run.path)], (5, tiny.WIDTH), digest)
    with pytest.raises(ConfigError, match="trained on another model"):
        prompt_autoencoder.source_prompts([str(run.path)], SHAPE, "other")
    with pytest.raises(ArtifactError, match="not a run directory"):
        prompt_autoencoder.source_prompts([str(tmp_path)], SHAPE, digest)
    moving, _ = tuned(folder, "moving", method="dept", rank=2)
    with pytest.raises(ConfigError, match='method "dept" has no static prompt'):
        prompt_autoencoder.source_prompts([str(moving.path)], SHAPE, digest)
    (tmp_path / "experiment.toml").write_text('id = "x"\n')
    with pytest.raises(ConfigError, match="no finished dense prompt; run `prunekit tune` there first"):
        prompt_autoencoder.source_prompts([str(tmp_path)], SHAPE, digest)
