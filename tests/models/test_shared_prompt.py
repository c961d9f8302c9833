"""A prompt in front of a decoder's texts that is read once for all of them, held against single rows of the model."""

from dataclasses import replace

import architectures
import naive
import pytest
import tiny
import torch
from naive import close

from prunekit.engine import memory
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.gradient_scores import gradient_scores
from prunekit.engine.parts import cut_sizes, in_parts
from prunekit.engine.train import train
from prunekit.models import Encoded, base, shared_prompt, wrap
from prunekit.models.decoder import Decoder

FULL = tiny.masked([True] * 5)
HOLES = tiny.masked([False, True, True, False, True], drop=[(1, 1), (4, 0)])
TAIL = tiny.masked([False, False, False, False, True])
NOTHING = tiny.masked([False] * 5)


@pytest.fixture(autouse=True)
def free_passes(monkeypatch):
    """A pass costs nothing, so that even tiny models read a prompt once."""
    monkeypatch.setattr(base, "_READING", 1)
    monkeypatch.setattr(base, "_STARTING", 0)


@pytest.fixture
def passes(monkeypatch):
    """How many times prompts were read for texts behind them."""
    calls = []
    read = Decoder._behind_prompts
    monkeypatch.setattr(Decoder, "_behind_prompts", lambda *arguments: calls.append(0) or read(*arguments))
    return calls


def rows_of(choices, count=6, length=3):
    """Examples of unequal texts, the longest beyond a window of eight."""
    texts = [tuple(5 + (7 * index + 3 * place) % 38 for place in range(length + 2 * index)) for index in range(count)]
    return [Encoded(index, text, choices, index % len(choices)) for index, text in enumerate(texts)]


def cohort(bone, masks=(FULL, HOLES, TAIL), dropped_as="remove", dtype=torch.float32):
    return [
        replace(tiny.ticket(bone, tokens=5, seed=seed, dropped_as=dropped_as, dtype=dtype), mask=mask)
        for seed, mask in enumerate(masks)
    ]


def losses(bone, tickets, rows):
    members = [Member(ticket) for ticket in tickets]
    answered = bone.losses(prompt_batch(members), bone.batch([rows], every_choice=False))
    answered.sum().backward()
    return answered.detach(), [member.masked.prompt.values.grad for member in members]


def single(kind, bone, ticket, rows):
    """Losses [B] and the gradient [P, H] of their sum: one row at a time, by the model alone."""
    values = ticket.state["values"].clone().requires_grad_()
    prompt, there = naive.slots(replace(ticket, state={"values": values}))
    hidden = None if bool(there.all()) else there
    answered = torch.stack([naive.loss(kind, bone, prompt, row, there=hidden) for row in rows])
    (gradient,) = torch.autograd.grad(answered.sum(), values)
    return answered.detach(), gradient


@pytest.mark.parametrize("choices", [((5,), (6,)), ((7, 8, 9), (6, 5))], ids=["words", "phrases"])
@pytest.mark.parametrize("kind", tiny.by_day(architectures.DECODERS, architectures.BY_DAY))
def test_losses_and_gradients_are_those_of_single_rows(kind, choices, passes):
    bone, rows = architectures.frozen(kind), rows_of(choices)
    passes.clear()
    tickets = cohort(bone)
    answered, gradients = losses(bone, tickets, rows)
    assert len(passes) == bone.shares_prompts
    for member, ticket in enumerate(tickets):
        wanted, gradient = single(kind, bone, ticket, rows)
        close(answered[member], wanted)
        close(gradients[member], gradient, 3e-5)


