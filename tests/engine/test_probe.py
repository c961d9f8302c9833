"""Scores that ask the model themselves, each beside a plain formula on single examples (naive.py)."""

from dataclasses import replace

import naive
import pytest
import tiny
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModelForCausalLM

from prunekit.engine.order import Order
from prunekit.engine.probe import TicketProbe
from prunekit.models import wrap
from prunekit.prompts.mask import Mask
from prunekit.pruning.scores import (
    ROUND_SCORES,
    SCORES,
    Attention,
    Elimination,
    Integrated,
    LeaveOneOut,
    Margin,
    Passes,
    SecondOrder,
)
from prunekit.pruning.scores.shapley import most_subsets
from prunekit.support.errors import ConfigError

FAMILIES = ("t5", "gpt2", "bert")
HOLES = tiny.masked([True, False, True, True], pieces=2, drop=[(0, 1)])
ROOT = 3**0.5


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    """(kind, model, ticket with a token and a piece dropped, encoded examples)."""
    bone = tiny.frozen(request.param)
    ticket = replace(tiny.ticket(bone, tokens=4, pieces=2), mask=HOLES)
    if ticket.head is not None:
        ticket = replace(ticket, head={name: torch.randn_like(value) for name, value in ticket.head.items()})
    return request.param, bone, ticket, tiny.encoded(bone, tiny.examples(5))


def probe(case, levels=("token", "piece")):
    _, bone, ticket, rows = case
    return TicketProbe(ticket, bone, rows, levels, start=ticket)


def loss_of(case, example, zeta=None, mask=None):
    kind, bone, ticket, _ = case
    ticket = ticket if mask is None else replace(ticket, mask=mask)
    return naive.loss(kind, bone, naive.slots(ticket, zeta=zeta)[0], example, ticket.head)


def margin_of(case, example, zeta):
    kind, bone, ticket, _ = case
    scores, _ = naive.choice_scores(kind, bone, naive.slots(ticket, zeta=zeta)[0], example, ticket.head)
    others = [score for number, score in enumerate(scores) if number != example.gold]
    return scores[example.gold] - max(others)


def slopes(case, gamma=1.0, of=loss_of):
    """[P, K] by hand, the mean over examples."""
    each = []
    for example in case[3]:
        zeta = torch.full((4, 2), gamma, requires_grad=True)
        each.append(torch.autograd.grad(of(case, example, zeta), zeta)[0].double())
    return torch.stack(each).mean(dim=0)


def check(case, scores, piece):
    """Scores of what is kept equal those by hand; a token is the sum of its pieces."""
    kept = HOLES.piece
    naive.close(scores.piece[kept], piece[kept])
    naive.close(scores.token[HOLES.token], (piece * kept).sum(dim=1)[HOLES.token])
    assert scores.examples == len(case[3])


def test_integrated_slopes_are_gauss_s_two_nodes_by_hand(case):
    total = 0
    for u in (0.5 - 0.5 / ROOT, 0.5 + 0.5 / ROOT):  # of gamma = u * u, so that d gamma = 2 u du
        total = total - slopes(case, u * u) * 2 * u / 2
    scores = Integrated(nodes=2, bend=2).score(probe(case))
    check(case, scores, total)
    gone = torch.stack([loss_of(case, example, torch.zeros(4, 2)) for example in case[3]]).mean()
    whole = torch.stack([loss_of(case, example) for example in case[3]]).mean()
    assert scores.facts["loss_fall"] == pytest.approx(float(gone - whole), abs=1e-5)
    gap = scores.facts["loss_fall"] - float(scores.token[HOLES.token].sum())
    assert scores.facts["completeness_gap"] == pytest.approx(gap, abs=1e-9)


def test_with_many_nodes_the_sum_over_tokens_is_what_the_prompt_is_worth():
    bone = tiny.frozen("gpt2")
    rows = tiny.encoded(bone, tiny.examples(5))
    few, many = (Integrated(nodes).score(TicketProbe(tiny.ticket(bone), bone, rows)).facts for nodes in (2, 64))
    assert abs(many["completeness_gap"]) < 1e-5 * abs(many["loss_fall"])
    assert abs(few["completeness_gap"]) > abs(few["loss_fall"])


