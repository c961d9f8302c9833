"""The Python API: the command line's work on a loaded model, which is given back as it was."""

import json
from pathlib import Path

import architectures as arch
import pandas as pd
import pytest
import tiny
import torch

import prunekit as pk
from prunekit.experiment import export
from prunekit.runs.ticket_file import load_ticket, save_ticket
from prunekit.support.errors import ArtifactError, ConfigError

SMALL = dict(prompt_tokens=4, pieces=4, train_steps=6, evaluate_every=2, batch_size=4, threads=1, learning_rate=0.05)
SMALL |= dict(rounds=2, keep_tokens=2, precision="float32", quiet=True)
ROWS = pd.DataFrame({"text": ["w1", "w2"], "label": ["good", "bad"]})


@pytest.fixture
def job(folder, tmp_path):
    """Settings of a small run, its task and data written."""
    task = folder / "toy" / "toy.toml"
    if not task.exists():
        tiny.save_task(folder / "toy")
    return SMALL | dict(task=task, data=folder / "toy", out=tmp_path / "runs")


def test_a_loaded_model_is_pruned_attached_and_left_as_it_was(job, dense_wins):
    model = arch.frozen("gpt2").model.train().requires_grad_(True)
    run = pk.prune(model, tiny.tokenizer("gpt2"), seeds=2, tolerance=1, **job)
    assert model.training
    assert all(one.requires_grad for one in model.parameters())
    assert run.rounds["tokens"].tolist() == [4, 3, 2]
    assert run.best.mask.tokens == 2
    assert run.best.round == 2
    ids = tiny.tokenizer("gpt2")(["w1 w4 :", "w0 w3 w5 w6 :"], padding=True, return_tensors="pt")
    made = run.best.attach(model.eval()).generate(
        ids["input_ids"], ids["attention_mask"], max_new_tokens=2, pad_token_id=0
    )
    assert made.shape == (2, ids["input_ids"].shape[1] + 2)


def test_it_is_the_run_that_the_command_line_makes(job, folder, tmp_path):
    theirs, _ = tiny.finished("gpt2", folder, tmp_path / "theirs", precision="float32")
    settings = {name: one for name, one in job.items() if name != "task"}
    ours = pk.prune(str(folder / "model-gpt2"), None, job["task"], **settings)
    assert ours.path.name == theirs.path.name
    assert tiny.contents(ours.path).keys() == tiny.contents(theirs.path).keys()
    loaded = pk.prune(tiny.frozen("gpt2").model, tiny.tokenizer("gpt2"), job["task"], **settings)
    assert loaded.results["test_accuracy"].tolist() == ours.results["test_accuracy"].tolist()


def test_best_is_the_smallest_within_tolerance_and_search_gives_the_chosen(job, dense_wins):
    model, tokenizer = tiny.frozen("gpt2").model, tiny.tokenizer("gpt2")
    run = pk.prune(model, tokenizer, tolerance=1, **job)
    assert run.best == run.ticket(0, 2)
    assert pk.Run(run.path).best == run.ticket(0, 0)
    found = pk.search(model, tokenizer, grid="token", **of_tune(job))
    assert found.stage.startswith("search-")
    assert found.best.round == 1


def test_best_is_dense_where_that_beats_no_base_line_and_the_run_says_so(job):
    run = pk.prune(tiny.frozen("gpt2").model, tiny.tokenizer("gpt2"), tolerance=1, **job)
    assert run.best == run.ticket(0, 0)
    assert run.nothing_to_prune.startswith("Nothing to prune yet: on validation the dense prompt (accuracy ")
    assert run.baselines["name"].tolist() == ["majority", "no-prompt", "untrained"]
    assert not run.baselines["beaten"].all()


def test_tune_evaluate_and_load_agree(job, tmp_path):
    model, tokenizer = tiny.frozen("bert").model, tiny.tokenizer("bert")
    run = pk.tune(model, tokenizer, position="first", **of_tune(job))
    place = run.path / "seed=0" / "round=00"
    ticket = pk.Ticket.load(place)
    assert ticket == run.best
    data = dict(task=job["task"], data=job["data"], threads=1)
    found = pk.evaluate(ticket, model, tokenizer, **data)
    assert found["accuracy"] == run.results["test_accuracy"][0]
    vectors = ticket.export(tmp_path / "vectors", model, tokenizer, to="embeddings")
    assert sorted(path.name for path in (tmp_path / "vectors").iterdir()) == sorted(vectors.files)
    assert (vectors.to, vectors.proof) == ("embeddings", None)
    with pytest.raises(ConfigError, match=r"whole|prefix"):
        ticket.export(tmp_path / "whole", model, tokenizer, whole=True)
    pytest.importorskip("peft")
    written = ticket.export(tmp_path / "adapter", model, tokenizer)
    assert written.proof.logits.rows
    back = pk.Ticket.from_adapter(tmp_path / "adapter")
    assert pk.evaluate(back, model, tokenizer, **data) == found


