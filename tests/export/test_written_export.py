"""Tickets whose answers are written: every form of export, and `attach`, write what prunekit writes."""

import json

import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import GenerationConfig

import prunekit as pk
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import prepare

# PEFT's and transformers' own warnings are others in every version
pytestmark = pytest.mark.filterwarnings("ignore")

GREEDY = dict(do_sample=False, max_new_tokens=4, pad_token_id=0)


@pytest.fixture(scope="module", params=["t5", "llama"])
def made(request, tmp_path_factory):
    """A pruned ticket's path, its frozen model, the rows of test, and what prunekit writes to them."""
    folder = tmp_path_factory.mktemp(request.param)
    model = tiny.save_model(request.param, folder / f"model-{request.param}")
    if (
        request.param == "t5"
    ):  # whose likeliest first tokens are padding and the end; as some models have it, both banned
        ban = GenerationConfig(suppress_tokens=[0, 1], decoder_start_token_id=0, eos_token_id=1, pad_token_id=0)
        ban.save_pretrained(model)
    more = dict(task="swap", rounds=1, train_steps=2)
    prepared = prepare(tiny.experiment(request.param, folder, **more))
    run = experiment.run(prepared, folder / "runs", tiny.Quiet())
    ticket = run.path / str(prepared.stage) / "seed=0" / "round=01"
    rows = [dict(example.fields) for example in prepared.splits.test]
    answers = [answer["answer"] for answer in pk.predict(ticket, rows, quiet=True)]
    assert len(set(answers)) > 1  # or this would compare little
    return ticket, prepared.model, rows, answers


def exported(ticket, out, *flags):
    assert tiny.call("export", ticket, "--out", out, *flags) == 0
    return json.loads((out / "prunekit.json").read_text())["about"]


def said(model, ids):
    return model.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_the_readme_of_an_adapter_writes_the_same(made, tmp_path, capsys):
    pytest.importorskip("peft")
    ticket, _, rows, answers = made
    about = exported(ticket, tmp_path)
    assert "0 of 12 answers are written otherwise" in capsys.readouterr().out
    assert (about["target"], about["decoding"]["max_tokens"], about["choices"]) == ("{answers}", 4, None)
    readme = (tmp_path / "README.md").read_text()
    assert '`write({"sentence": "..."})` is the answer, as text.' in readme
    assert "- how: `greedy, at most 4 tokens`" in readme
    lines = readme.split("```python\n")[1].split("```")[0].replace('Path(".")', f"Path({str(tmp_path)!r})")
    names = {}
    exec(lines, names)
    assert [names["write"](row) for row in rows] == answers


def test_an_adapter_whose_readme_writes_otherwise_is_not_written(made, tmp_path, capsys, monkeypatch):
    pytest.importorskip("peft")
    from prunekit.export import card

    monkeypatch.setattr(card, "_WRITE", card._WRITE.replace(".strip()", '.strip() + "."'))
    assert tiny.call("export", made[0], "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "not exported: its README's code against eval: 12 of 12 answers are written otherwise" in error
    assert not (tmp_path / "out").exists()


def test_embeddings_before_a_text_make_the_model_write_the_same(made, tmp_path):
    ticket, model, rows, answers = made
    about = exported(ticket, tmp_path, "--to=embeddings")
    prompt = load_file(tmp_path / "prompt_embeddings.safetensors")["prompt_embeddings"]
    written = []
    for row in rows:
        ids = torch.tensor(model.reader.framed(model.reader.ids([about["template"].format(**row)], plain=True)[0]))
        embeds = torch.cat([prompt, model.model.get_input_embeddings()(ids)])[None]
        written.append(said(model, model.model.generate(inputs_embeds=embeds, **GREEDY)[0]))
    assert written == answers


def test_prompt_embeds_make_a_server_write_the_same(made, tmp_path):
    ticket, model, rows, answers = made
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    flags = ("--to=prompt-embeds", f"--rows={tmp_path / 'rows.jsonl'}")
    if model.model.config.is_encoder_decoder:
        assert tiny.call("export", ticket, "--out", tmp_path / "out", *flags) == 2
        return
    exported(ticket, tmp_path / "out", *flags)
    tensors = load_file(tmp_path / "out" / "prompt_embeds.safetensors")
    embeds = (tensors[str(number)][None] for number in range(len(rows)))
    assert [said(model, model.model.generate(inputs_embeds=each, **GREEDY)[0]) for each in embeds] == answers


def test_an_attached_model_writes_the_same(made):
    ticket, model, rows, answers = made
    attached = pk.attach(model.model, pk.Ticket.load(ticket))
    written = []
    for row in rows:
        ids = torch.tensor([model.reader.framed(model.reader.ids([f"{row['sentence']} :"], plain=True)[0])])
        output = attached.generate(ids, **GREEDY)[0]
        written.append(said(model, output if model.model.config.is_encoder_decoder else output[ids.shape[1] :]))
    assert written == answers
