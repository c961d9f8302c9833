"""What holds for every parameterisation of a prompt."""

from dataclasses import replace

import pytest
import tiny
import torch
from tiny import draw

from prunekit.engine.gradient_scores import gradient_scores
from prunekit.models import stack
from prunekit.prompts import METHODS, methods
from prunekit.prompts.base import MaskedPrompt, Prompt
from prunekit.prompts.bilinear import whitened
from prunekit.prompts.intrinsic import RandomSubspacePrompt
from prunekit.prompts.mask import Mask
from prunekit.prompts.options import Context, Decoder, Options
from prunekit.pruning.ticket import Ticket
from prunekit.runs.ticket_file import load_ticket, save_ticket
from prunekit.support.errors import ArtifactError, ConfigError
from prunekit.support.seeding import generator

P, H = 5, 8
SMALL = Options(rank=3, bottleneck=6, input_tokens=9, task_size=3, dimension=4, spaces=2, inner=2)
VARIANTS = {method: (method, SMALL) for method in METHODS}
VARIANTS["dpt-svd"] = ("dpt", replace(SMALL, factors="svd"))
VARIANTS["bilinear-random"] = ("bilinear", replace(SMALL, whiten=False))
VARIANTS["random-subspace"] = ("intrinsic", replace(SMALL, subspace="random"))
VARIANTS["ept-no-fusion"] = ("ept", replace(SMALL, fusion=False))
VARIANTS["ept-no-projection"] = ("ept", replace(SMALL, projection=False))
MOVERS = [name for name, (method, _) in VARIANTS.items() if method in ("dept", "adept", "ept")]
MASK = tiny.masked([True, False, True, True, False], drop=[(0, 1), (2, 3)])
every = pytest.mark.parametrize("variant", VARIANTS)
movers = pytest.mark.parametrize("variant", MOVERS)


def context(tokens: int, width: int) -> Context:
    half = draw(width, 3)
    decoder = Decoder(draw(6, 3), draw(6), draw(4, 6), draw(4, tokens, width), draw(tokens, width))
    return Context(whitening=whitened(half @ half.T), decoder=decoder)


def started(variant: str, seed: int = 0, tokens: int = P, width: int = H) -> Prompt:
    method, options = VARIANTS[variant]
    return methods.start(method, draw(tokens, width), generator("start", seed), options, context(tokens, width))


def learned(variant: str, tokens: int = P, width: int = H, scale: float = 0.3) -> Prompt:
    """As if trained: no parameter is left at zero or at its start."""
    prompt = started(variant, tokens=tokens, width=width)
    with torch.no_grad():
        for name, part in prompt.named_parameters():
            part += scale * torch.randn(part.shape, generator=generator("learned", name), dtype=part.dtype)
    return prompt


# ---- one interface


@every
def test_it_makes_p_vectors_of_the_embedding_width(variant):
    prompt = learned(variant)
    assert prompt().shape == (P, H)
    assert prompt().requires_grad
    assert prompt.method == VARIANTS[variant][0]
    assert prompt().dtype == torch.float64  # that of the values it was started with


@every
def test_its_state_is_all_that_it_is_made_of(variant):
    prompt = learned(variant)
    state = {name: value.clone() for name, value in prompt.state_dict().items()}
    again = methods.build(prompt.method, state)
    embedded, mask = draw(2, 6, H), torch.arange(6)[None] < torch.tensor([[6], [4]])
    assert type(again) is type(prompt)
    assert torch.equal(again(), prompt())
    assert torch.equal(again.embed_input(embedded, mask), prompt.embed_input(embedded, mask))
    assert [name for name, _ in again.named_parameters()] == [name for name, _ in prompt.named_parameters()]
    for value in state.values():  # copied, not shared
        value.zero_()
    assert torch.equal(again(), prompt())


@every
def test_its_ticket_loads_again(variant, tmp_path):
    prompt = learned(variant)
    ticket = Ticket(MASK, prompt.state_dict(), None, method=prompt.method)
    save_ticket(ticket, tmp_path / "ticket")
    loaded = load_ticket(tmp_path / "ticket")
    assert loaded == ticket
    assert torch.equal(loaded.prompt()()[0], MaskedPrompt(prompt, MASK, "remove")()[0])


