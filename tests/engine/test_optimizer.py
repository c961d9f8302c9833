import pytest
import tiny
import torch

from prunekit.engine.cohort import Member
from prunekit.engine.optimizer import MemberOptimizer


def test_the_learning_rate_warms_up_linearly_then_stays():
    member = Member(tiny.ticket(tiny.frozen("bert")))
    plan = tiny.plan(train_steps=50, warmup_fraction=0.06, learning_rate=0.3, head_learning_rate=0.003)
    optimizer = MemberOptimizer(member, plan)
    rates = []
    for done in range(5):
        for parameter in member.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step(done)
        rates.append([group["lr"] for group in optimizer.inner.param_groups])
    assert [prompt for prompt, _ in rates] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3])
    assert [head for _, head in rates] == pytest.approx([0.001, 0.002, 0.003, 0.003, 0.003])


def test_without_warmup_the_first_update_is_whole():
    member = Member(tiny.ticket(tiny.frozen("gpt2")))
    optimizer = MemberOptimizer(member, tiny.plan(warmup_fraction=0.0, learning_rate=0.3))
    member.masked.prompt.values.grad = torch.ones(4, tiny.WIDTH)
    optimizer.step(0)
    assert optimizer.inner.param_groups[0]["lr"] == 0.3


def test_adafactor_is_unfactored_and_moves_by_its_rate():
    member = Member(tiny.ticket(tiny.frozen("bert")))
    optimizer = MemberOptimizer(member, tiny.plan(optimizer="adafactor", learning_rate=0.3, warmup_fraction=0.0))
    before = member.masked.prompt.values.detach().clone()
    for parameter in member.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0)
    for state in optimizer.inner.state.values():
        assert "exp_avg_sq" in state
        assert not {"exp_avg_sq_row", "exp_avg_sq_col"} & set(state)
    moved = before - member.masked.prompt.values.detach()
    assert torch.allclose(moved, torch.full_like(moved, 0.3), atol=1e-4)


def test_sgd_moves_by_the_gradient_itself_and_has_no_statistics():
    member = Member(tiny.ticket(tiny.frozen("gpt2")))
    plan = tiny.plan(optimizer="sgd", learning_rate=0.3, warmup_fraction=0.0, weight_decay=0.01)
    optimizer = MemberOptimizer(member, plan)
    values = member.masked.prompt.values
    before, gradient = values.detach().clone(), torch.randn(values.shape)
    for step in range(2):
        values.grad = gradient.clone()
        expected = before - 0.3 * gradient - 0.3 * 0.01 * before  # decoupled decay is the same without momentum
        optimizer.step(step)
        assert torch.allclose(values.detach(), expected, atol=1e-6)
        before = values.detach().clone()
    assert not any(optimizer.inner.state.values())
