"""Prefixes attached to a user's model: batches of mixed lengths and tickets, beside attention written out by hand."""

from dataclasses import replace

import architectures as arch
import naive_prefix
import pytest
import tiny
import torch
from naive import close

from prunekit.export.attach import attach
from prunekit.models import Encoded
from prunekit.models.generation import generate
from prunekit.models.prompt_batch import stack
from prunekit.support.errors import ConfigError
from prunekit.tasks.decoding import Decoding

HOLES = tiny.masked([True, False, True, True, False], drop=[(0, 1), (3, 0), (3, 3)])
KINDS = ("llama", "gpt2", "neox")


def several(bone):
    """A dense ticket, and one of each way to drop."""
    dense = tiny.ticket(bone, tokens=5, dropped_as="hide")
    others = [replace(tiny.ticket(bone, tokens=5, seed=3, dropped_as=way), mask=HOLES) for way in ("hide", "zero")]
    removed = replace(tiny.ticket(bone, tokens=5, seed=4, dropped_as="remove"), mask=HOLES)
    return [dense, *others, removed]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_mixed_lengths_and_tickets_answers_as_attention_by_hand(kind, side):
    bone = tiny.frozen(kind, position="prefix-kv")
    tickets = several(bone)
    attached = attach(bone.model, tickets)
    rows, indices = arch.texts(4), range(4)
    batch = arch.padded(rows, side)
    with torch.no_grad():
        logits = attached(**batch, tickets=indices).logits
    assert logits.shape[:2] == batch["input_ids"].shape
    assert not logits[batch["attention_mask"] == 0].any()
    for number, (ids, index) in enumerate(zip(rows, indices, strict=True)):
        last = logits[number][batch["attention_mask"][number].bool()][-1]
        row = Encoded(0, tuple(ids.tolist()), ((5,), (9,), (30,)), 0)
        close(last.log_softmax(-1)[[5, 9, 30]], naive_prefix.answers(kind, tickets[index], row))


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_generated_in_a_batch_is_what_each_row_writes_alone(side):
    bone = tiny.frozen("llama", position="prefix-kv")
    tickets = several(bone)
    attached = attach(bone.model, tickets)
    rows = arch.texts(4)
    batch = arch.padded(rows, side)
    options = dict(do_sample=False, pad_token_id=0, eos_token_id=None)
    longest = batch["input_ids"].shape[1] + 6
    written = attached.generate(**batch, tickets=range(4), max_length=longest, **options)
    assert torch.equal(written[:, :-6], batch["input_ids"])
    for number, (ids, ticket) in enumerate(zip(rows, tickets, strict=True)):
        ((alone,),) = generate(bone, stack([ticket.prompt()]), [tuple(ids.tolist())], Decoding(max_tokens=6))
        assert written[number, -6:].tolist()[: len(alone)] == list(alone)
        assert len(alone) > 1


def test_a_loss_counts_the_labels_of_given_tokens_alone():
    bone = tiny.frozen("llama", position="prefix-kv")
    attached = attach(bone.model, several(bone)[0])
    batch = arch.padded(arch.texts(3), "left")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    with torch.no_grad():
        output = attached(**batch, labels=labels)
    real = batch["attention_mask"].bool()
    logprobs = torch.cat([row[mask][:-1] for row, mask in zip(output.logits, real, strict=True)]).log_softmax(-1)
    targets = torch.cat([row[mask][1:] for row, mask in zip(batch["input_ids"], real, strict=True)])
    close(output.loss, -logprobs[range(len(targets)), targets].mean())


def test_without_a_ticket_the_model_answers_as_before():
    bone = tiny.frozen("llama", position="prefix-kv")
    ids = arch.texts(3)[2][None]
    with torch.no_grad():
        before = bone.model(input_ids=ids).logits
        attach(bone.model, several(bone))(ids, tickets=[1])
        assert torch.equal(bone.model(input_ids=ids).logits, before)


def test_what_does_not_go_is_said_in_one_line():
    bone = tiny.frozen("llama", position="prefix-kv")
    dense, other = several(bone)[0], tiny.ticket(tiny.frozen("llama"))
    ids = arch.texts(3)[2][None]
    with pytest.raises(ConfigError, match="share no batch; attach them apart"):
        attach(bone.model, [dense, other])
    with pytest.raises(ConfigError, match="the ticket is 64 wide, what the model keeps of a token 128"):
        attach(tiny.model("gpt2"), dense)
    attached = attach(bone.model, dense)
    with pytest.raises(ConfigError, match="one answer is written to a row, without beams"):
        attached.generate(ids, num_beams=2)
    with pytest.raises(ConfigError, match="there are 1, numbered from 0"):
        attached(ids, tickets=[1])
    with pytest.raises(ConfigError, match="one number for each of the 1 rows"):
        attached(ids, tickets=[0, 0])