def test_another_model_task_or_data_than_the_tickets_own_is_refused_or_said(job, tmp_path, capsys):
    model, tokenizer = tiny.frozen("gpt2").model, tiny.tokenizer("gpt2")
    ticket = pk.tune(model, tokenizer, **of_tune(job)).ticket()
    data = {"task": job["task"], "data": job["data"]}
    own = pk.evaluate(ticket, model, tokenizer, **data)
    model.config.layer_norm_epsilon = 0.5
    other = tiny.save_task(tmp_path / "other", rows=(24, 12, 7))
    differs = r"model configuration layer_norm_epsilon \(its default\) -> 0.5"
    with pytest.raises(ConfigError, match=f"this ticket: not what it was made with: {differs}; restore it, or"):
        pk.evaluate(ticket, model, tokenizer, **data)
    with pytest.raises(ConfigError, match=f"{differs}; data test 12 rows"):
        pk.evaluate(ticket, model, tokenizer, str(other), data=other.parent)
    with pytest.raises(ConfigError, match=differs):
        ticket.export(tmp_path / "adapter", model, tokenizer, verify=False)
    assert not (tmp_path / "adapter").exists()
    capsys.readouterr()
    assert pk.evaluate(ticket, model, tokenizer, allow_changed=True, **data).keys() == own.keys() | {"differs"}
    assert "used all the same: model configuration" in capsys.readouterr().err
    ticket.export(tmp_path / "adapter", model, tokenizer, verify=False, allow_changed=True)


def test_a_ticket_is_evaluated_under_the_settings_that_it_was_made_under(job):
    model, tokenizer = tiny.frozen("gpt2").model, tiny.tokenizer("gpt2")
    ticket = pk.tune(model, tokenizer, max_input_tokens=20, ranking="mean", **of_tune(job)).ticket()
    data = {"task": job["task"], "data": job["data"]}
    pk.evaluate(ticket, model, tokenizer, **data)
    with pytest.raises(ConfigError, match="max_input_tokens 20 -> 30; ranking mean -> sum"):
        pk.evaluate(ticket, model, tokenizer, max_input_tokens=30, ranking="sum", **data)


def of_tune(job):
    """The settings of a job that do not prune."""
    return {name: value for name, value in job.items() if name not in ("rounds", "keep_tokens")}


def test_a_ticket_is_exported_as_its_run_read_texts_unless_told_otherwise(job, folder, tmp_path):
    pytest.importorskip("peft")
    model, tokenizer = tiny.frozen("gpt2").model, tiny.tokenizer("gpt2")
    run = pk.prune(model, tokenizer, **job, ranking="mean", max_input_tokens=5)
    tickets = {"kept": run.ticket(), "best": run.best, "loaded": pk.Ticket.load(run.path / "seed=0" / "round=00")}
    for name, ticket in tickets.items():
        ticket.export(tmp_path / name, model, tokenizer)
        told = json.loads((tmp_path / name / "prunekit.json").read_bytes())["about"]
        assert (told["ranking"], told["max_input_tokens"], told["task"]) == ("mean", 5, "toy")
    tiny.save_model("gpt2", tmp_path / "model")
    named = tmp_path / "named"  # loaded by the README's own lines
    with pytest.raises(ConfigError, match="max_input_tokens 5 -> 4"):
        run.best.export(named, str(tmp_path / "model"), max_input_tokens=4)
    run.best.export(named, str(tmp_path / "model"), max_input_tokens=4, allow_changed=True)
    assert json.loads((tmp_path / "named" / "prunekit.json").read_bytes())["about"]["max_input_tokens"] == 4


