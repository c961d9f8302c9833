"""What all families share (models/base.py)."""

from dataclasses import replace

import naive
import pytest
import tiny
import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator
from prunekit.tasks import Example

KINDS = tiny.KINDS
OWN = [
    ("w3 w4 :", ("good", "very bad"), 1),
    ("w5 :", ("w9 w10 w11", "w12", "bad"), 0),
    ("w6 w7 w8 w9 w10 w11 :", ("w2",), 0),
    ("w1 w2 :", ("w3 w4", "w5", "w6 w7 w8 w9", "good"), 2),
]


def own_choices() -> list[Example]:
    return [Example(n, "{text}", {"text": text}, choices, (gold,)) for n, (text, choices, gold) in enumerate(OWN)]


def prompt(bone, rows=2):
    """A ticket whose head fits: `rows` choices, or one scalar where they differ per example."""
    ticket = tiny.ticket(bone)
    if ticket.head is not None and rows == 1:
        ticket = replace(ticket, head={name: value[:1] for name, value in ticket.head.items()})
    return ticket


def judged(bone, ticket, rows, every_choice=True):
    with torch.no_grad():
        return bone.forward(prompt_batch([Member(ticket)]), bone.batch([rows], every_choice=every_choice))


def cases(bone):
    """Fixed choices of one token, fixed choices of several, and choices of each example's own."""
    yield prompt(bone), tiny.encoded(bone, tiny.examples(7))
    yield prompt(bone), tiny.encoded(bone, tiny.examples(7, choices=("good", "very bad w3")))
    yield prompt(bone, 1), bone.encode(own_choices(), own_choices=True, prompt_tokens=4)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_batch_never_change_an_answer(kind):
    bone = tiny.frozen(kind)
    for ticket, rows in cases(bone):
        whole = judged(bone, ticket, rows)
        largest = float(whole.logits[whole.logits.isfinite()].abs().max())
        for position, row in enumerate(rows):
            alone = judged(bone, ticket, [row])
            count = len(row.choices)
            assert (whole.logits[0, position, :count] - alone.logits[0, 0]).abs().max() <= 1e-5 * largest
            assert (whole.logits[0, position, count:] == -torch.inf).all()
            assert (whole.losses[0, position] - alone.losses[0, 0]).abs() <= 1e-5 * max(1.0, float(alone.losses))
        backwards = judged(bone, ticket, rows[::-1])
        finite = whole.logits.isfinite()
        assert (backwards.logits.flip(1)[finite] - whole.logits[finite]).abs().max() <= 1e-5 * largest


@pytest.mark.parametrize("kind", KINDS)
def test_answers_and_losses_equal_an_independent_reading_of_single_examples(kind):
    """And the gold choice alone gives the same loss."""
    bone = tiny.frozen(kind)
    for ticket, rows in cases(bone):
        whole, gold = judged(bone, ticket, rows), judged(bone, ticket, rows, every_choice=False)
        assert (whole.losses - gold.losses).abs().max() <= 1e-5 * whole.losses.max()
        for position, row in enumerate(rows):
            with torch.no_grad():
                total, _ = naive.choice_scores(kind, bone, ticket.state["values"], row, ticket.head)
                loss = naive.loss(kind, bone, ticket.state["values"], row, ticket.head)
            found = whole.logits[0, position, : len(row.choices)]
            assert (found - total).abs().max() <= 1e-5 * total.abs().max()
            assert (whole.losses[0, position] - loss).abs() <= 1e-5 * max(1.0, float(loss))


