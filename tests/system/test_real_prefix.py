"""Prefixes on pretrained models: what PEFT answers and writes with the export is what the ticket does."""

from dataclasses import replace

import peft
import pytest
import tiny
import torch
from test_invariants import prompts
from test_real_models import MODELS

from prunekit import export
from prunekit.export import null_keys
from prunekit.export.prefix_tuning import compacted
from prunekit.export.side_file import TicketInfo
from prunekit.export.verify import measure, verify
from prunekit.models import load
from prunekit.models.generation import generate
from prunekit.models.queries import queries_of
from prunekit.prompts.mask import Mask
from prunekit.tasks.decoding import Decoding

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.filterwarnings("ignore")]

TEXT = "The lighthouse keeper wrote a letter to her brother about the storm, and then"


@pytest.fixture(scope="module", params=["smollm2-135m-instruct", "gemma3-270m"])
def model(request):
    path = MODELS / request.param
    if not path.is_dir():
        pytest.skip(f"{path} is absent: python ../shared/models/make.py {request.param}")
    return load(str(path), precision="float32", position="prefix-kv")


# what null keys are made from, and what they are tried on
SENTENCES = (
    "The committee will publish its report on the harbour next Thursday, two months later than planned.",
    "She asked whether 17 of the 240 samples could have been mixed up in the laboratory.",
    "def area(radius):\n    return 3.14159 * radius ** 2",
    "A dull and endless film, saved now and then by its music and by a child who cannot act.",
    "What is the capital of Peru, and how many people live there?",
    "Add the flour slowly, stir until no lumps are left, and let the dough rest for an hour.",
    "Nobody at the station knew why the last train had left without its driver.",
    "In 1912 the river rose by four metres and took the old bridge with it.",
)
OTHERS = (
    "Funny, warm and better written than anything that this director has made before.",
    "The court found that neither party had read the contract before signing it.",
    "for index, name in enumerate(names):\n    print(index, name)",
    "My neighbour keeps three hens, a goat and a very old bicycle in the same shed.",
)


def pruned(model, **more):
    """Sixteen tokens that the model itself kept of words, moved a little, of which six are left."""
    words = [*model.reader.opening, *model.ordinary_ids()[100:140]][:16]
    values = model.prompt_vectors(torch.tensor(words))
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    mask = tiny.masked([True] + [False, True] * 5 + [False] * 5, pieces=model.shape.cells)
    dense = tiny.ticket(model, tokens=16, pieces=model.shape.cells, **more)
    return replace(dense, mask=mask, state={"values": values + 0.1 * values.std() * noise})


@pytest.mark.parametrize(("kind", "dropped_as"), [("PREFIX_TUNING", "remove"), ("CARTRIDGE", "hide")])
def test_peft_answers_and_writes_with_the_turned_keys_of_the_kept_tokens(model, kind, dropped_as, tmp_path):
    ticket = pruned(model, dropped_as=dropped_as)
    for name, content in export.adapter_files(ticket, model, TicketInfo(prefix=kind)).items():
        (tmp_path / name).write_bytes(content)
    agreement = verify(tmp_path, ticket, model)
    assert agreement.difference <= 1e-5 * agreement.largest
    restored = export.read_adapter(str(tmp_path))
    assert torch.equal(restored.state["values"], compacted(ticket, model).state["values"])
    check_writes_alike(tmp_path, ticket, model)


def check_writes_alike(folder, ticket, model):
    """What PEFT writes over 64 tokens is what the ticket does."""
    text = read(model, TEXT)
    adapted = peft.PeftModel.from_pretrained(model.model, str(folder)).eval()
    theirs = adapted.generate(input_ids=torch.tensor([text]), max_new_tokens=64, do_sample=False)[0, len(text) :]
    ((ours,),) = generate(model, prompts(ticket), [text], Decoding(max_tokens=64))
    assert len(ours) > 8
    assert list(ours) == theirs[: len(ours)].tolist()


def read(model, text):
    return (*model.reader.opening, *model.tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("pieces", ["layers", "heads"])
def test_peft_answers_and_writes_as_if_heads_did_not_see_what_they_must_not(model, pieces, tmp_path):
    ticket = pruned(model, dropped_as="hide")
    count = model.shape.layers if pieces == "layers" else model.shape.cells
    piece = torch.rand(16, count, generator=torch.Generator().manual_seed(1)) < 0.5
    piece[0] = True
    ticket = replace(ticket, mask=Mask(ticket.mask.token, piece & ticket.mask.token[:, None]))
    compact, prompt = compacted(ticket, model), prompts(ticket)
    texts, others = ([read(model, text) for text in some] for some in (SENTENCES, OTHERS))
    (written,) = generate(model, prompt, texts, Decoding(max_tokens=64))
    rows = [text + ids for text, ids in zip(texts, written, strict=True)]
    keys = null_keys.find(compact, model, queries_of(model, prompt, rows), len(compact.mask.token), 512)
    keys = null_keys.verified(keys, compact, model, queries_of(model, prompt, others))
    assert keys.share <= 1e-8
    for name, content in export.adapter_files(ticket, model, TicketInfo(), keys).items():
        (tmp_path / name).write_bytes(content)
    agreement = measure(tmp_path, ticket, model, others)
    assert agreement.difference <= 1e-5 * agreement.largest
    check_writes_alike(tmp_path, ticket, model)
