"""Position prefix-kv on tiny decoders, held against attention written out by hand (naive_prefix.py)."""

from dataclasses import replace

import naive_prefix
import pytest
import tiny
import torch
from naive import close

from prunekit.engine.ablation import leave_one_out
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.gradient_scores import gradient_scores
from prunekit.models.generation import generate
from prunekit.models.prefix import CacheShape, from_peft, to_peft
from prunekit.pruning.scores import Signed
from prunekit.support.errors import ConfigError
from prunekit.tasks.decoding import Decoding

KINDS = ("gpt2", "llama", "opt", "neox")
DROPPED = ("remove", "hide", "zero")
HOLES = tiny.masked([True, False, True, True, False], drop=[(0, 1), (3, 0), (3, 3)])


def ticket(bone, *, pieces=4, mask=None, **more):
    made = tiny.ticket(bone, tokens=5, pieces=pieces, **more)
    return made if mask is None else replace(made, mask=mask)


def answers(bone, rows, *tickets):
    with torch.no_grad():
        prompts = prompt_batch([Member(one) for one in tickets])
        return bone.logits(prompts, bone.batch([rows], every_choice=True))


@pytest.mark.parametrize("dropped_as", DROPPED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_pruned_prefix_answers_as_attention_by_hand_alone_and_beside_a_longer_one(kind, dropped_as):
    bone = tiny.frozen(kind, position="prefix-kv")
    rows = tiny.encoded(bone, tiny.examples(5, choices=("good w3 w9", "bad")), 5)
    full, pruned = ticket(bone, seed=1, dropped_as=dropped_as), ticket(bone, dropped_as=dropped_as, mask=HOLES)
    wanted = torch.stack([naive_prefix.answers(kind, pruned, row) for row in rows])
    close(answers(bone, rows, pruned)[0], wanted)
    both = answers(bone, rows, pruned, full)
    close(both[0], wanted)
    close(both[1], torch.stack([naive_prefix.answers(kind, full, row) for row in rows]))


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_layers_and_heads_are_hidden_where_the_mask_says(pieces):
    bone = tiny.frozen("llama", position="prefix-kv")
    rows = tiny.encoded(bone, tiny.examples(3), 5)
    mask = tiny.masked([True, True, False, True, True], pieces, drop=[(1, 0), (4, pieces - 1)] if pieces > 1 else [])
    hidden = ticket(bone, pieces=pieces, dropped_as="hide", mask=mask)
    close(answers(bone, rows, hidden)[0], torch.stack([naive_prefix.answers("llama", hidden, row) for row in rows]))
    removed, zeroed = (answers(bone, rows, replace(hidden, dropped_as=way)) for way in ("remove", "zero"))
    close(removed, answers(bone, rows, hidden))  # the same function without the slots
    assert float((zeroed - removed).abs().max()) > 1e-3  # zeros are attended to


@pytest.mark.parametrize(("kind", "can_remove"), [("llama", True), ("gpt2", True), ("neox", True), ("opt", False)])
def test_removing_is_hiding_unless_the_model_counts_positions_by_itself(kind, can_remove):
    bone = tiny.frozen(kind, position="prefix-kv")
    assert (bone.can_hide, bone.can_remove) == (True, can_remove)


@pytest.mark.parametrize("dropped_as", ["hide", "zero"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_equal_a_loop_over_single_examples_for_the_act_that_they_estimate(kind, dropped_as):
    bone = tiny.frozen(kind, position="prefix-kv")
    rows = tiny.encoded(bone, tiny.examples(6), 5)
    pruned, full = ticket(bone, dropped_as=dropped_as, mask=HOLES), ticket(bone, seed=1, dropped_as=dropped_as)
    batches = [bone.batch([rows[at : at + 4]], every_choice=False) for at in (0, 4)]
    for scored, one in zip(gradient_scores([pruned, full], bone, batches), (pruned, full), strict=True):
        token, piece = (part.abs().mean(0) for part in naive_prefix.slopes(kind, one, rows))
        close(scored.token[one.mask.token], token[one.mask.token])
        close(scored.piece[one.mask.piece], piece[one.mask.piece])


@pytest.mark.parametrize("dropped_as", ["hide", "zero"])
def test_each_score_estimates_its_own_leave_one_out(dropped_as):
    bone = tiny.frozen("llama", position="prefix-kv", dtype=torch.float64)
    rows = tiny.encoded(bone, tiny.examples(4), 5)
    whole = ticket(bone, dropped_as=dropped_as, dtype=torch.float64)
    (signed,) = gradient_scores([whole], bone, [bone.batch([rows], every_choice=False)], Signed())

    def loss(zeta):
        with torch.no_grad():
            return sum(float(naive_prefix.loss("llama", whole, row, zeta)) for row in rows) / len(rows)

    for token, piece in ((0, 0), (2, 1), (4, 3)):
        step = torch.zeros(5, 4, dtype=torch.float64)
        step[token, piece] = 1e-2
        slope = (loss(1 - step) - loss(1 + step)) / 2e-2  # a little of what leaving it out costs
        assert slope == pytest.approx(float(signed.piece[token, piece]), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("dropped_as", DROPPED)
def test_leaving_out_a_head_is_measured_as_the_ticket_drops_it(dropped_as):
    bone = tiny.frozen("llama", position="prefix-kv")
    rows = tiny.encoded(bone, tiny.examples(3), 5)
    whole = ticket(bone, dropped_as=dropped_as)
    only = torch.zeros(5, 4, dtype=torch.bool)
    only[1, 2] = only[3, 0] = True
    measured = leave_one_out(whole, bone, rows, "piece", only=only)
    for token, piece in only.nonzero().tolist():
        mask = tiny.masked([True] * 5, drop=[(token, piece)])
        without = replace(whole, mask=mask)
        losses = [naive_prefix.loss("llama", without, row).detach() for row in rows]
        close(measured.without_losses[token, piece], torch.stack(losses))


def test_the_models_own_cache_as_a_prefix_answers_as_the_same_tokens_before_the_text():
    bone, first = tiny.frozen("neox", position="prefix-kv"), tiny.frozen("neox")
    rows, ids = tiny.encoded(bone, tiny.examples(4), 5), torch.tensor([5, 9, 13, 22, 8])
    prefix = replace(ticket(bone), state={"values": bone.prompt_vectors(ids)})
    inputs = replace(tiny.ticket(first, tokens=5), state={"values": first.embed(ids)})
    close(answers(bone, rows, prefix), answers(first, rows, inputs))


def test_keys_and_values_apart_can_be_zeros_alone():
    bone = tiny.frozen("llama", position="prefix-kv")
    rows = tiny.encoded(bone, tiny.examples(3), 5)
    mask = tiny.masked([True] * 5, 8, drop=[(0, 3)])
    zeros = ticket(bone, pieces=8, dropped_as="zero", mask=mask)
    close(answers(bone, rows, zeros)[0], torch.stack([naive_prefix.answers("llama", zeros, row) for row in rows]))
    with pytest.raises(ConfigError, match=r"pieces = 8: .* use --pieces 2 \(layers\) or 4 \(heads\), or --dropped-as"):
        answers(bone, rows, replace(zeros, dropped_as="hide"))


def test_the_order_of_peft_is_layer_then_key_or_value_then_head():
    shape = CacheShape(layers=3, heads=2, size=4)
    values = torch.arange(2 * shape.width).view(2, -1)
    ours, theirs = values.view(2, 3, 2, 2, 4), to_peft(values, shape).view(2, 6, 2, 4)
    assert torch.equal(theirs[:, 2], ours[:, 1, :, 0])  # keys of layer 1
    assert torch.equal(theirs[:, 3], ours[:, 1, :, 1])  # its values
    assert torch.equal(from_peft(to_peft(values, shape), shape), values)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("t5", "is no decoder, and PEFT gives one prefix to the encoder-decoder's layers l and l"),
        ("bert", "is no decoder, and an encoder keeps no keys and values"),
    ],
)
def test_other_families_are_refused_with_the_reason(kind, reason):
    with pytest.raises(ConfigError, match=reason):
        tiny.frozen(kind, position="prefix-kv")


@pytest.mark.parametrize("dropped_as", DROPPED)
def test_what_is_written_behind_a_prefix_is_what_the_forward_pass_likes_best(dropped_as):
    bone = tiny.frozen("llama", position="prefix-kv")
    cohort = [ticket(bone, dropped_as=dropped_as, mask=HOLES), ticket(bone, seed=1, dropped_as=dropped_as)]
    texts = [(5, 9, 12, 30), (7, 8)]
    prompts = prompt_batch([Member(one) for one in cohort])
    written = generate(bone, prompts, texts, Decoding(max_tokens=5))
    assert bone.writes_together == "batch"
    for member, answers in enumerate(written):
        for text, ids in zip(texts, answers, strict=True):
            row = list(text)
            for _ in ids:
                row.append(int(bone.text_logits(prompts.member(member), torch.tensor(row))[0, -1].argmax()))
            assert tuple(row[len(text) :]) == ids
