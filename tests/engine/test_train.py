import math
from dataclasses import replace

import naive
import pytest
import tiny
import torch

from prunekit.engine.order import epoch_batches
from prunekit.engine.train import TrainingData, train


def metrics(values):
    """A measure that tells the given numbers, one a call."""
    left = iter(values)
    return lambda chosen: {"accuracy": next(left), "other": 0.0}


def scripted(bone, values, count=8):
    return replace(tiny.training_data(bone, count), measure=metrics(values))


def numbers(made, split, metric):
    return [(entry.step, entry.value) for entry in made.log if (entry.split, entry.metric) == (split, metric)]


# ---- the update


@pytest.mark.parametrize("kind", ["t5", "gpt2", "bert"])
def test_training_equals_a_loop_written_by_hand(kind):
    bone = tiny.frozen(kind, dtype=torch.float64)
    ticket, data = tiny.ticket(bone, dtype=torch.float64), tiny.training_data(bone, 9)
    plan = tiny.plan(train_steps=6, evaluate_every=6, warmup_fraction=0.5, clip_norm=0.2, weight_decay=0.1)
    (made,) = train([ticket], bone, data, plan)
    values = ticket.state["values"].clone().requires_grad_()
    head = {name: value.clone().requires_grad_() for name, value in (ticket.head or {}).items()}
    groups = [{"params": [values], "rate": plan.learning_rate}]
    groups += [{"params": list(head.values()), "rate": plan.head_learning_rate}] if head else []
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    lengths = [row.length for row in data.train]
    order = [places for epoch in range(3) for places in epoch_batches(lengths, 4, ticket.seed, ticket.round, epoch)]
    for step in range(6):
        optimizer.zero_grad()
        batch = [data.train[place] for place in order[step]]
        sum(naive.loss(kind, bone, values, row, head or None) for row in batch).div(len(batch)).backward()
        torch.nn.utils.clip_grad_norm_([values, *head.values()], 0.2)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * min(1.0, (step + 1) / 3)
        optimizer.step()
    assert (made.last.values.state["values"] - values.detach()).abs().max() < 1e-6
    for name, value in head.items():
        assert (made.last.values.head[name] - value.detach()).abs().max() < 1e-6


def test_dropped_cells_never_reach_the_model_whatever_training_does():
    bone = tiny.frozen("gpt2")
    mask = tiny.masked([True, False, True, True], drop=[(0, 1)])
    ticket = replace(tiny.ticket(bone), mask=mask)
    other = {"values": torch.where(mask.expand(tiny.WIDTH), ticket.state["values"], torch.tensor(9.0))}
    made = [
        train([one], bone, tiny.training_data(bone, 8), tiny.plan())[0]
        for one in (ticket, replace(ticket, state=other))
    ]
    kept = [one.last.values.state["values"][mask.expand(tiny.WIDTH)] for one in made]
    assert torch.equal(*kept)


# ---- what is kept


def test_the_best_evaluation_is_kept_and_ties_go_to_the_lower_loss():
    bone = tiny.frozen("gpt2")
    data = scripted(bone, [0.9, 0.5, 0.7, 0.7, 0.6])  # at steps 0, 2, 4, 6, 8
    (made,) = train([tiny.ticket(bone)], bone, data, tiny.plan(train_steps=8, evaluate_every=2), snapshots=(4, 6, 8))
    losses = dict(numbers(made, "validation", "loss"))
    assert made.best.step == min((4, 6), key=losses.__getitem__) == 6
    assert made.last.step == made.steps == 8
    assert torch.equal(made.best.values.state["values"], made.snapshots[6].state["values"])
    assert torch.equal(made.last.values.state["values"], made.snapshots[8].state["values"])
    assert numbers(made, "validation", "accuracy") == [(0, 0.9), (2, 0.5), (4, 0.7), (6, 0.7), (8, 0.6)]
    assert made.best.metrics == {"accuracy": 0.7, "other": 0.0}


def test_the_start_is_shown_but_never_kept():
    bone = tiny.frozen("gpt2")
    (made,) = train([tiny.ticket(bone)], bone, scripted(bone, [1.0, 0.0]), tiny.plan(train_steps=2, evaluate_every=2))
    assert made.best.step == 2


def test_the_last_step_is_evaluated_even_off_the_beat():
    bone = tiny.frozen("gpt2")
    (made,) = train([tiny.ticket(bone)], bone, tiny.training_data(bone), tiny.plan(train_steps=5, evaluate_every=3))
    assert [step for step, _ in numbers(made, "validation", "loss")] == [0, 3, 5]
    assert [step for step, _ in numbers(made, "train", "loss")] == [3, 5]


def test_the_log_holds_the_mean_training_loss_since_the_last_evaluation():
    bone = tiny.frozen("gpt2")
    data, plan = tiny.training_data(bone, 4), tiny.plan(train_steps=1, evaluate_every=1, batch_size=4)
    (made,) = train([tiny.ticket(bone)], bone, data, plan)
    ((_, start), _) = numbers(made, "validation", "loss")
    assert numbers(made, "train", "loss") == [(1, pytest.approx(start, rel=1e-5))]


