"""Every architecture: an exported adapter under PEFT gives the very logits that prunekit gives."""

from functools import cache

import architectures as arch
import pytest
import tiny
import torch

from prunekit import export
from prunekit.export import TicketInfo
from prunekit.models import load

peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.gate,
    pytest.mark.filterwarnings("ignore"),  # PEFT's and transformers' own, others in every version
]


WORN = tiny.pairs(("residual", "dpt"), arch.MASKS)


@pytest.mark.parametrize(("kind", "worn"), tiny.in_turn(arch.KINDS, WORN, whole=("gpt2",)), ids=str)
def test_logits_under_peft_are_those_of_prunekit_bit_for_bit(kind, worn, tmp_path):
    bone, (method, mask) = arch.frozen(kind), worn
    ticket = arch.ticket(bone, method, arch.MASKS[mask])
    folder = arch.written(tmp_path, export.adapter_files(ticket, bone, TicketInfo()))
    found = export.verify(folder, ticket, bone)
    assert found.difference == 0.0
    assert found.rows == 8
    assert found.largest > 0.1


@pytest.mark.parametrize("kind", tiny.by_day(arch.KINDS, arch.BY_DAY))
def test_choices_under_peft_score_as_prunekit_scores_them(kind, tmp_path):
    bone = arch.frozen(kind)
    ticket = arch.ticket(bone, "dpt", arch.MASKS["pieces"])
    folder = arch.written(tmp_path, export.adapter_files(ticket, bone, TicketInfo()))
    examples = tiny.encoded(bone, tiny.examples(6, choices=("good very", "bad")), arch.TOKENS)
    ours = tiny.logits(bone, examples, ticket)[0]
    theirs = torch.tensor([by_hand(bone, folder, ticket, one) for one in examples])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(ours.abs().max()))


@torch.no_grad()
def by_hand(bone, folder, ticket, example):
    """Choice scores of one example by PEFT alone."""
    from prunekit.export.verify import models

    if kind_of(bone) == "SEQ_CLS":
        _, theirs = models(bone, ticket)
        worn = peft.PeftModel.from_pretrained(theirs, folder).eval()
        return worn(input_ids=torch.tensor([example.text])).logits[0].tolist()
    worn = peft.PeftModel.from_pretrained(bone.model, folder).eval()
    scores = []
    for choice in example.choices:
        if kind_of(bone) == "SEQ_2_SEQ_LM":
            loss = worn(input_ids=torch.tensor([example.text]), labels=torch.tensor([choice])).loss
        else:
            row = torch.tensor([example.text + choice])
            labels = torch.tensor([[-100] * len(example.text) + list(choice)])
            loss = worn(input_ids=row, labels=labels).loss
        scores.append(-float(loss) * len(choice))
    return scores


def kind_of(bone):
    return export.peft.task_type(bone)


@pytest.mark.parametrize(
    ("kind", "method", "dropped_as"),
    tiny.pairwise(("gpt2", "t5", "bert", "roberta"), ("direct", "residual", "dpt"), ("remove", "zero")),
)
def test_what_was_exported_is_imported_as_it_was(kind, method, dropped_as, tmp_path):
    for name, mask in arch.MASKS.items():
        bone = arch.frozen(kind)
        origin = {"task": "toy", "run": "12345678"}
        ticket = arch.ticket(bone, method, mask, dropped_as=dropped_as, round=2, rewind=30, origin=origin)
        folder = arch.written(tmp_path / name, export.adapter_files(ticket, bone, TicketInfo()))
        back = export.read_adapter(str(folder))
        assert back == export.flattened(ticket)
        assert back.mask == ticket.mask
        assert torch.equal(back.prompt()()[0], ticket.prompt()()[0])
        again = export.adapter_files(back, bone, TicketInfo())
        assert again["adapter_model.safetensors"] == (folder / "adapter_model.safetensors").read_bytes()
        if method == "direct" and name == "dense":
            assert back == ticket


@pytest.fixture(scope="module")
def real(shared):
    """Real models by name, each loaded once."""
    return cache(lambda name: load(str(shared / "models" / name), position="first" if "minilm" in name else "auto"))


@pytest.mark.parametrize(
    ("name", "method", "mask"),
    tiny.by_day(
        tiny.pairs(("all-minilm-l6-v2", "stories260k"), ("residual", "dpt"), arch.MASKS),
        [("all-minilm-l6-v2", "residual", "pieces"), ("stories260k", "dpt", "one token")],
    ),
)
def test_real_models_agree_with_peft_too(name, method, mask, real, tmp_path):
    bone = real(name)
    ticket = arch.ticket(bone, method, arch.MASKS[mask])
    folder = arch.written(tmp_path, export.adapter_files(ticket, bone, TicketInfo()))
    assert export.verify(folder, ticket, bone).difference == 0.0
    assert export.read_adapter(str(folder)) == export.flattened(ticket)
