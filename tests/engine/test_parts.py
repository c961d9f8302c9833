from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import tiny
import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.gradient_scores import gradient_scores, scoring_batches
from prunekit.engine.parts import cut_sizes, in_parts
from prunekit.engine.train import train
from prunekit.models import base


@pytest.fixture
def free_passes(monkeypatch):
    """A pass costs nothing, so that even tiny models read short and long rows apart."""
    monkeypatch.setattr(base, "_READING", 1)
    monkeypatch.setattr(base, "_STARTING", 0)


def every_cut(count):
    places = range(1, count)
    cuts = (cut for size in range(count) for cut in combinations(places, size))
    return [[end - start for start, end in pairwise((0, *cut, count))] for cut in cuts]


def cost(sizes, longest, pass_tokens):
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return sum(size * longest[end - 1] + pass_tokens for size, end in zip(sizes, ends, strict=True))


@pytest.mark.parametrize("pass_tokens", [3, 20, 200])
def test_rows_are_cut_where_padding_and_passes_cost_least(pass_tokens):
    draw = torch.Generator().manual_seed(pass_tokens)
    for _ in range(5):
        longest = sorted(torch.randint(2, 30, (7,), generator=draw).tolist())
        allowed = [
            sizes
            for sizes in every_cut(7)
            if all(
                size == 1 or 2 * size * longest[end - 1] <= 20 * pass_tokens
                for size, end in zip(sizes, [sum(sizes[: n + 1]) for n in range(len(sizes))], strict=True)
            )
        ]
        cheapest = min(cost(sizes, longest, pass_tokens) for sizes in allowed)
        assert cost(cut_sizes(longest, 2, pass_tokens), longest, pass_tokens) == cheapest


def test_however_long_texts_are_few_tokens_are_read_at_once():
    sizes = cut_sizes([250] * 16, members=1, pass_tokens=48)
    assert sum(sizes) == 16
    assert max(sizes) * 250 <= 20 * 48


def test_a_small_model_reads_an_update_at_once():
    bone = tiny.frozen("gpt2")
    rows = [tiny.encoded(bone, tiny.examples(16))]
    assert in_parts(rows, bone, 4) == [rows]


@pytest.mark.usefixtures("free_passes")
@pytest.mark.parametrize("kind", ["t5", "gpt2", "bert"])
def test_an_update_in_parts_is_that_of_the_whole_batch(kind, monkeypatch):
    bone = tiny.frozen(kind, dtype=torch.float64)
    cohort = [replace(tiny.ticket(bone, dtype=torch.float64), seed=seed) for seed in (0, 1)]
    data, plan = tiny.training_data(bone, 9), tiny.plan(train_steps=3, evaluate_every=3)
    rows = [data.train[:4], data.train[4:8]]
    cut = in_parts(rows, bone, 4)
    assert len(cut) > 1
    assert [sorted(e.index for part in cut for e in part[m]) for m in (0, 1)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    in_pieces = train(cohort, bone, data, plan)
    monkeypatch.setattr(base, "_STARTING", 10**9)
    assert in_parts(rows, bone, 4) == [rows]
    for piecewise, whole in zip(in_pieces, train(cohort, bone, data, plan), strict=True):
        moved = piecewise.last.values.state["values"] - whole.last.values.state["values"]
        assert moved.abs().max() < 1e-12
        losses = [[entry.value for entry in made.log if entry.split == "train"] for made in (piecewise, whole)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-12)


@pytest.mark.usefixtures("free_passes")
def test_who_diverges_in_a_part_leaves_the_others_as_they_would_be_alone():
    bone = tiny.frozen("gpt2", dtype=torch.float64)
    sound, data = tiny.ticket(bone, dtype=torch.float64), tiny.training_data(bone, 9)
    broken = replace(sound, state={"values": torch.full_like(sound.state["values"], float("nan"))})
    plan = tiny.plan(train_steps=2, evaluate_every=2)
    alone = train([sound], bone, data, plan)[0]
    beside, stopped = train([sound, broken], bone, data, plan)
    assert stopped.diverged
    assert (beside.last.values.state["values"] - alone.last.values.state["values"]).abs().max() < 1e-12


def test_behind_cached_texts_only_prompt_and_answer_are_counted():
    bone = tiny.frozen("gpt2", position="suffix")
    assert bone.caches_texts
    (example, *_) = tiny.encoded(bone, tiny.examples(1))
    assert bone.tokens_read(example, 5) == 5 + example.length - len(example.text)


@pytest.mark.usefixtures("free_passes")
@pytest.mark.parametrize("kind", ["t5", "gpt2", "bert"])
def test_scores_and_evaluations_of_few_tokens_at_a_time_are_those_of_many(kind, monkeypatch):
    bone = tiny.frozen(kind, dtype=torch.float64)
    ticket, rows = tiny.ticket(bone, dtype=torch.float64), tiny.encoded(bone, tiny.examples(12))
    prompts = prompt_batch([Member(ticket)])

    def results():
        with torch.no_grad():
            evaluation = evaluate(prompts, bone, rows)
        (scores,) = gradient_scores([ticket], bone, batches := list(scoring_batches(bone, rows)))
        return len(batches), evaluation.losses, scores.piece

    cut, *piecewise = results()
    monkeypatch.setattr(base, "_STARTING", 10**9)
    whole, *at_once = results()
    assert cut > whole
    for few, many in zip(piecewise, at_once, strict=True):
        assert torch.allclose(few, many, atol=1e-7)