def test_nothing_is_written_where_an_export_would_answer_otherwise(job, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    bone = arch.frozen("gpt2")
    run = pk.tune(bone.model, bone.tokenizer, **of_tune(job))
    arch.misread(export, monkeypatch)
    with pytest.raises(ArtifactError, match="answers differ"):
        run.best.export(tmp_path / "adapter", bone.model, bone.tokenizer)
    assert not (tmp_path / "adapter").exists()


def test_rows_of_one_batch_wear_different_tickets():
    bone = arch.frozen("llama")
    pair = [arch.ticket(bone, seed=seed) for seed in range(2)]
    ids = arch.texts()[6][None].repeat(2, 1)
    with torch.no_grad():
        both = pk.attach(bone.model, pair)(ids, tickets=[0, 1]).logits
        alone = [pk.attach(bone.model, one)(ids[:1]).logits[0] for one in pair]
    torch.testing.assert_close(both, torch.stack(alone))
    assert not torch.allclose(both[0], both[1])


def test_wrong_calls_end_in_one_line(job):
    model = tiny.frozen("gpt2").model
    for call, reason in [
        (lambda: pk.prune(model, None, **job), "its tokenizer"),
        (lambda: pk.prune(model, tiny.tokenizer("gpt2")), "needs a task: add --task"),
        (lambda: pk.prune(model, tiny.tokenizer("gpt2"), **job, keep_token=3), 'did you mean "keep_tokens"'),
        (lambda: pk.prune("no/such/model", None, **job), "no such folder"),
        (lambda: pk.prune("some/model", ROWS), "tokenizer is a DataFrame; give a task as task=, and rows in memory as"),
        (lambda: pk.prune("some/model", "sst2"), "tokenizer is a str; give a task as task="),
        (lambda: pk.compare(model, "sst2", **job), "tokenizer is a str"),
        (lambda: pk.prune("some/model", tiny.tokenizer("gpt2"), **job), "brings its own tokenizer"),
        (lambda: pk.prune("some/model", task=ROWS), "task is a DataFrame; give a name or a path, and rows in memory"),
        (lambda: pk.tune(ROWS, tiny.tokenizer("gpt2"), **job), "model is a DataFrame; give a loaded model or a name"),
    ]:
        with pytest.raises(Exception, match=reason) as refused:
            call()
        assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="this ticket is not for it"):
        pk.attach(model, arch.ticket(arch.frozen("bert")))


def test_what_prunekit_has_is_listed_and_what_it_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pk.nothing
    assert "prune" in dir(pk)


def test_paths_may_be_strings(job, tmp_path, monkeypatch):
    run = pk.prune(tiny.frozen("gpt2").model, tiny.tokenizer("gpt2"), tolerance=1, **job)
    monkeypatch.chdir(tmp_path)
    again = pk.Run(f"runs/{run.path.name}", run.stage, 1)
    assert again.best == run.best
    assert again.path == Path("runs") / run.path.name
    run.best.save("mine.safetensors")
    save_ticket(run.best, str(tmp_path / "deeper" / "mine.safetensors"))
    for path in ("mine.safetensors", "deeper/mine.safetensors", f"runs/{run.path.name}/seed=0/round=00"):
        assert pk.Ticket.load(path) == pk.Ticket.load(Path(path))
    assert pk.Ticket.load("mine.safetensors") == load_ticket("mine.safetensors") == run.best


def test_a_round_seed_or_arm_that_is_not_there_is_told_from_those_that_are(job):
    model, tokenizer = tiny.frozen("gpt2").model, tiny.tokenizer("gpt2")
    run = pk.prune(model, tokenizer, seeds="0,3", controls=True, **job)
    for wanted, said in [
        (dict(round=5), f"no round 5 of {run.stage}: there are rounds 0, 1 and 2"),
        (dict(round=-1), "there are rounds 0, 1 and 2"),
        (dict(round=1, seed=1), f"no seed 1 in round 1 of {run.stage}: there are seeds 0 and 3"),
        (dict(seed=4), "there are seeds 0 and 3"),
        (
            dict(arm="randon"),
            'no arm "randon" of .*: there are arms complement, dense-continued, random, reinit and short-prompt',
        ),
        (dict(arm="random", round=9), "no round 9 of .*: there are rounds 1 and 2"),
    ]:
        with pytest.raises(ArtifactError, match=said) as refused:
            run.ticket(**wanted)
        assert "delete" not in str(refused.value)
        assert "\n" not in str(refused.value)
    dense = pk.Run(run.path)
    said = rf'no round 2 of the dense stage: there is round 0; .* Run\(path, "{run.stage}"'
    with pytest.raises(ArtifactError, match=said):
        dense.ticket(round=2)
    with pytest.raises(ArtifactError, match='no arm "random" of the dense stage: it has no arms'):
        dense.ticket(arm="random", round=1)
    assert run.ticket(3, 0, "random") == run.ticket(3, 0)  # it begins where the ticket does
    assert run.ticket(3, 0, "short-prompt") != run.ticket(3, 0)  # this one does not
    assert run.ticket(3, 2, "random").mask.tokens == 2
