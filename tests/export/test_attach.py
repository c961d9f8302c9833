"""Attached tickets: batches answer as single rows do, however they are padded and whatever each row wears."""

from dataclasses import replace

import architectures as arch
import pytest
import tiny
import torch
from naive import close
from transformers import GenerationMixin

from prunekit.export.attach import attach
from prunekit.support.errors import ConfigError

SIDES = ["left", "right"]
WRITERS = (*arch.DECODERS, *arch.ENCODER_DECODERS)
READINGS = [*tiny.pairs(WRITERS, ["auto"]), *tiny.pairs(arch.ENCODERS, ["first", "after-cls"])]
GREEDY = dict(max_new_tokens=8, do_sample=False, pad_token_id=0)
# transformers 5.0 and 5.1 count positions over what is attended to, whatever they are told
HIDES = hasattr(GenerationMixin, "_prepare_position_ids_for_generation")


def several(bone, **more):
    """Three tickets of other lengths and masks, a kind of absent tokens each."""
    kinds = enumerate(zip(arch.MASKS.values(), ("remove", "hide", "zero"), strict=True))
    return [
        arch.ticket(bone, "direct", mask, seed, **({"dropped_as": dropped_as} | more))
        for seed, (mask, dropped_as) in kinds
    ]


@pytest.mark.parametrize(
    ("reading", "side"),
    tiny.in_turn(READINGS, SIDES, day=[reading for reading in READINGS if reading[0] in arch.BY_DAY]),
    ids=str,
)
def test_a_batch_of_mixed_lengths_and_tickets_gives_the_logits_of_single_rows(reading, side):
    """An encoder answers each row by its own ticket's head."""
    kind, position = reading
    bone = arch.frozen(kind, position=position)
    attached = attach(bone.model, several(bone, **({"dropped_as": "hide"} if kind in arch.ENCODERS else {})))
    rows = arch.texts()
    worn = [number % 3 for number in range(len(rows))]
    batch = arch.padded(rows, side)
    begun = {"decoder_input_ids": torch.tensor([[2, 5, 9]])} if kind in arch.ENCODER_DECODERS else {}
    with torch.no_grad():
        together = attached(**batch, tickets=worn, **{n: ids.expand(len(rows), -1) for n, ids in begun.items()}).logits
        singles = [attached(row[None], tickets=[one], **begun).logits[0] for row, one in zip(rows, worn, strict=True)]
    if kind in arch.DECODERS:
        assert together.shape[:2] == batch["input_ids"].shape
        together = [logits[real.bool()] for logits, real in zip(together, batch["attention_mask"], strict=True)]
    if kind in arch.ENCODERS:  # a row may have small logits alone, of which rounding is a larger part
        together, singles = [together], [torch.stack(singles)]
    for found, single in zip(together, singles, strict=True):
        close(found, single)


@pytest.mark.parametrize(("kind", "side"), tiny.in_turn(WRITERS, SIDES, day=arch.BY_DAY))
def test_greedy_answers_of_a_batch_are_those_of_single_rows(kind, side):
    bone = arch.frozen(kind)
    attached = attach(bone.model, several(bone) if HIDES else several(bone, dropped_as="zero"))
    rows = arch.texts(8)
    worn = [number % 3 for number in range(len(rows))]
    batch = arch.padded(rows, side)
    together = attached.generate(**batch, tickets=worn, **GREEDY)
    start = 0 if kind in arch.ENCODER_DECODERS else batch["input_ids"].shape[1]
    for number, (row, one) in enumerate(zip(rows, worn, strict=True)):
        single = attached.generate(row[None], tickets=[one], **GREEDY)[0, 0 if start == 0 else len(row) :]
        new = together[number, start:]
        assert new[: len(single)].tolist() == single.tolist()
        assert set(new[len(single) :].tolist()) <= {0}
    if start:
        assert torch.equal(together[:, :start], batch["input_ids"])


