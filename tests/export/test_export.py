"""Exports: exact files, refusals with a reason, a proof by PEFT, and use in an interpreter without prunekit."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import architectures as arch
import pytest
import tiny
import torch
from safetensors.torch import load, save, save_file
from tiny import call

from prunekit import export
from prunekit.experiment import export as export_ticket
from prunekit.experiment import run as experiment
from prunekit.experiment import settings_io
from prunekit.experiment.prepare import prepare
from prunekit.export import TicketInfo
from prunekit.export.attach import attach
from prunekit.export.verify import Verified, _difference, check
from prunekit.runs.paths import RunKey
from prunekit.runs.round_files import finished_ticket, starting_ticket
from prunekit.runs.ticket_file import load_ticket, save_ticket
from prunekit.support.errors import ArtifactError, ConfigError

# PEFT's and transformers' own warnings are others in every version
pytestmark = pytest.mark.filterwarnings("ignore")


# ---- the files


def test_pruned_tokens_are_deleted_and_pruned_pieces_are_exact_zeros():
    bone = arch.frozen("gpt2")
    ticket = arch.ticket(bone, "dpt", arch.MASKS["pieces"])
    files = export.adapter_files(ticket, bone, TicketInfo(model="some/gpt2", revision="abc"))
    prompt = load(files["adapter_model.safetensors"])["prompt_embeddings"]
    with torch.no_grad():
        values = ticket.prompt().prompt()
    keep = ticket.mask.expand(tiny.WIDTH)
    assert torch.equal(prompt, values.where(keep, 0.0)[ticket.mask.token])
    assert int((prompt == 0).sum()) == int((~keep[ticket.mask.token]).sum()) > 0
    config = json.loads(files["adapter_config.json"])
    expected = dict(peft_type="PROMPT_TUNING", task_type="CAUSAL_LM", num_virtual_tokens=3, token_dim=tiny.WIDTH)
    expected |= dict(num_transformer_submodules=1, base_model_name_or_path="some/gpt2", revision="abc")
    assert expected.items() <= config.items()
    assert sorted(files) == ["README.md", "adapter_config.json", "adapter_model.safetensors", "prunekit.json"]


def test_an_encoder_decoder_exports_one_submodule_and_encoders_their_head():
    bone = arch.frozen("t5")
    config = json.loads(export.adapter_files(arch.ticket(bone), bone, TicketInfo())["adapter_config.json"])
    assert (config["task_type"], config["num_transformer_submodules"]) == ("SEQ_2_SEQ_LM", 1)
    bert, roberta = arch.frozen("bert"), arch.frozen("roberta")
    ticket = arch.ticket(bert)
    tensors = load(export.adapter_files(ticket, bert, TicketInfo())["adapter_model.safetensors"])
    assert torch.equal(tensors["base_model.classifier.weight"], ticket.head["weight"])
    tensors = load(export.adapter_files(arch.ticket(roberta), roberta, TicketInfo())["adapter_model.safetensors"])
    assert torch.equal(tensors["base_model.classifier.dense.weight"], roberta.model.pooler.dense.weight)


def test_zeroed_tokens_keep_their_slot():
    bone = arch.frozen("llama")
    ticket = arch.ticket(bone, mask=arch.MASKS["one token"], dropped_as="zero")
    prompt = load(export.adapter_files(ticket, bone, TicketInfo())["adapter_model.safetensors"])["prompt_embeddings"]
    assert prompt.shape == (arch.TOKENS, tiny.WIDTH)
    assert prompt.any(dim=1).tolist() == arch.MASKS["one token"].token.tolist()


def test_what_peft_cannot_do_is_refused_with_the_reason():
    gpt2, bert = arch.frozen("gpt2"), arch.frozen("bert")
    ticket, pruned = arch.ticket(gpt2), arch.ticket(gpt2, mask=arch.MASKS["pieces"])
    refused = [
        (replace(ticket, position="suffix"), gpt2, "behind the text; use --to embeddings"),
        (replace(arch.ticket(bert), position="after-cls"), bert, "train with --position first"),
        (replace(pruned, dropped_as="hide"), gpt2, "--dropped-as hide"),
        (arch.ticket(gpt2, "dept"), gpt2, "no static prompt"),
        (arch.ticket(gpt2, "adept"), gpt2, "no static prompt"),
    ]
    bert.model.pooler = None
    refused.append((arch.ticket(bert), bert, "no pooler"))
    for one, bone, reason in refused:
        with pytest.raises(ConfigError, match=reason):
            export.adapter_files(one, bone, TicketInfo())
    export.adapter_files(replace(ticket, dropped_as="hide"), gpt2, TicketInfo())  # nothing of it is hidden


def test_a_wrong_adapter_does_not_pass_the_proof(tmp_path):
    pytest.importorskip("peft")
    bone = arch.frozen("gpt2")
    ticket = arch.ticket(bone)
    files = export.adapter_files(ticket, bone, TicketInfo())
    prompt = load(files["adapter_model.safetensors"])["prompt_embeddings"]
    files["adapter_model.safetensors"] = save({"prompt_embeddings": prompt.flip(0).contiguous()})
    with pytest.raises(ArtifactError, match="not exported, since PEFT would answer otherwise"):
        export.verify(arch.written(tmp_path, files), ticket, bone)


# ---- vectors


def test_embeddings_hold_the_slots_and_say_which_are_hidden():
    bone = arch.frozen("gpt2", position="suffix")
    ticket = arch.ticket(bone, mask=arch.MASKS["pieces"], dropped_as="hide")
    files = export.embedding_files(ticket, TicketInfo())
    tensors = load(files["prompt_embeddings.safetensors"])
    assert tensors["prompt_embeddings"].shape == (arch.TOKENS, tiny.WIDTH)
    assert torch.equal(tensors["present"], ticket.mask.token)
    assert json.loads(files["prunekit.json"])["ticket"]["position"] == "suffix"


@pytest.mark.parametrize(("position", "method"), [("first", "dept"), ("suffix", "direct")])
def test_prompt_embeds_are_what_a_server_must_read(position, method):
    bone = arch.frozen("llama", position=position)
    ticket = arch.ticket(bone, method, arch.MASKS["pieces"])
    examples = tiny.encoded(bone, tiny.examples(3), arch.TOKENS)
    content = export.prompt_embeds_files(ticket, TicketInfo(), bone, [one.text for one in examples])
    rows = load(content["prompt_embeds.safetensors"])
    scores = tiny.logits(bone, examples, ticket)[0]
    for number, example in enumerate(examples):
        with torch.no_grad():
            said = bone.model(inputs_embeds=rows[str(number)][None]).logits[0, -1].log_softmax(-1)
        torch.testing.assert_close(said[[one[0] for one in example.choices]], scores[number], rtol=1e-5, atol=1e-5)


def test_prompt_embeds_of_hidden_tokens_or_other_families_are_refused():
    llama, t5 = arch.frozen("llama"), arch.frozen("t5")
    hidden = arch.ticket(llama, mask=arch.MASKS["pieces"], dropped_as="hide")
    with pytest.raises(ConfigError, match="attends to every row"):
        export.prompt_embeds_files(hidden, TicketInfo(), llama, [[5, 6]])
    with pytest.raises(ConfigError, match="decoder-only"):
        export.prompt_embeds_files(arch.ticket(t5), TicketInfo(), t5, [[5, 6]])


# ---- adapters of others


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bert"])
def test_an_adapter_that_peft_saved_is_a_dense_ticket_of_round_zero(kind, tmp_path):
    peft = pytest.importorskip("peft")
    bone = arch.frozen(kind)
    model, type_ = bone.model, export.peft.task_type(bone)
    if kind == "bert":
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_config(model.config).eval()
        model.bert = bone.model
    made = peft.get_peft_model(model, peft.PromptTuningConfig(task_type=type_, num_virtual_tokens=3)).eval()
    made.save_pretrained(tmp_path)
    ticket = export.read_adapter(str(tmp_path), pieces=4)
    assert (ticket.round, ticket.method, ticket.mask.tokens) == (0, "direct", 3)
    assert ticket.mask.density == 1.0
    given = arch.texts()[5][None]
    more = dict(decoder_input_ids=torch.tensor([[0, 4]])) if kind == "t5" else {}
    with torch.no_grad():
        theirs = made(input_ids=given, **more).logits
        ours = attach(bone.model, ticket)(given, **more).logits
    assert torch.equal(ours, theirs[:, -ours.shape[1] :])


def test_p_tuning_is_a_prompt_too_and_other_kinds_are_refused(tmp_path):
    peft = pytest.importorskip("peft")
    bone = arch.frozen("gpt2")
    config = peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=8)
    made = peft.get_peft_model(bone.model, config).eval()
    made.save_pretrained(tmp_path / "p")
    given, ticket = arch.texts()[5][None], export.read_adapter(str(tmp_path / "p"), pieces=4)
    with torch.no_grad():
        torch.testing.assert_close(attach(bone.model, ticket)(given).logits, made(given).logits[:, 3:])
    other = arch.frozen("gpt2")
    peft.get_peft_model(other.model, peft.LoraConfig(task_type="CAUSAL_LM")).save_pretrained(tmp_path / "lora")
    with pytest.raises(ConfigError, match="a LORA adapter; only prompts made of input vectors, or of keys and values"):
        export.read_adapter(str(tmp_path / "lora"))


def test_a_pickle_is_refused_and_never_opened(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}')
    (tmp_path / "adapter_model.bin").write_bytes(b"c__builtin__\nprint\n(S'opened'\ntR.")
    with pytest.raises(ConfigError, match="can run code"):
        export.read_adapter(str(tmp_path))


def test_damaged_foreign_or_absent_adapters_end_in_one_line(tmp_path):
    with pytest.raises(Exception, match="no such folder, and not in the local cache"):
        export.read_adapter("nobody/nothing")
    with pytest.raises(Exception, match="holds no PEFT adapter"):
        export.read_adapter(str(tmp_path))
    settings = dict(peft_type="PROMPT_TUNING", task_type="CAUSAL_LM", num_virtual_tokens=2)

    def put(values, **more):
        (tmp_path / "adapter_config.json").write_text(json.dumps(settings | more))
        save_file({"prompt_embeddings": values}, tmp_path / "adapter_model.safetensors")

    put(torch.ones(2, 32, dtype=torch.float16))
    assert export.read_adapter(str(tmp_path)).state["values"].dtype == torch.float32
    for values, more, reason in [
        (torch.full((2, 32), torch.nan), {}, "NaN"),
        (torch.ones(1, 32), {}, "no prompt of 2 tokens"),
        (torch.ones(2, 32), dict(task_type="TOKEN_CLS"), "TOKEN_CLS"),
        (torch.ones(2, 32), dict(task_type="SEQ_CLS"), "no head"),
        (torch.ones(2, 30), {}, "does not divide"),
    ]:
        put(values, **more)
        with pytest.raises((ConfigError, ArtifactError), match=reason):
            export.read_adapter(str(tmp_path))


def test_a_side_file_of_another_adapter_is_noticed(tmp_path):
    bone = arch.frozen("gpt2")
    arch.written(tmp_path, export.adapter_files(arch.ticket(bone), bone, TicketInfo()))
    other = export.adapter_files(arch.ticket(bone, seed=1), bone, TicketInfo())
    (tmp_path / "adapter_model.safetensors").write_bytes(other["adapter_model.safetensors"])
    with pytest.raises(ArtifactError, match="was written for another"):
        export.read_adapter(str(tmp_path))
    (tmp_path / "prunekit.json").unlink()
    assert export.read_adapter(str(tmp_path), pieces=4).mask.tokens == arch.TOKENS


# ---- from the command line, and onwards without prunekit

OUTSIDE = """
import json, sys


