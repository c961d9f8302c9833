"""A cohort of a whole grid gives each cell what it gives alone (16 cells of a prompt of 4 x 4, so of 1 to 4 tokens)."""

from dataclasses import replace

import pytest
import tiny
import torch
from test_invariants import gradients

from prunekit.engine.cohort import Values
from prunekit.engine.train import train
from prunekit.pruning.lottery import Rewinding, Round, RoundResult
from prunekit.pruning.ratio_search import search_ratios
from prunekit.pruning.scores import Scores
from prunekit.support.seeding import generator

P, K = 4, 4


def cells(bone, dtype=torch.float32, dropped_as="remove"):
    """The tickets of the full grid of a dense ticket with random scores."""
    dense = tiny.ticket(bone, tokens=P, pieces=K, dtype=dtype)
    draw = generator("grid", 3)
    scores = Scores(torch.rand(P, generator=draw), torch.rand(P, K, generator=draw), 1)
    learned = RoundResult(Values(dense.state, dense.head), 0.5, scores, {})
    asked = {}

    def learn(tickets):
        asked.update(tickets)
        return {key: replace(learned, scores=None) for key in tickets}

    search_ratios(Round(0, (dense,), (learned,)), "full", learn, Rewinding("trained", dropped_as))
    assert sorted((keep.tokens, keep.pieces) for _, keep in asked) == tiny.pairs(range(1, 5), range(1, 5))
    return list(asked.values())


CASES = [*tiny.pairs(tiny.KINDS, ["remove"]), ("t5", "hide"), ("bart", "hide"), ("bert", "zero")]
BY_DAY = [*tiny.pairs(("t5", "bart", "gpt2", "bert"), ["remove"]), ("t5", "hide"), ("bert", "zero")]


@pytest.mark.parametrize(("kind", "dropped_as"), tiny.by_day(CASES, BY_DAY))
def test_first_step_gradients_are_those_of_a_cell_alone(kind, dropped_as):
    bone = tiny.frozen(kind)
    cohort = cells(bone, dropped_as=dropped_as)
    rows = [tiny.encoded(bone, tiny.examples(4), P)]  # all on the same examples
    together = gradients(bone, cohort, rows)
    for ticket, found in zip(cohort, together, strict=True):
        (alone,) = gradients(bone, [ticket], rows)
        assert len(alone) == len(found) == (3 if kind in tiny.ENCODERS else 1)  # the prompt, and a head's two
        # a head has one scale: the gradient of its bias is a sum that cancels, with the rounding of its summands
        scales = [float(alone[0].abs().max()), *[max(float(one.abs().max()) for one in alone[1:] or alone)] * 2]
        for one, wanted, scale in zip(found, alone, scales[: len(alone)], strict=True):
            assert float((one - wanted).abs().max()) <= 1e-5 * scale
        assert (found[0] != 0).any()
        assert (found[0][~ticket.mask.expand(tiny.WIDTH)] == 0).all()


@pytest.mark.slow  # the gate has the gradients above, and cohorts of three in test_invariants.py
@pytest.mark.parametrize(("kind", "width"), [("t5", None), ("bart", None), ("bert", 6)])
def test_after_twenty_steps_values_are_those_of_a_cell_alone(kind, width):
    bone = tiny.frozen(kind, dtype=torch.float64)
    cohort = cells(bone, torch.float64)
    data = tiny.training_data(bone, 8, tokens=P)
    plan = tiny.plan(evaluate_every=20, batch_size=2)
    together = train(cohort, bone, data, plan, width=width)  # a width cuts the grid, all of it trained as one
    for ticket, made in zip(cohort, together, strict=True):
        (alone,) = train([ticket], bone, data, plan)
        assert (made.steps, alone.steps) == (20, 20)
        found, wanted = made.last.values.flat(), alone.last.values.flat()
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert value.dtype == torch.float64
            assert float((found[name] - value).abs().max()) <= 1e-8, (name, ticket.mask.tokens)
        assert float((found["state.values"] - ticket.state["values"]).abs().max()) > 0.05
        assert made.last.metrics == alone.last.metrics
