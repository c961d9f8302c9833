"""Prefixes on pretrained models: what PEFT answers and writes with the export is what the ticket does."""

from dataclasses import replace

import peft
import pytest
import tiny
import torch
from test_invariants import prompts
from test_real_models import MODELS

from prunekit import export
from prunekit.export.prefix_tuning import compacted
from prunekit.export.side_file import TicketInfo
from prunekit.export.verify import verify
from prunekit.models import load
from prunekit.models.generation import generate
from prunekit.tasks.decoding import Decoding

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.filterwarnings("ignore")]

TEXT = "The lighthouse keeper wrote a letter to her brother about the storm, and then"


@pytest.fixture(scope="module", params=["smollm2-135m-instruct", "gemma3-270m"])
def model(request):
    path = MODELS / request.param
    if not path.is_dir():
        pytest.skip(f"{path} is absent: python ../shared/models/make.py {request.param}")
    return load(str(path), precision="float32", position="prefix-kv")


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
    read = model.tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[*model.reader.opening, *read]])
    adapted = peft.PeftModel.from_pretrained(model.model, str(tmp_path)).eval()
    theirs = adapted.generate(input_ids=ids, max_new_tokens=64, do_sample=False)[0, ids.shape[1] :].tolist()
    ((ours,),) = generate(model, prompts(ticket), [tuple(ids[0].tolist())], Decoding(max_tokens=64))
    assert len(ours) > 8
    assert list(ours) == theirs[: len(ours)]