class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("prunekit", "analyses", "figures"):
            raise ImportError(name)


sys.meta_path.insert(0, Nowhere())
import warnings

warnings.simplefilter("ignore")
card, rows, folder = sys.argv[1:]
code = open(card, encoding="utf-8").read().split("```python")[1].split("```")[0]
found = {}
exec(code.replace('Path(".")', f"Path({folder!r})"), found)
print(json.dumps([found["answer"](row) for row in json.load(open(rows))]))
assert not any(name.split(".")[0] == "prunekit" for name in sys.modules)
"""


def answers_outside(adapter, fields, tmp_path) -> list[int]:
    """What the card's own lines answer in an interpreter that cannot import prunekit."""
    (tmp_path / "rows.json").write_text(json.dumps(fields))
    arguments = [sys.executable, "-c", OUTSIDE, adapter / "README.md", tmp_path / "rows.json", adapter]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    told = subprocess.run(arguments, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


def agrees(made, position, prepared, tmp_path):
    """Export a finished round and compare every answer to the test split with those that the run wrote."""
    pytest.importorskip("peft")
    out = tmp_path / "adapter"
    assert call("export", made.folder(position), f"--out={out}") == 0
    table = made.table(position, "predictions.parquet")
    table = table[table["split"] == "test"].set_index("example")
    fields = [dict(one.fields) for one in prepared.splits.test]
    ours = [int(table.loc[one.index, "choice"]) for one in prepared.splits.test]
    assert answers_outside(out, fields, tmp_path) == ours
    assert len(set(ours)) > 1


SMALL = dict(rounds=1, precision="float32", threads=1)
LONGER = SMALL | dict(train_steps=30, evaluate_every=10)
OWN = {
    "gpt2": lambda folder, shared: tiny.experiment("gpt2", folder, train_steps=20, **SMALL),
    "bert": lambda folder, shared: tiny.experiment("bert", folder, train_steps=20, position="first", **SMALL),
    "testbed": lambda folder, shared: settings_io.experiment(None, LONGER | dict(
        train_examples=64, validation_examples=32, test_examples=40, prompt_tokens=4, keep_tokens=2)),
    "minilm": lambda folder, shared: settings_io.experiment(None, LONGER | dict(
        model=str(shared / "models" / "all-minilm-l6-v2"), task="sst2", data=str(shared / "data" / "sst2"),
        position="first", train_examples=32, validation_examples=40, test_examples=200, max_input_tokens=64)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_an_exported_run_answers_alike_without_prunekit(name, folder, tmp_path, capsys, request):
    shared = request.getfixturevalue("shared") if name == "minilm" else None
    prepared = prepare(OWN[name](folder, shared))
    made = experiment.run(prepared, tmp_path / "runs", tiny.Quiet())
    agrees(made, RunKey(prepared.stage, 0, 1), prepared, tmp_path)
    assert "largest difference of logits under PEFT" in capsys.readouterr().out


@pytest.fixture(scope="module")
def run(folder):
    made, prepared = tiny.finished("gpt2", folder, folder / "runs", rounds=1, train_steps=2)
    return made, RunKey(prepared.stage, 0, 1)


def test_export_and_import_by_command_give_the_same_answers(run, tmp_path, capsys):
    made, position = run
    pytest.importorskip("peft")
    assert call("export", made.folder(position), f"--out={tmp_path / 'adapter'}", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["difference"], facts["tokens"]) == (0.0, 2)
    assert (facts["answers"], facts["different_answers"]) == (12, 0)
    assert facts["score_difference"] <= 1e-5 * facts["largest_score"]
    assert call("import", tmp_path / "adapter", f"--out={tmp_path / 'back.ticket'}") == 0
    assert "2 tokens for the model" in capsys.readouterr().out
    scores = []
    for path in (made.folder(position), tmp_path / "back.ticket"):
        data = made.settings()["task"]["data"]
        assert call("eval", path, f"--data={data}", "--precision=float32", "--json") == 0
        scores.append(json.loads(capsys.readouterr().out))
    assert scores[0] == scores[1]
    assert load_ticket(tmp_path / "back.ticket").origin["run"] == made.settings()["id"]


def test_export_by_command_writes_vectors_and_rows(run, tmp_path, capsys):
    made, position = run
    assert call("export", made.folder(position), "--to=embeddings", f"--out={tmp_path / 'v'}") == 0
    assert load((tmp_path / "v" / "prompt_embeddings.safetensors").read_bytes())["prompt_embeddings"].shape[0] == 2
    (tmp_path / "rows.jsonl").write_text('{"sentence": "w1 w7"}\n{"sentence": "w0"}\n')
    arguments = ["--to=prompt-embeds", f"--rows={tmp_path / 'rows.jsonl'}", f"--out={tmp_path / 'rows'}"]
    assert call("export", made.folder(position), *arguments) == 0
    rows = load((tmp_path / "rows" / "prompt_embeds.safetensors").read_bytes())
    assert [len(rows[name]) for name in ("0", "1")] == [2 + 3, 2 + 2]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [(["--to=onnx"], "use one of peft"), (["--to=prompt-embeds"], "--rows"), (["--rows=x.jsonl"], "--rows")],
)
def test_a_wrong_wish_is_refused_in_one_line(flags, reason, run, tmp_path, capsys):
    made, position = run
    assert call("export", made.folder(position), f"--out={tmp_path / 'out'}", *flags) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert reason in said[0]
    assert not (tmp_path / "out").exists()


def test_nobody_elses_adapter_is_overwritten(run, tmp_path, capsys):
    made, position = run
    (tmp_path / "adapter_config.json").write_text("{}")
    assert call("export", made.folder(position), f"--out={tmp_path}") == 2
    assert "did not write" in capsys.readouterr().err
    (tmp_path / "there").write_text("mine")
    bone = arch.frozen("gpt2")
    source = arch.written(tmp_path / "adapter", export.adapter_files(arch.ticket(bone), bone, TicketInfo()))
    assert call("import", source, f"--out={tmp_path / 'there'}") == 2
    assert "holds something else" in capsys.readouterr().err


# ---- what is compared before anything is written


def test_what_was_compared_is_said_with_its_numbers(run, tmp_path, capsys):
    made, position = run
    pytest.importorskip("peft")
    assert call("export", made.folder(position), f"--out={tmp_path / 'adapter'}") == 0
    said = capsys.readouterr().out
    assert re.search(r"largest difference of logits under PEFT \S+: 0 over 8 made-up rows", said)
    found = re.search(r"README's code against eval: 0 of 12 answers differ, largest difference of scores (\S+)", said)
    assert float(found[1]) < 1e-4


def test_an_export_that_would_answer_otherwise_is_not_written(run, tmp_path, capsys, monkeypatch):
    made, position = run
    pytest.importorskip("peft")
    # the attached ticket and PEFT agree still, but the code that trains and evaluates reads another prompt
    arch.misread(export_ticket, monkeypatch)
    assert call("export", made.folder(position), f"--out={tmp_path / 'adapter'}") == 1
    said = capsys.readouterr()
    assert re.search(r"not exported: its README's code against eval: \d+ of 12 answers differ", said.err)
    assert len(said.err.splitlines()) == 1
    assert not (tmp_path / "adapter").exists()


def test_without_the_runs_data_the_logits_alone_are_compared_and_that_is_said(run, tmp_path, capsys):
    made, position = run
    pytest.importorskip("peft")
    moved = ("--task", made.settings()["task"]["name"], "--data", str(tmp_path / "nowhere"))
    assert call("export", made.folder(position), f"--out={tmp_path / 'adapter'}", *moved) == 0
    said = capsys.readouterr().out
    assert "logits of made-up rows alone were compared, no answers: " in said
    assert "nowhere" in said
    assert call("export", made.folder(position), f"--out={tmp_path / 'adapter'}", *moved, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["difference"], facts["answers"], facts["different_answers"]) == (0.0, None, None)


# ---- prune --from


def test_prune_goes_on_from_an_imported_prompt(run, folder, tmp_path):
    made, position = run
    given, kept, path = starting_ticket(made, position), finished_ticket(made, position), tmp_path / "a.ticket"
    save_ticket(kept, path)
    prepared = prepare(tiny.experiment("gpt2", folder, rounds=1, from_=path, prompt_tokens=None, keep_tokens=1))
    dense = prepared.dense(0)
    with torch.no_grad():
        values, present = kept.prompt()()
    assert torch.equal(dense.state["values"], values[present])
    assert dense.mask.tokens == given.mask.tokens == 2
    assert prepared.dense(1).state["values"].equal(dense.state["values"])
    assert prepared.id != prepare(tiny.experiment("gpt2", folder, rounds=1, prompt_tokens=2, keep_tokens=1)).id
    assert not prepared.new_values(dense).state["values"].equal(dense.state["values"])


def test_a_head_comes_along_with_from(folder, tmp_path):
    bone = arch.frozen("bert")
    path = tmp_path / "a.ticket"
    save_ticket(tiny.ticket(bone, tokens=3), path)
    prepared = prepare(
        tiny.experiment("bert", folder, rounds=1, from_=path, prompt_tokens=None, position="first", keep_tokens=1)
    )
    assert prepared.dense(0).head["weight"].equal(load_ticket(path).head["weight"])
    assert not prepared.new_values(prepared.dense(0)).head["weight"].any()


def test_from_refuses_what_contradicts_it(folder, tmp_path):
    bone = arch.frozen("gpt2")
    path, suffix = tmp_path / "a.ticket", tmp_path / "b.ticket"
    save_ticket(tiny.ticket(bone, tokens=3), path)
    save_ticket(replace(tiny.ticket(bone, tokens=3), position="suffix"), suffix)
    for more, reason in [
        (dict(from_=path), "leave out --prompt-tokens"),
        (dict(from_=path, prompt_tokens=None, method="dpt"), "leave out"),
        (dict(from_=suffix, prompt_tokens=None), "--position suffix"),
    ]:
        with pytest.raises(ConfigError, match=reason):
            prepare(tiny.experiment("gpt2", folder, rounds=1, keep_tokens=1, **more))


def test_what_is_no_number_proves_nothing():
    pairs = [(torch.ones(3), torch.ones(3)), (torch.tensor([1.0, float("nan"), 1.0]), torch.ones(3))]
    assert _difference(pairs) == float("inf")
    with pytest.raises(ArtifactError, match="would answer otherwise"):
        check(Verified(2, _difference(pairs), 1.0, "0.21"))