@pytest.mark.parametrize("dropped_as", ["hide", "zero"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt"])
def test_what_is_dropped_is_hidden_from_the_texts_too(kind, dropped_as, passes):
    bone, rows = tiny.frozen(kind), rows_of(((7, 8, 9), (6,)))
    (ticket,) = cohort(bone, [HOLES], dropped_as)
    passes.clear()
    answered, gradients = losses(bone, [ticket], rows)
    assert len(passes) == 1
    wanted, gradient = single(kind, bone, ticket, rows)
    close(answered[0], wanted)
    close(gradients[0], gradient, 3e-5)


def test_which_decoders_share():
    shares = {kind: architectures.frozen(kind).shares_prompts for kind in architectures.DECODERS}
    assert [kind for kind, does in shares.items() if not does] == []
    assert not any(getattr(tiny.frozen(kind), "shares_prompts", False) for kind in ("t5", "bert"))
    assert not tiny.frozen("llama", position="suffix").shares_prompts
    assert not tiny.frozen("llama-kv").shares_prompts


def test_a_member_without_any_token_beside_others():
    bone, rows = tiny.frozen("llama"), rows_of(((5,), (6,)))
    answered, _ = losses(bone, cohort(bone, (NOTHING, FULL)), rows)
    with torch.no_grad():
        bare = bone.losses(bone.no_prompt(), bone.batch([rows], every_choice=False))
    close(answered[0], bare[0])


@pytest.mark.parametrize("lost", ["keys", "values"])
def test_a_cache_that_keeps_no_gradient_is_noticed(lost, monkeypatch):
    update = shared_prompt.PromptLayer.update

    def without_history(layer, *arguments):
        states = update(layer, *arguments)
        setattr(layer, lost, getattr(layer, lost).detach())
        return states

    monkeypatch.setattr(shared_prompt.PromptLayer, "update", without_history)
    assert not wrap(tiny.model("llama"), tiny.tokenizer("llama")).shares_prompts


def test_a_model_that_fails_behind_its_prompt_reads_whole_rows(monkeypatch):
    def fails(layer, *arguments):
        raise TypeError("keys are not kept")

    monkeypatch.setattr(shared_prompt.PromptLayer, "update", fails)
    bone = wrap(tiny.model("llama"), tiny.tokenizer("llama"))
    assert not bone.shares_prompts
    losses(bone, cohort(bone), rows_of(((5,), (6,))))


def test_training_is_that_of_whole_rows(passes):
    bone = tiny.frozen("llama", dtype=torch.float64)
    tickets = cohort(bone, (FULL, HOLES), dtype=torch.float64)
    data, plan = tiny.training_data(bone, 9, 5), tiny.plan(train_steps=3, evaluate_every=3)
    passes.clear()
    shared = train(tickets, bone, data, plan)
    assert passes
    with bone.reading_whole_rows():
        passes.clear()
        whole = train(tickets, bone, data, plan)
        assert not passes
    for read_once, row_by_row in zip(shared, whole, strict=True):
        moved = read_once.last.values.state["values"] - row_by_row.last.values.state["values"]
        assert moved.abs().max() < 1e-12


def test_layers_that_are_computed_again_give_the_same_gradient(passes):
    bone, rows = tiny.frozen("llama", dtype=torch.float64), rows_of(((5,), (6,)))
    tickets = cohort(bone, dtype=torch.float64)
    kept = losses(bone, tickets, rows)
    memory.recompute_activations(bone)
    passes.clear()
    again = losses(bone, tickets, rows)
    assert len(passes) == 1
    assert torch.equal(kept[0], again[0])
    for first, second in zip(kept[1], again[1], strict=True):
        assert (first - second).abs().max() <= 1e-12 * first.abs().max()


def test_scores_and_dropout_take_whole_rows(passes):
    bone, rows = tiny.frozen("gpt2"), rows_of(((5,), (6,)))
    tickets = cohort(bone)
    passes.clear()
    gradient_scores(tickets, bone, [bone.batch([rows], every_choice=False)])
    bone.model.train()
    losses(bone, tickets, rows)
    assert not passes


def test_less_is_kept_for_the_backward_pass():
    bone = tiny.frozen("llama")
    (ticket,), rows = cohort(bone, [FULL]), rows_of(((5,), (6,)))
    shared = memory._kept_bytes(ticket, bone, rows)
    with bone.reading_whole_rows():
        assert shared < memory._kept_bytes(ticket, bone, rows)


def test_what_an_update_of_a_few_rows_keeps_is_counted_however_they_are_read():
    """One row is read whole where two would share its prompt."""
    bone = tiny.frozen("llama")
    (ticket,), rows = cohort(bone, [FULL]), rows_of(((5,), (6,)))
    assert (bone.tokens_spared(1, 5), bone.tokens_spared(2, 5)) == (0, 4)
    counted = [memory.activation_bytes(ticket, bone, rows, size) for size in (1, 2, 3)]
    longest, shortest = rows[-1], rows[0]
    taken = [[longest], [longest, shortest], [longest, shortest, longest]]
    for size, kept in zip(counted, taken, strict=True):
        parts = in_parts([[longest] * len(kept)], bone, 5)
        assert size == memory._kept_bytes(ticket, bone, kept[: len(parts[0][0])])


def test_parts_are_cut_by_what_a_prompt_that_is_read_once_costs(monkeypatch):
    longest = [10, 10, 11, 30, 30, 31]
    assert cut_sizes(longest, 1, 8) == [3, 3]
    assert cut_sizes(longest, 1, 8, lambda rows: 60 * (rows - 1)) == [6]  # the prompt would be read once more
    monkeypatch.setattr(base, "_READING", 40)
    bone = tiny.frozen("llama")
    assert [bone.tokens_spared(rows, 20) for rows in (1, 2, 3, 4, 16)] == [0, 0, 0, 20, 260]
    with bone.reading_whole_rows():
        assert bone.tokens_spared(16, 20) == 0
    assert len(in_parts([tiny.encoded(bone, tiny.examples(8))], bone, 20)) == 1