def test_the_kept_checkpoint_carries_its_evaluation():
    bone = tiny.frozen("gpt2")
    data = tiny.training_data(bone, 8)
    (made,) = train([tiny.ticket(bone)], bone, data, tiny.plan())
    assert made.last.evaluation.losses.shape == (8,)
    assert data.measure(made.last.evaluation.chosen.tolist()) == made.last.metrics


def test_snapshots_are_copies_at_the_asked_steps():
    bone = tiny.frozen("bert")
    ticket = tiny.ticket(bone)
    (made,) = train([ticket], bone, tiny.training_data(bone), tiny.plan(train_steps=4), snapshots=(0, 2, 99))
    assert sorted(made.snapshots) == [0, 2]
    assert torch.equal(made.snapshots[0].state["values"], ticket.state["values"])
    assert torch.equal(made.snapshots[0].head["weight"], ticket.head["weight"])
    assert not torch.equal(made.snapshots[2].state["values"], made.last.values.state["values"])


def test_every_update_ticks():
    bone = tiny.frozen("gpt2")
    seen = []
    train([tiny.ticket(bone)], bone, tiny.training_data(bone, 4), tiny.plan(train_steps=3), tick=seen.append)
    assert seen == [1, 2, 3]


# ---- members that end early


def test_patience_stops_one_member_and_the_other_goes_on():
    bone = tiny.frozen("gpt2", dtype=torch.float64)
    cohort = [tiny.ticket(bone, seed=seed, dtype=torch.float64) for seed in range(2)]
    plan = tiny.plan(train_steps=10, evaluate_every=2, patience=2)
    # calls: both at steps 0, 2, 4, 6; then the second member alone at 8 and 10
    script = [0.0, 0.0, 0.5, 0.1, 0.4, 0.2, 0.4, 0.3, 0.4, 0.5]
    still, rising = train(cohort, bone, scripted(bone, script), plan)
    assert (still.steps, still.best.step, still.last.step) == (6, 2, 6)
    assert (rising.steps, rising.best.step) == (10, 10)
    assert still.diverged is rising.diverged is None
    (alone,) = train(cohort[1:], bone, scripted(bone, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]), plan)
    assert (rising.last.values.state["values"] - alone.last.values.state["values"]).abs().max() <= 1e-8


def test_when_all_have_stopped_nothing_more_is_done():
    bone = tiny.frozen("gpt2")
    seen = []
    plan = tiny.plan(train_steps=100, evaluate_every=1, patience=3)
    (made,) = train([tiny.ticket(bone)], bone, scripted(bone, [0.5] * 2 + [0.4] * 7), plan, tick=seen.append)
    assert (made.steps, seen[-1]) == (4, 4)


@pytest.mark.parametrize("kind", tiny.by_day(tiny.KINDS, ("t5", "gpt2", "bert")))
def test_a_member_of_nan_stops_at_once_and_leaves_the_other_alone(kind):
    bone = tiny.frozen(kind)
    good, bad = tiny.ticket(bone), tiny.ticket(bone, seed=1)
    bad = replace(bad, state={"values": torch.full_like(bad.state["values"], math.nan)})
    data, plan = tiny.training_data(bone, 8), tiny.plan(train_steps=5, evaluate_every=5)
    stopped, going = train([bad, good], bone, data, plan)
    assert "validation loss" in stopped.diverged
    assert "step 0" in stopped.diverged
    assert stopped.steps == 0
    (alone,) = train([good], bone, data, plan)
    found, wanted = going.last.values.flat(), alone.last.values.flat()
    assert going.diverged is None
    for name, value in wanted.items():
        assert (found[name] - value).abs().max() <= 1e-5 * value.abs().max()


def sabotaged(bone, monkeypatch, at, change):
    """From the `at`-th training batch on, `change` what member 0 (while there are two) gets as loss."""
    inner, calls = bone.losses, []

    def losses(soft, batch):
        made = inner(soft, batch)
        calls.append(1)
        return change(made, soft) if len(calls) == at and soft.members == 2 else made

    monkeypatch.setattr(bone, "losses", losses)


def with_nan(losses, soft):
    return torch.cat([losses[:1] * math.nan, losses[1:]])


def with_a_nan_gradient(losses, soft):
    slope = (soft.values[0].sum() * 0).sqrt()  # 0, with an infinite slope times 0
    return torch.cat([losses[:1] + slope, losses[1:]])


