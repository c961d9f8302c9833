import pytest
import tiny
import torch

from prunekit.models import Encoded
from prunekit.support.errors import ConfigError


def test_an_answer_ends_with_its_closing_token():
    bone = tiny.frozen("t5")
    good, close = bone.tokenizer.convert_tokens_to_ids(["good", "</s>"])
    (row,) = tiny.encoded(bone, tiny.examples(1))
    assert row.choices[0] == (good, close)


def test_the_text_is_one_row_for_all_choices():
    bone = tiny.frozen("t5")
    example = Encoded(3, (7, 8, 1), ((5, 1), (6, 1)), 1)
    every = bone.layout(example, every_choice=True)
    assert (every.inputs, every.targets, every.gold, every.index) == ([(7, 8, 1)], ((5, 1), (6, 1)), 1, 3)
    gold = bone.layout(example, every_choice=False)
    assert (gold.inputs, gold.targets, gold.gold) == ([(7, 8, 1)], ((6, 1),), 0)


def test_decoder_inputs_are_the_answer_behind_the_start_token():
    bone = tiny.frozen("bart")
    assert bone._shifted(torch.tensor([[5, 6, 1], [7, 1, 0]])).tolist() == [[1, 5, 6], [1, 7, 1]]


@pytest.mark.parametrize(("kind", "together"), [("t5", "batch"), ("bart", "rows")])
def test_only_relative_positions_take_padded_members(kind, together):
    bone = tiny.frozen(kind)
    assert bone.traits.together == together
    assert not bone.answers_by_head


def test_the_text_is_read_once_for_all_choices_by_encoder_and_decoder(monkeypatch):
    bone = tiny.frozen("t5")
    rows = tiny.encoded(bone, tiny.examples(3, choices=("good", "bad", "very")))
    seen = []
    encoder = bone.model.get_encoder()
    inner = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda **more: seen.append(len(more["inputs_embeds"])) or inner(**more))
    keys = bone.model.decoder.block[0].layer[1].EncDecAttention.k
    keys.register_forward_hook(lambda module, given, made: seen.append(len(made)))  # what the decoder makes of a text
    assert tiny.logits(bone, rows, tiny.ticket(bone)).shape == (1, 3, 3)
    assert seen == [3, 3]


def test_a_model_that_keeps_no_keys_and_values_is_refused_by_name(monkeypatch):
    bone = tiny.frozen("t5")
    rows = tiny.encoded(bone, tiny.examples(1, choices=("good", "bad", "very")))
    monkeypatch.setattr(bone.model, "forward", lambda encoder_outputs, attention_mask, decoder_input_ids: None)
    with pytest.raises(ConfigError, match="T5ForConditionalGeneration keeps no keys and values"):
        tiny.logits(bone, rows, tiny.ticket(bone))


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_answers_that_share_a_text_are_scored_as_each_alone(kind):
    """Of one, two and four tokens, so that some are padded; in a cohort of two."""
    bone = tiny.frozen(kind)
    cohort = [tiny.ticket(bone, seed=seed) for seed in (0, 1)]
    answers = ((5,), (6, 1), (7, 8, 5, 1))
    texts = ((7, 8, 1), (9, 5, 6, 8, 1))
    rows = [Encoded(position, text, answers, 0) for position, text in enumerate(texts)]
    together = tiny.logits(bone, rows, *cohort)
    for position, answer in enumerate(answers):
        rows = [Encoded(number, text, (answer,), 0) for number, text in enumerate(texts)]
        alone = tiny.logits(bone, rows, *cohort)
        torch.testing.assert_close(together[..., position], alone[..., 0], rtol=1e-5, atol=1e-6)