def test_second_order_is_slope_and_half_the_hessian_by_hand(case):
    def mean_loss(zeta):
        return torch.stack([loss_of(case, example, zeta.view(4, 2)) for example in case[3]]).mean()

    with sdpa_kernel(SDPBackend.MATH):
        hessian = torch.autograd.functional.hessian(mean_loss, torch.ones(8)).double()
    check(case, SecondOrder().score(probe(case)), hessian.sum(dim=1).view(4, 2) / 2 - slopes(case))


def test_margin_is_the_slope_of_the_right_choice_less_the_best_other(case):
    check(case, Margin().score(probe(case)), slopes(case, of=margin_of))


def test_margin_is_of_the_best_of_several_right_choices():
    bone = tiny.frozen("gpt2")
    ticket = tiny.ticket(bone, pieces=2)
    rows = [
        replace(row, choices=(*row.choices, (9,), (11,)), gold=1, right=(1, 3))
        for row in tiny.encoded(bone, tiny.examples(3))
    ]

    def margin(case, example, zeta):
        scores, _ = naive.choice_scores("gpt2", bone, naive.slots(ticket, zeta=zeta)[0], example, None)
        return max(scores[1], scores[3]) - max(scores[0], scores[2])

    expected = slopes(("gpt2", bone, ticket, rows), of=margin)
    naive.close(Margin().score(TicketProbe(ticket, bone, rows)).piece, expected)


def test_margin_needs_choices():
    bone = tiny.frozen("gpt2")
    rows = [
        replace(row, choices=row.choices[row.gold : row.gold + 1], gold=0)
        for row in tiny.encoded(bone, tiny.examples(2))
    ]
    with pytest.raises(ConfigError, match="answers to choose among"):
        Margin().score(TicketProbe(tiny.ticket(bone), bone, rows))


@pytest.mark.parametrize(("kind", "position"), [*((kind, "auto") for kind in (*FAMILIES, "llama")), ("gpt2", "suffix")])
def test_attention_is_what_positions_pay_by_hand(kind, position):
    bone = tiny.frozen(kind, position=position)
    ticket, rows = replace(tiny.ticket(bone, pieces=2), mask=HOLES), tiny.encoded(bone, tiny.examples(3))
    asked = TicketProbe(ticket, bone, rows)
    paid = [naive.attention(kind, bone, naive.slots(ticket)[0], row) for row in rows]
    naive.close(Attention().score(asked).token[HOLES.token], torch.tensor(paid).double().mean(dim=0))
    assert asked.passes == Attention().passes([3])


def test_a_prefix_receives_what_its_text_does_not():
    bone = tiny.frozen("llama-kv")
    (row,) = tiny.encoded(bone, tiny.examples(1))
    received = Attention().score(TicketProbe(tiny.ticket(bone), bone, [row])).token
    assert received.min() > 0
    assert received.sum() < len(row.text)  # all that its positions have to give


def test_a_model_without_attention_is_refused_in_one_line():
    sizes = dict(vocab_size=tiny.VOCABULARY, hidden_size=tiny.WIDTH, num_hidden_layers=1, state_size=4)
    bone = wrap(tiny.built(AutoModelForCausalLM, "mamba", sizes), tiny.tokenizer("gpt2"))
    with pytest.raises(ConfigError, match="score = attention: MambaForCausalLM does not show its attention") as refused:
        Attention().score(TicketProbe(tiny.ticket(bone), bone, tiny.encoded(bone, tiny.examples(1))))
    assert "\n" not in str(refused.value)