@pytest.mark.parametrize("kind", KINDS)
def test_the_filler_of_padding_is_never_read(kind):
    bone = tiny.frozen(kind)
    rows, ticket = tiny.encoded(bone, tiny.examples(5)), prompt(bone)
    batch = bone.batch([rows], every_choice=True)
    other = replace(batch, ids=torch.where(batch.mask, batch.ids, torch.full_like(batch.ids, 17)))
    with torch.no_grad():
        one, two = (bone.logits(prompt_batch([Member(ticket)]), some) for some in (batch, other))
    assert not torch.equal(batch.ids, other.ids)
    assert (one - two).abs().max() <= 1e-6 * one.abs().max()


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_ranking_by_the_mean_divides_by_the_answers_own_length(kind):
    total = tiny.frozen(kind)
    mean = tiny.frozen(kind, ranking="mean")
    rows = tiny.encoded(total, tiny.examples(3, choices=("good", "very bad w3")))
    lengths = torch.tensor([len(choice) for choice in rows[0].choices])
    assert lengths[0] < lengths[1]
    by_sum, by_mean = (judged(bone, prompt(bone), rows) for bone in (total, mean))
    assert torch.allclose(by_sum.logits / lengths, by_mean.logits, rtol=1e-6)
    assert torch.equal(by_sum.losses, by_mean.losses)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_known_answer_the_loss_is_nan_and_the_choice_is_still_made(kind):
    bone = tiny.frozen(kind)
    known = tiny.examples(3)
    rows = tiny.encoded(bone, [known[0], replace(known[1], gold=()), known[2]])
    found = judged(bone, prompt(bone), rows)
    assert found.losses[0].isnan().tolist() == [False, True, False]
    assert found.logits.isfinite().all()
    assert torch.equal(found.logits, judged(bone, prompt(bone), tiny.encoded(bone, known)).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_members_may_share_their_examples_or_bring_their_own(kind):
    bone = tiny.frozen(kind)
    members = [Member(tiny.ticket(bone, seed=seed)) for seed in range(2)]
    rows = tiny.encoded(bone, tiny.examples(3))
    with torch.no_grad():
        shared = bone.losses(prompt_batch(members), bone.batch([rows], every_choice=False))
        own = bone.losses(prompt_batch(members), bone.batch([rows, rows], every_choice=False))
    assert shared.shape == (2, 3)
    assert (shared - own).abs().max() <= 1e-6 * shared.max()
    assert (shared[0] - shared[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_describes_itself(kind):
    bone = tiny.frozen(kind)
    table = bone.embedding.weight
    assert (bone.width, bone.hidden_width, bone.pad) == (tiny.WIDTH, tiny.WIDTH, 0)
    assert bone.embedding_rms == pytest.approx(float(table.square().mean().sqrt()), rel=1e-6)
    assert torch.equal(bone.embed(torch.tensor([3, 5])), table[[3, 5]])
    assert not bone.embed(torch.tensor([3])).requires_grad
    assert not bone.model.training
    assert bone.device.type == "cpu"


def test_ordinary_ids_are_words_from_the_front():
    bone = tiny.frozen("t5")
    special = {0, 1, 2}  # pad, eos, unk
    assert bone.ordinary_ids(5) == [i for i in range(8) if i not in special][:5]
    assert set(bone.ordinary_ids()) == set(range(len(tiny.SPECIAL + tiny.WORDS))) - special


def test_the_digest_follows_every_weight():
    bone, other = tiny.frozen("bert"), tiny.frozen("bert")
    assert bone.digest() == other.digest()
    with torch.no_grad():
        next(iter(other.model.parameters())).view(-1)[3] += 1e-3
    assert bone.digest() != other.digest()
    assert tiny.frozen("t5").digest() != tiny.frozen("gpt2").digest()


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_head_is_zero_and_only_encoders_have_one(kind):
    bone = tiny.frozen(kind)
    if kind not in tiny.ENCODERS:
        assert bone.new_head(3) is None
        return
    head = bone.new_head(3)
    assert (head["weight"].shape, head["bias"].shape) == ((3, tiny.WIDTH), (3,))
    assert all(value.abs().max() == 0 for value in head.values())
    assert bone.new_head(None)["weight"].shape == (1, tiny.WIDTH)


def test_a_place_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="'after-cls' does not fit this model; use one of first"):
        tiny.frozen("gpt2", position="after-cls")


# ---- shortening


def long_example(words=30, other="w1 w2") -> Example:
    text = " ".join(f"w{2 + n}" for n in range(words))
    return Example(0, "{short} : {long} :", {"short": other, "long": text}, ("good", "bad"), (0,))


def words_of(bone, encoded):
    return bone.tokenizer.convert_ids_to_tokens(list(encoded.text))


@pytest.mark.parametrize(("kind", "most", "example", "words"), [
    ("gpt2", 12, long_example(), "w1 w2 : w2 w3 w4 w5 w6 w7 w8 w9 :"),
    ("bert", 10, long_example(), "[CLS] w1 w2 : w2 w3 w4 w5 : [SEP]"),
    ("gpt2", 10, long_example(20, " ".join(["w1"] * 20)), "w1 w1 w1 w1 w1 w1 w1 w1 : :"),
], ids=["one long field", "special tokens", "two long fields"])  # fmt: skip
def test_a_text_over_the_limit_loses_the_ends_of_its_longest_fields_and_no_special_token(kind, most, example, words):
    bone = tiny.frozen(kind, max_input_tokens=most)
    (made,) = bone.encode([example], own_choices=False, prompt_tokens=4)
    assert words_of(bone, made) == words.split()
    assert made.cut


@pytest.mark.parametrize("kind", ["gpt2", "opt", "bert", "roberta", "bart"])
def test_prompt_text_and_answer_fit_the_models_positions(kind):
    bone = tiny.frozen(kind, max_input_tokens=500)
    (made,) = bone.encode([long_example(38 * 3)], own_choices=False, prompt_tokens=20)
    assert made.cut
    assert len(made.text) + 20 <= 80
    values = tiny.ticket(bone, tokens=20)
    assert judged(bone, values, [made]).logits.isfinite().all()


def test_a_text_within_the_limit_is_left_alone():
    bone = tiny.frozen("t5")
    (made,) = tiny.encoded(bone, tiny.examples(1))
    assert not made.cut
    assert words_of(bone, made) == [*tiny.examples(1)[0].text.split(), "</s>"]


def test_a_template_that_does_not_fit_is_refused():
    bone = tiny.frozen("gpt2", max_input_tokens=1)
    with pytest.raises(ConfigError, match="template alone takes more than the 1 tokens"):
        bone.encode([long_example()], own_choices=False, prompt_tokens=4)


def test_an_input_that_a_method_moves_reaches_the_model_moved():
    bone = tiny.frozen("t5")
    rows, ticket = tiny.encoded(bone, tiny.examples(2)), tiny.ticket(bone)
    batch = bone.batch([rows], every_choice=True)
    shift = torch.randn(tiny.WIDTH, generator=generator("shift"))
    with torch.no_grad():
        plain = prompt_batch([Member(ticket)])
        still = bone.logits(replace(plain, embed_input=lambda embedded, mask: embedded), batch)
        moved = bone.logits(replace(plain, embed_input=lambda e, mask: e + shift * mask[..., None]), batch)
        assert torch.equal(still, bone.logits(plain, batch))
    assert (moved - still).abs().max() > 1e-3


def test_the_digest_is_the_same_before_and_after_the_tokenizer_is_used():
    bone = tiny.frozen("gpt2")
    bone.tokenizer.backend_tokenizer.enable_truncation(5)  # as some tokenizer files ship it
    bone.tokenizer.backend_tokenizer.enable_padding(length=5)
    before = bone.digest()
    bone.tokenizer("w1 w2")
    assert bone.digest() == before