@pytest.mark.parametrize("kind", tiny.by_day(arch.DECODERS, arch.BY_DAY))
def test_what_is_generated_is_what_forward_says_is_likeliest(kind):
    bone = arch.frozen(kind)
    dropped_as = "hide" if HIDES else "remove"
    attached = attach(bone.model, [arch.ticket(bone, mask=arch.MASKS["pieces"], dropped_as=dropped_as)])
    row = arch.texts()[4][None]
    made = attached.generate(row, max_new_tokens=6, min_new_tokens=6, do_sample=False, pad_token_id=0)
    with torch.no_grad():
        said = attached(made).logits[0, row.shape[1] - 1 : -1]
    said[:, 1] = -torch.inf  # the end, which min_new_tokens forbids
    assert made[0, row.shape[1] :].tolist() == said.argmax(-1).tolist()


@pytest.mark.parametrize("kind", tiny.by_day(arch.KINDS, arch.BY_DAY))
def test_it_reads_a_row_as_the_model_does(kind):
    bone = arch.frozen(kind)
    ticket = arch.ticket(bone, "residual", arch.MASKS["pieces"])
    (example,) = tiny.encoded(bone, tiny.examples(1), arch.TOKENS)
    ours = tiny.logits(bone, [example], ticket)[0, 0]
    attached, ids = attach(bone.model, ticket), torch.tensor([example.text])
    with torch.no_grad():
        if kind in arch.ENCODERS:
            theirs = attached(ids).logits[0]
            assert torch.equal(theirs, ours)
        elif kind in arch.ENCODER_DECODERS:
            targets = torch.tensor(example.choices)
            losses = [attached(ids, labels=one[None]).loss for one in targets]
            theirs = -torch.stack(losses) * targets.shape[1]
        else:
            said = attached(ids).logits[0, -1].log_softmax(-1)
            theirs = said[[choice[0] for choice in example.choices]]
    close(theirs, ours)


def test_a_suffix_speaks_between_text_and_answer():
    bone = arch.frozen("gpt2", position="suffix")
    ticket = arch.ticket(bone, mask=arch.MASKS["pieces"])
    (example,) = tiny.encoded(bone, tiny.examples(1, choices=("good very bad", "bad good very")), arch.TOKENS)
    ours = tiny.logits(bone, [example], ticket)[0, 0]
    text, attached, theirs = list(example.text), attach(bone.model, ticket), []
    for choice in example.choices:
        ids = torch.tensor([text + list(choice)])
        with torch.no_grad():
            said = attached(ids, text_tokens=[len(text)]).logits[0].log_softmax(-1)
        theirs.append(sum(said[len(text) - 1 + position, one] for position, one in enumerate(choice)))
    close(torch.stack(theirs), ours)
    made = attached.generate(torch.tensor([text]), **GREEDY | dict(max_new_tokens=1))
    with torch.no_grad():
        assert int(made[0, -1]) == int(attached(torch.tensor([text])).logits[0, -1].argmax())


@pytest.mark.parametrize("position", ["first", "suffix"])
@pytest.mark.parametrize("method", ["dept", "adept", "ept"])
def test_a_method_that_moves_texts_moves_no_answer(method, position):
    bone = arch.frozen("llama", position=position)
    ticket = arch.ticket(bone, method)
    (example,) = tiny.encoded(bone, tiny.examples(1, choices=("good very bad", "bad good very")), arch.TOKENS)
    ours = tiny.logits(bone, [example], ticket)[0, 0]
    text, attached, theirs = list(example.text), attach(bone.model, ticket), []
    for choice in example.choices:
        with torch.no_grad():
            said = attached(torch.tensor([text + list(choice)]), text_tokens=[len(text)]).logits[0].log_softmax(-1)
        theirs.append(sum(said[len(text) - 1 + place, token] for place, token in enumerate(choice)))
    close(torch.stack(theirs), ours)


@pytest.mark.parametrize("method", ["dept", "adept"])
def test_methods_that_move_the_input_are_worn_too(method):
    bone = arch.frozen("llama")
    ticket = arch.ticket(bone, method)
    (example,) = tiny.encoded(bone, tiny.examples(1), arch.TOKENS)
    ours = tiny.logits(bone, [example], ticket)[0, 0]
    attached, row = attach(bone.model, ticket), torch.tensor(example.text)
    with torch.no_grad():
        said = attached(**arch.padded([row, row[:2]], "left")).logits[0, -1].log_softmax(-1)
    close(said[[choice[0] for choice in example.choices]], ours)