@every
def test_every_parameter_can_be_seen_as_one_flat_vector(variant):
    assert all(part.is_contiguous() for part in started(variant).parameters())


@every
def test_parameters_trainable_under_a_full_mask_are_all_of_them(variant):
    prompt = learned(variant)
    assert prompt.trainable(Mask.full(P, 4)) == sum(part.numel() for part in prompt.parameters())
    assert 0 < prompt.trainable(MASK) <= prompt.trainable(Mask.full(P, 4))


@pytest.mark.parametrize(
    ("method", "tokens", "width", "options", "count"),
    [
        ("adept", 60, 768, {}, 76_051),
        ("bilinear", 100, 768, dict(whiten=False), 65_100),
        ("dept", 40, 768, dict(rank=45), 76_800),
        ("dept", 60, 768, dict(rank=30), 76_800),
        ("dpt", 100, 512, {}, 6_120),
        ("dpt", 100, 768, {}, 8_680),
        ("dpt", 100, 1024, {}, 11_240),
        ("residual", 100, 1024, {}, 925_072),
        ("ulpt", 100, 768, {}, 1_736),
    ],
)
def test_parameters_are_as_published(method, tokens, width, options, count):
    prompt = methods.start(method, torch.zeros(tokens, width), generator("count"), Options(**options))
    assert sum(part.numel() for part in prompt.parameters()) == prompt.trainable(Mask.full(tokens, 16)) == count


# of 5 x 8 under a mask of two tokens and 7 pieces, each of width 2
TRAINED = {
    "direct": 7 * 2,
    "dpt": 2 * 3 + 3 * 8,  # kept rows x R + R x H
    "residual": 2 * 8 + 6 * 8 + 6 + 8 * 6 + 8 + 2 * 8,  # a dropped piece still feeds the others
    "dept": 7 * 2 + 9 * 3 + 3 * 8,  # kept cells, and the whole pair
    "adept": 7 * 2 + 2 * 8 * 3 + 3 + 8,  # kept cells, and the whole network
    "bilinear": 2 * 3 + 3 * 8,
    "structured": 3 * (1 + 7 * 2),
    "intrinsic": 3,
    "random-subspace": 4,
    "ulpt": 2 * 3 + 2 * 8,
    "singular": 2 * 3 + 3 + 3 * 8,
}


@pytest.mark.parametrize("variant", TRAINED)
def test_what_is_trained_after_pruning(variant):
    mask = tiny.masked([True, False, True, False, False], drop=[(0, 1)])
    assert learned(variant).trainable(mask) == TRAINED[variant]


@every
def test_what_is_not_counted_as_trainable_gets_no_gradient(variant):
    """A number that is pruned away cannot learn; more may be counted than reached, since shared parts count whole."""
    prompt = learned(variant)
    values, _ = MaskedPrompt(prompt, MASK, "zero")()
    loss = (values * draw(P, H)).sum()
    if prompt.moves_input:
        embedded = draw(2, 9, H)
        loss = loss + prompt.embed_input(embedded, torch.ones(2, 9, dtype=torch.bool)).square().sum()
    loss.backward()
    reached = sum(int((part.grad != 0).sum()) for part in prompt.parameters() if part.grad is not None)
    assert reached <= prompt.trainable(MASK)


