from dataclasses import replace

import naive
import pytest
import tiny
import torch
from tiny import logits

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.models import Encoded
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example

ENCODERS = tiny.ENCODERS


def test_fixed_choices_are_rows_of_the_head_and_own_ones_join_the_text():
    bone = tiny.frozen("bert")
    fixed = bone.layout(Encoded(1, (7, 8, 9), ((5,), (6,)), 1), every_choice=False)
    assert (fixed.inputs, fixed.targets, fixed.gold) == ([(7, 8, 9)], [(), ()], 1)
    own = bone.layout(Encoded(1, (7, 8, 9), ((5,), (6, 4)), 1, own_choices=True), every_choice=False)
    assert own.inputs == [(7, 8, 5, 9), (7, 8, 6, 4, 9)]


def test_own_answers_have_no_special_tokens_and_fixed_ones_no_tokens_at_all():
    bone = tiny.frozen("bert")
    example = Example(0, "{x} :", {"x": "w1"}, ("very bad", "good"), (0,))
    (row,) = bone.encode([example], own_choices=True, prompt_tokens=4)
    assert row.text == tuple(bone.tokenizer.convert_tokens_to_ids(["[CLS]", "w1", ":", "[SEP]"]))
    assert row.choices[0] == tuple(bone.tokenizer.convert_tokens_to_ids(["very", "bad"]))
    (fixed,) = bone.encode([example], own_choices=False, prompt_tokens=4)
    assert fixed.choices == ((), ())


def test_a_ticket_without_a_head_is_refused():
    bone = tiny.frozen("bert")
    with pytest.raises(ConfigError, match="head"):
        logits(bone, tiny.encoded(bone, tiny.examples(1)), replace(tiny.ticket(bone), head=None))


def test_the_prompt_stands_behind_cls_by_default():
    assert [tiny.frozen(kind).position for kind in ENCODERS] == ["after-cls"] * 2


@pytest.mark.parametrize("kind", ENCODERS)
def test_first_on_request_is_read_at_row_zero_through_the_pooler(kind):
    bone = tiny.frozen(kind, position="first")
    ticket = tiny.ticket(bone)
    rows = tiny.encoded(bone, tiny.examples(5))
    found = logits(bone, rows, ticket)[0]
    with torch.no_grad():
        wanted = [naive.choice_scores(kind, bone, ticket.state["values"], row, ticket.head)[0] for row in rows]
    assert (found - torch.stack(wanted)).abs().max() <= 1e-5 * found.abs().max()
    assert (found - logits(tiny.frozen(kind), rows, ticket)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ENCODERS)
def test_first_members_of_different_lengths_are_read_at_their_own_first_row(kind):
    bone = tiny.frozen(kind, position="first")
    rows = tiny.encoded(bone, tiny.examples(4))
    cohort = [tiny.ticket(bone), replace(tiny.ticket(bone, seed=1), mask=tiny.masked([False, True, False, True]))]
    together = logits(bone, rows, *cohort)
    for position, ticket in enumerate(cohort):
        assert (together[position] - logits(bone, rows, ticket)[0]).abs().max() <= 1e-5 * together.abs().max()


def test_without_a_pooler_first_reads_the_bare_state():
    bone = tiny.frozen("bert", position="first")
    bone.model.pooler = None
    ticket = tiny.ticket(bone)
    (row,) = tiny.encoded(bone, tiny.examples(1))
    embeds = torch.cat([ticket.state["values"], bone.embed(torch.tensor(row.text))])[None]
    with torch.no_grad():
        state = bone.model(inputs_embeds=embeds).last_hidden_state[0, 0]
    wanted = state @ ticket.head["weight"].t() + ticket.head["bias"]
    assert (logits(bone, [row], ticket)[0, 0] - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_a_zero_head_answers_the_same_everywhere():
    bone = tiny.frozen("bert")
    found = logits(bone, tiny.encoded(bone, tiny.examples(3)), replace(tiny.ticket(bone), head=bone.new_head(2)))
    assert found.abs().max() == 0


@pytest.fixture
def counted():
    """An encoder, and how many rows went through it in each forward pass."""
    bone, rows = tiny.frozen("bert"), []
    bone.model.register_forward_hook(lambda module, given, made: rows.append(len(made.last_hidden_state)))
    return bone, rows


def test_what_heads_read_of_frozen_prompts_is_made_once(counted):
    bone, went = counted
    rows = tiny.encoded(bone, tiny.examples(6))
    cohort = [tiny.ticket(bone, seed=seed) for seed in range(2)]
    plain = logits(bone, rows, *cohort)
    went.clear()
    with bone.caching_states():
        first = logits(bone, rows, *cohort)
        again = logits(bone, rows[3:], cohort[1])  # others beside it, so other padding
        assert went == [12]
        logits(bone, [replace(rows[0], text=rows[0].text[:-1])], cohort[1])
        logits(bone, rows, tiny.ticket(bone, seed=2))
        logits(bone, rows, replace(cohort[0], mask=tiny.masked([False, True, False, True])))
        assert went == [12, 1, 6, 6]
    assert torch.equal(first, plain)
    assert torch.equal(again[0], plain[1, 3:])
    logits(bone, rows, *cohort)
    assert went[-1] == 12  # and forgotten


def test_what_moves_with_a_method_or_an_example_is_not_remembered(counted):
    bone, went = counted
    rows = tiny.encoded(bone, tiny.examples(3))
    prompts = prompt_batch([Member(tiny.ticket(bone))])
    batch = bone.batch([rows], every_choice=True)
    with bone.caching_states(), torch.no_grad():
        for one in (prompts.per_example(3), replace(prompts, embed_input=lambda embedded, mask: embedded)):
            went.clear()
            assert torch.equal(bone.logits(one, batch), bone.logits(one, batch))
            assert went == [3, 3]