def test_losses_of_an_update_are_those_of_its_examples_each_with_factors_of_its_own(case):
    asked, update = probe(case), 2
    factors = torch.rand(5, 4, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rows = Order(16, case[2].seed, case[2].round).draw(case[3], update)
    expected = torch.stack([loss_of(case, row, zeta) for row, zeta in zip(rows, factors, strict=True)])
    losses = asked.losses(factors, update)
    naive.close(losses.detach(), expected.detach())
    slopes = [torch.autograd.grad(each.sum(), factors)[0][:, HOLES.piece] for each in (losses, expected)]
    naive.close(*slopes)
    assert asked.passes == Passes(1, 1)


def test_a_closed_gate_of_a_prefix_has_a_slope():
    bone = tiny.frozen("llama-kv")
    asked = TicketProbe(tiny.ticket(bone), bone, tiny.encoded(bone, tiny.examples(3)))
    factors = torch.ones(3, 4, 4)
    factors[:, 1] = 0
    (slopes,) = torch.autograd.grad(asked.losses(factors.requires_grad_(), 0).sum(), factors)
    assert slopes.isfinite().all()
    assert slopes[:, 1].abs().min() > 0


def without(mask, cells):
    piece = mask.piece.clone()
    for cell in cells:
        piece[cell] = False
    return Mask(piece.any(dim=1), piece)


def mean_without(case, cells):
    with torch.no_grad():
        losses = [loss_of(case, example, mask=without(HOLES, cells)) for example in case[3]]
    return float(torch.stack(losses).double().mean())


def test_leave_one_out_is_what_each_costs_by_hand(case):
    scores = LeaveOneOut().score(probe(case))
    whole = mean_without(case, [])
    for token in HOLES.token.nonzero().flatten().tolist():
        assert float(scores.token[token]) == pytest.approx(mean_without(case, [token]) - whole, abs=1e-5)
    for cell in map(tuple, HOLES.piece.nonzero().tolist()):
        assert float(scores.piece[cell]) == pytest.approx(mean_without(case, [cell]) - whole, abs=1e-5)


@pytest.mark.parametrize("level", ["token", "piece"])
def test_elimination_is_leaving_out_the_cheapest_again_and_again(case, level):
    units = [tuple(index) for index in (HOLES.token if level == "token" else HOLES.piece).nonzero().tolist()]
    order = []
    while left := [unit for unit in units if unit not in order]:
        order.append(min(left, key=lambda unit: mean_without(case, [*order, unit])))
    scores = getattr(Elimination().score(probe(case, (level,))), level)
    assert sorted(units, key=lambda unit: float(scores[unit])) == order


def test_elimination_in_turns_drops_several_at_once():
    bone = tiny.frozen("gpt2")
    cell = (None, bone, tiny.ticket(bone, tokens=4, pieces=2), tiny.encoded(bone, tiny.examples(5)))
    scores = Elimination(share=2).score(probe(cell, ("token",)))
    costs = LeaveOneOut().score(probe(cell, ("token",)))
    assert sorted(scores.token.tolist()) == [1, 2, 3, 4]
    assert scores.token.argsort()[:2].tolist() == costs.token.argsort()[:2].tolist()


def test_a_score_costs_what_it_says(case):
    units = [int(HOLES.token.sum()), int(HOLES.piece.sum())]
    for score in SCORES:
        asked = probe(case, score.levels)
        score.score(asked)
        expected = score.passes(units[: len(score.levels)])
        if score.name == "shapley":
            assert asked.passes.forward <= expected.forward == sum(most_subsets(count, 16) for count in units)
        else:
            assert asked.passes == expected, score.name


def test_a_level_that_is_not_asked_for_costs_nothing_and_is_zero(case):
    for score in (LeaveOneOut(), Elimination()):
        asked = probe(case, ("token",))
        assert score.score(asked).piece.abs().max() == 0
        assert asked.passes == score.passes([int(HOLES.token.sum())])


def test_scores_of_every_round_are_the_same_through_a_probe(case):
    from prunekit.engine.gradient_scores import all_scores, scoring_batches

    _, bone, ticket, rows = case
    (by_kind,) = all_scores([ticket], bone, scoring_batches(bone, rows))
    for score in ROUND_SCORES:
        alone = score.score(probe(case))
        naive.close(alone.token[HOLES.token], by_kind[score.name].token[HOLES.token])
        naive.close(alone.piece[HOLES.piece], by_kind[score.name].piece[HOLES.piece])


def test_looking_at_attention_leaves_what_a_model_shows_as_it_was():
    bone = tiny.copied(tiny.frozen("gpt2"))
    config = bone.model.config
    for shows in (True, False):
        config._attn_implementation, config.output_attentions = "eager", shows
        TicketProbe(tiny.ticket(bone), bone, tiny.encoded(bone, tiny.examples(2))).attention()
        assert (config._attn_implementation, config.output_attentions) == ("eager", shows)