@pytest.mark.parametrize(("change", "what"), [(with_nan, "training loss"), (with_a_nan_gradient, "gradient")])
def test_a_loss_or_gradient_that_turns_nan_stops_that_member_with_its_last_good_state(monkeypatch, change, what):
    bone = tiny.frozen("gpt2", dtype=torch.float64)
    cohort = [tiny.ticket(bone, seed=seed, dtype=torch.float64) for seed in range(2)]
    data, plan = tiny.training_data(bone, 8), tiny.plan(train_steps=8, evaluate_every=2)
    (alone,) = train(cohort[1:], bone, data, plan)
    sabotaged(bone, monkeypatch, 6, change)
    stopped, going = train(cohort, bone, data, plan, snapshots=(4, 5))
    assert what in stopped.diverged
    assert "nan at step 6" in stopped.diverged
    assert (stopped.steps, stopped.last.step) == (5, 4)
    assert torch.equal(stopped.last.values.state["values"], stopped.snapshots[4].state["values"])
    assert stopped.last.values.state["values"].isfinite().all()
    assert going.diverged is None
    assert going.steps == 8
    assert (going.last.values.state["values"] - alone.last.values.state["values"]).abs().max() <= 1e-8


def test_a_learning_rate_that_explodes_ends_with_a_reason_and_finite_values():
    bone = tiny.frozen("gpt2")
    plan = tiny.plan(train_steps=20, evaluate_every=1, learning_rate=1e30)
    (made,) = train([tiny.ticket(bone)], bone, tiny.training_data(bone, 8), plan)
    assert made.diverged is not None
    assert "step" in made.diverged
    assert made.steps < 20
    assert made.last.values.state["values"].isfinite().all()
    assert made.last.evaluation.losses.isfinite().all()


def test_a_validation_loss_of_one_infinite_example_is_noticed(monkeypatch):
    bone = tiny.frozen("gpt2")
    inner = bone.forward

    def forward(soft, batch):
        made = inner(soft, batch)
        made.losses[0, 0] = torch.inf
        return made

    monkeypatch.setattr(bone, "forward", forward)
    (made,) = train([tiny.ticket(bone)], bone, tiny.training_data(bone, 8), tiny.plan())
    assert made.diverged == "the validation loss became inf at step 0"


def test_lessons_and_plans_are_frozen():
    with pytest.raises(AttributeError):
        tiny.plan().train_steps = 3
    with pytest.raises(AttributeError):
        TrainingData([], [], lambda chosen: {}).train = []


def test_a_frozen_prompt_stays_and_only_the_head_learns():
    bone = tiny.frozen("bert")
    ticket = tiny.ticket(bone)
    (made,) = train([ticket], bone, tiny.training_data(bone), tiny.plan(train_prompt=False))
    assert torch.equal(made.last.values.state["values"], ticket.state["values"])
    assert not torch.equal(made.last.values.head["weight"], ticket.head["weight"])
    # the head moves as if the prompt had no gradient at all: none of it enters the norm that is clipped
    (free,) = train([ticket], bone, tiny.training_data(bone), tiny.plan(learning_rate=1e-12, clip_norm=0.01))
    (clipped,) = train([ticket], bone, tiny.training_data(bone), tiny.plan(train_prompt=False, clip_norm=0.01))
    assert not torch.equal(free.last.values.head["weight"], clipped.last.values.head["weight"])


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_cohort_in_parts_is_the_cohort(width):
    bone = tiny.frozen("gpt2", dtype=torch.float64)
    cohort = [tiny.ticket(bone, seed=seed, dtype=torch.float64) for seed in range(3)]
    whole, parts = (train(cohort, bone, tiny.training_data(bone), tiny.plan(), width=each) for each in (None, width))
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one.last.values.state["values"], other.last.values.state["values"], rtol=0, atol=1e-10)


def test_dropout_of_the_model_is_each_member_s_own_whoever_is_trained_beside_it():
    bone = tiny.frozen("t5")
    cohort = [tiny.ticket(bone, seed=seed) for seed in range(3)]
    plan = tiny.plan(train_steps=5, evaluate_every=5, model_dropout=True)
    together = train(cohort, bone, tiny.training_data(bone), plan)
    for ticket, made in zip(cohort, together, strict=True):
        (alone,) = train([ticket], bone, tiny.training_data(bone), plan)
        assert torch.allclose(made.last.values.state["values"], alone.last.values.state["values"], rtol=0, atol=1e-5)
    (without,) = train(cohort[:1], bone, tiny.training_data(bone), tiny.plan(train_steps=5, evaluate_every=5))
    assert not torch.allclose(without.last.values.state["values"], together[0].last.values.state["values"], atol=1e-2)


def test_who_is_culled_leaves_and_the_others_are_not_touched():
    bone = tiny.frozen("gpt2", dtype=torch.float64)
    cohort = [tiny.ticket(bone, seed=seed, dtype=torch.float64) for seed in range(3)]
    asked = []

    def cull(step, standings):
        asked.append((step, [one is None for one in standings]))
        return [1] if step == 10 else []

    made = train(cohort, bone, tiny.training_data(bone), tiny.plan(), cull=cull)
    alone = [train([one], bone, tiny.training_data(bone), tiny.plan())[0] for one in cohort]
    assert asked == [(10, [False] * 3), (20, [False, True, False])]
    assert [one.dropped_at for one in made] == [None, 10, None]
    assert [one.steps for one in made] == [20, 10, 20]
    for place in (0, 2):
        assert torch.allclose(
            made[place].last.values.state["values"], alone[place].last.values.state["values"], rtol=0, atol=1e-10
        )
