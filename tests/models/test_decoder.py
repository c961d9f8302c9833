import pytest
import tiny
import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.models import Encoded
from prunekit.tasks import Example

DECODERS = ("gpt2", "llama", "opt", "neox")


def test_an_answer_is_what_it_adds_behind_the_text():
    bone = tiny.frozen("llama")  # its tokenizer puts <s> before a text, which is no part of an answer
    (row,) = tiny.encoded(bone, [Example(0, "{x} :", {"x": "w1"}, ("very bad", "good"), (0,))])
    assert row.text == tuple(bone.tokenizer.convert_tokens_to_ids(["<s>", "w1", ":"]))
    assert row.choices[0] == tuple(bone.tokenizer.convert_tokens_to_ids(["very", "bad"]))


def test_one_token_answers_share_a_row():
    row = tiny.frozen("gpt2").layout(Encoded(2, (7, 8), ((5,), (6,)), 1), every_choice=True)
    assert (row.inputs, row.targets, row.start, row.gold) == ([(7, 8)], ((5,), (6,)), [1], 1)


def test_longer_answers_join_the_text_but_for_their_last_token():
    example = Encoded(2, (7, 8), ((5,), (6, 9, 4)), 1)
    bone = tiny.frozen("gpt2")
    row = bone.layout(example, every_choice=True)
    assert (row.inputs, row.start) == ([(7, 8), (7, 8, 6, 9)], [1, 1])
    gold = bone.layout(example, every_choice=False)
    assert (gold.inputs, gold.targets, gold.start, gold.gold) == ([(7, 8, 6, 9)], ((6, 9, 4),), [1], 0)


@pytest.mark.parametrize("kind", DECODERS)
def test_output_logits_are_read_at_the_answer_alone(kind):
    bone = tiny.frozen(kind)
    assert bone.traits.together == "batch"
    assert bone._plain_output
    rows = tiny.encoded(bone, tiny.examples(4, choices=("good w3", "bad")))
    batch = bone.batch([rows], every_choice=True)
    prompts = prompt_batch([Member(tiny.ticket(bone))])
    with torch.no_grad():
        quick = bone.forward(prompts, batch)
        bone._plain_output = False  # as for a model that scales or caps its logits
        whole = bone.forward(prompts, batch)
    assert (quick.logits - whole.logits).abs().max() <= 1e-6 * whole.logits.abs().max()


def test_a_model_that_scales_its_logits_is_noticed():
    bone = tiny.frozen("gpt2")
    inner = bone.model.forward

    def capped(*args, **more):
        output = inner(*args, **more)
        output.logits = output.logits.tanh()
        return output

    bone.model.forward = capped
    assert not bone._output_is_plain()