def test_a_decoders_loss_is_that_of_the_given_labels():
    bone = arch.frozen("llama")
    attached, rows = attach(bone.model, several(bone)), arch.texts()[3:6]
    for side in SIDES:
        batch = arch.padded(rows, side)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        with torch.no_grad():
            found = attached(**batch, labels=labels, tickets=[0, 1, 2])
        said = found.logits.log_softmax(-1)
        by_hand = [
            -said[number, real][:-1].gather(1, row[1:, None]).squeeze(1)
            for number, (real, row) in enumerate(zip(batch["attention_mask"].bool(), rows, strict=True))
        ]
        first = [  # the prompt's last slot says the first token; it has no place among the given ones
            float(attached(row[None], labels=row[None], tickets=[number]).loss) * len(row)
            - float(by_hand[number].sum())
            for number, row in enumerate(rows)
        ]
        expected = (sum(float(one.sum()) for one in by_hand) + sum(first)) / sum(map(len, rows))
        assert float(found.loss) == pytest.approx(expected, rel=1e-5)


def test_the_model_is_left_as_it_was():
    bone = arch.frozen("gpt2")
    model = bone.model.train().requires_grad_(True)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    attached = attach(model, arch.ticket(bone))
    attached(arch.texts()[2][None])
    assert attached.model is model
    assert model.training
    assert all(one.requires_grad for one in model.parameters())
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_max_length_counts_what_was_given_and_what_was_made():
    bone = arch.frozen("gpt2")
    attached = attach(bone.model, arch.ticket(bone))
    row = arch.texts()[2][None]
    made = attached.generate(row, max_length=row.shape[1] + 3, min_new_tokens=3, do_sample=False, pad_token_id=0)
    assert made.shape[1] == row.shape[1] + 3
    scored = attached.generate(
        row, max_new_tokens=3, num_beams=2, num_return_sequences=2, return_dict_in_generate=True, pad_token_id=0
    )
    assert scored.sequences[:, : row.shape[1]].tolist() == row.tolist() * 2


def test_what_does_not_fit_is_refused_in_one_line():
    gpt2, bert = arch.frozen("gpt2"), arch.frozen("bert")
    good, headed = arch.ticket(gpt2), arch.ticket(bert)
    with pytest.raises(ConfigError, match="at least one"):
        attach(gpt2.model, [])
    with pytest.raises(ConfigError, match="ticket's head"):
        attach(gpt2.model, headed)
    with pytest.raises(ConfigError, match="position = suffix"):
        attach(arch.frozen("t5").model, replace(good, position="suffix"))
    with pytest.raises(ConfigError, match="16 wide"):
        attach(gpt2.model, replace(good, state={"values": good.state["values"][:, :16]}))
    attached, rows = attach(gpt2.model, good), arch.padded(arch.texts(3), "right")
    with pytest.raises(ConfigError, match="numbered from 0"):
        attached(**rows, tickets=[0, 1, 0])
    with pytest.raises(ConfigError, match="each of the 3 rows"):
        attached(**rows, tickets=[0])
    with pytest.raises(ConfigError, match="generates nothing"):
        attach(bert.model, headed).generate(rows["input_ids"])
    other = replace(headed, head={"weight": headed.head["weight"][:1], "bias": headed.head["bias"][:1]})
    with pytest.raises(ConfigError, match="as many choices"):
        attach(bert.model, [headed, other])


@pytest.mark.skipif(HIDES, reason="this transformers counts hidden tokens as positions")
def test_hidden_tokens_are_refused_where_positions_cannot_be_told():
    bone = arch.frozen("gpt2")
    attached = attach(bone.model, arch.ticket(bone, mask=arch.MASKS["pieces"], dropped_as="hide"))
    with pytest.raises(ConfigError, match=r"transformers 5\.2"):
        attached.generate(arch.texts()[2][None], **GREEDY)