@every
def test_the_same_generator_draws_the_same_prompt(variant):
    first, again, other = started(variant), started(variant), started(variant, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    differ = any(
        not torch.equal(a, b) for a, b in zip(first.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert differ == (variant not in ("direct", "singular", "dpt-svd"))  # which draw nothing


@pytest.mark.parametrize("variant", ["direct", *MOVERS, "random-subspace"])
def test_what_starts_as_prompt_tuning_does_so_exactly(variant):
    prompt, embedded = started(variant), draw(2, 6, H)
    assert torch.equal(prompt(), draw(P, H))
    assert torch.equal(prompt.embed_input(embedded, torch.ones(2, 6, dtype=torch.bool)), embedded)


# ---- gradients


def called(prompt: Prompt, values: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """What the prompt makes with other parameters, which gradients reach."""
    return torch.func.functional_call(prompt, dict(zip(dict(prompt.named_parameters()), values, strict=True)), ())


@every
def test_gradients_of_the_prompt(variant):
    prompt = learned(variant)
    values = tuple(part.detach().clone().requires_grad_() for part in prompt.parameters())
    assert torch.autograd.gradcheck(lambda *given: called(prompt, given), values)


class _Moved(torch.nn.Module):
    """`embed_input` as a forward, for functional_call."""

    def __init__(self, prompt: Prompt, mask: torch.Tensor) -> None:
        super().__init__()
        self.prompt, self.mask = prompt, mask

    def forward(self, embedded):
        return self.prompt.embed_input(embedded, self.mask)


@movers
def test_gradients_of_the_moved_input(variant):
    moved = _Moved(learned(variant), torch.tensor([[False, True, True, True], [True, True, False, False]]))
    names = [
        f"prompt.{name}" for name in moved.prompt.offset_parameters if name in dict(moved.prompt.named_parameters())
    ]
    parts = dict(moved.named_parameters())
    values = tuple(parts[name].detach().clone().requires_grad_() for name in names)
    embedded = draw(2, 4, H).requires_grad_()

    def function(embedded, *given):
        return torch.func.functional_call(moved, dict(zip(names, given, strict=True)), (embedded,))

    assert torch.autograd.gradcheck(function, (embedded, *values))


@every
def test_the_gradient_score_is_the_slope_on_the_materialised_prompt(variant):
    """dL/dgamma = <p, dL/dp>, through the model, whatever made p; one example at a time against a batch."""
    bone = tiny.frozen("t5", dtype=torch.float64)
    prompt = learned(variant, width=tiny.WIDTH)
    rows = tiny.encoded(bone, tiny.examples(4), tokens=P)
    ticket = Ticket(MASK, prompt.state_dict(), None, method=prompt.method, dropped_as="hide")
    (found,) = gradient_scores([ticket], bone, [bone.batch([rows], every_choice=False)])
    token, piece = torch.zeros(P).double(), torch.zeros(P, 4).double()
    for row in rows:
        soft = stack([ticket.prompt()])
        zeta = torch.ones(P, 4, dtype=torch.float64, requires_grad=True)
        scaled = (soft.values.detach().unflatten(2, (4, -1)) * zeta[None, :, :, None]).flatten(2)
        bone.losses(replace(soft, values=scaled), bone.batch([[row]], every_choice=False)).sum().backward()
        token += zeta.grad.sum(dim=1).abs() / len(rows)
        piece += zeta.grad.abs() / len(rows)
    assert torch.allclose(found.token, token, rtol=1e-8, atol=1e-12)
    assert torch.allclose(found.piece, piece, rtol=1e-8, atol=1e-12)
    assert (found.token[MASK.token] > 0).all()


# ---- the input


@every
def test_the_input_is_left_alone_unless_the_method_says_that_it_moves_it(variant):
    prompt, embedded, mask = learned(variant), draw(2, 6, H), torch.ones(2, 6, dtype=torch.bool)
    moved = prompt.embed_input(embedded, mask)
    assert prompt.moves_input == (variant in MOVERS)
    assert (moved is embedded) != prompt.moves_input
    assert torch.equal(moved, embedded) != prompt.moves_input


@movers
def test_padding_on_either_side_changes_nothing_and_is_not_changed(variant):
    prompt, text, noise = learned(variant), draw(3, H), draw(4, H)
    alone = prompt.embed_input(text[None], torch.ones(1, 3, dtype=torch.bool))[0]
    for before in range(5):
        row = torch.cat([noise[:before], text, noise[before:]])
        mask = torch.zeros(7, dtype=torch.bool)
        mask[before : before + 3] = True
        others = draw(3, 7, H)  # and neither does who else is in the batch
        found = prompt.embed_input(torch.cat([row[None], others]), torch.cat([mask[None], others[..., 0] > 0]))[0]
        assert torch.allclose(found[mask], alone, rtol=0, atol=1e-12)
        assert torch.equal(found[~mask], row[~mask])


@every
def test_the_parameters_that_have_a_rate_of_their_own_are_all_but_the_prompt(variant):
    prompt = learned(variant)
    own = set(prompt.offset_parameters) & set(dict(prompt.named_parameters()))
    assert (prompt.offset_rate is not None) == bool(own) == prompt.moves_input
    if own:
        assert own == set(dict(prompt.named_parameters())) - {"values"}
        prompt.embed_input(draw(1, 9, H), torch.ones(1, 9, dtype=torch.bool)).square().sum().backward()
        moving = {name for name, part in prompt.named_parameters() if part.grad is not None}
        assert moving <= own  # whatever moves the input has the other rate


# ---- masks, static prompts


@every
def test_a_mask_acts_on_what_was_made(variant):
    prompt = learned(variant)
    values, present = MaskedPrompt(prompt, MASK, "hide")()
    assert torch.equal(values, torch.where(MASK.expand(H), prompt(), 0.0))
    assert torch.equal(present, MASK.token)


@every
def test_a_static_prompt_exists_where_the_input_is_left_alone(variant):
    prompt = learned(variant)
    if prompt.moves_input:
        with pytest.raises(ConfigError, match=f'method "{prompt.method}" has no static prompt: it also adds') as raised:
            prompt.materialise()
        assert "\n" not in str(raised.value)
        return
    static = prompt.materialise()
    assert torch.equal(static, prompt())
    assert not static.requires_grad
    before = static.clone()
    with torch.no_grad():
        next(prompt.parameters()).add_(1)
    assert torch.equal(static, before)


# ---- which prompts go together, which tensors are a prompt


@every
def test_prompts_of_one_kind_go_together_and_lengths_may_differ(variant):
    methods.same_kind([started(variant), started(variant, seed=1), started(variant, tokens=4)])


def test_different_methods_do_not():
    pairs = [("direct", "dpt"), ("dept", "direct"), ("intrinsic", "random-subspace"), ("dpt", "bilinear")]
    for one, other in pairs:
        with pytest.raises(ConfigError, match=f"{one} and {other} prompts cannot be trained side by side") as raised:
            methods.same_kind([started(one), started(other)])
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("dpt", {"rank": 2}), ("dept", {"rank": 2}), ("dept", {"input_tokens": 4}), ("adept", {"rank": 2}),
        ("residual", {"bottleneck": 3}), ("ept", {"spaces": 3}), ("ulpt", {"rank": 2}), ("singular", {"rank": 2}),
        ("structured", {"task_size": 2}), ("bilinear", {"rank": 2}),
    ],
)  # fmt: skip
def test_nor_do_different_sizes_of_one_method(method, change):
    other = methods.start(method, draw(P, H), generator("other"), replace(SMALL, **change), context(P, H))
    ((name, size),) = change.items()
    with pytest.raises(ConfigError, match=f"{method} prompts of {name} = {getattr(SMALL, name)} and {size} cannot"):
        methods.same_kind([started(method), other])


def test_the_ablations_of_ept_are_kinds_of_their_own():
    with pytest.raises(ConfigError, match="ept prompts of fusion = 1 and 0"):
        methods.same_kind([started("ept"), started("ept-no-fusion")])
    methods.same_kind([])


def test_no_other_method_is_known():
    for call in (
        lambda: methods.build("other", {"values": draw(P, H)}),
        lambda: methods.start("other", draw(P, H), generator("x")),
    ):
        with pytest.raises(ArtifactError, match='method "other" is unknown'):
            call()


@every
def test_tensors_of_another_method_are_refused(variant):
    with pytest.raises(ArtifactError, match=r"strange.* are not those of a prompt of method"):
        methods.build(VARIANTS[variant][0], started(variant).state_dict() | {"strange": draw(2)})


def test_published_rates():
    rates = {method: methods.kind(method).published_rate for method in METHODS}
    assert rates == {
        "direct": 0.3, "dpt": 0.3, "residual": 0.3, "dept": 0.3, "adept": 0.3, "ept": None, "bilinear": 0.05,
        "structured": None, "intrinsic": None, "ulpt": 0.6, "singular": 0.3,
    }  # fmt: skip
    assert methods.kind("intrinsic", {"code": draw(2), "basis": draw(2)}) is RandomSubspacePrompt
