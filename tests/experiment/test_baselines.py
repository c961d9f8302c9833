"""Base lines of small runs: against the plain model on texts that are written out here, and scikit-learn alone."""

import numpy as np
import pytest
import tiny
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prunekit.experiment import run
from prunekit.experiment.baselines import BASE_LINES, linear_probe
from prunekit.experiment.baselines.linear_probe import STRENGTHS
from prunekit.experiment.baselines.shots import drawn
from prunekit.experiment.prepare import prepare
from prunekit.runs.baselines import BaseLines
from prunekit.runs.paths import RunKey
from prunekit.support.errors import ConfigError

INSTRUCTION = "w30 {w31} good or bad"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    task = tiny.save_task(folder / "toy")
    task.write_text(task.read_text().replace("[choices]", f'instruction = "{INSTRUCTION}"\n[choices]'))
    return folder


def made(kind, folder, out, **more):
    prepared = prepare(tiny.experiment(kind, folder, rounds=None, keep_tokens=None, **more))
    return prepared, run.run(prepared, out, tiny.Quiet(), prune=False)


@pytest.fixture(scope="module")
def of_gpt2(folder, tmp_path_factory):
    return made("gpt2", folder, tmp_path_factory.mktemp("out"), shots=3, seeds=2)


def plain_choices(model, tokenizer, texts):
    """What the model prefers behind each text, read alone."""
    answers = [tokenizer(word)["input_ids"][0] for word in ("good", "bad")]
    chosen = []
    for text in texts:
        with torch.no_grad():
            logits = model(torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])).logits[0, -1]
        chosen.append(int(logits[answers].argmax()))
    return chosen


def written(directory, name, seed=0, split="validation"):
    table = directory.table(RunKey(f"baselines/{name}", seed, 0), "predictions.parquet")
    return table[table["split"] == split]


def test_progress_is_told_while_a_base_line_is_measured(folder):
    settings = dict(shots=2, ceiling="lora", train_steps=4)
    prepared = prepare(tiny.experiment("gpt2", folder, rounds=None, keep_tokens=None, **settings))
    applied = [base_line for base_line in BASE_LINES if base_line.applies(prepared)]
    assert len(applied) == 4
    for base_line in applied:
        ticks = []
        base_line.answers(prepared, 0, ticks.append)
        assert len(ticks) > 1
        assert ticks == sorted(ticks)
        assert ticks[-1] == base_line.work(prepared)[0]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_prompt_and_the_written_instruction_are_the_plain_model_on_those_words(of_gpt2, split):
    prepared, directory = of_gpt2
    (instruction,) = (name for name in BaseLines.of(directory).table["name"] if name.startswith("instruction"))
    texts = [example.before for example in prepared.splits.parts[split]]
    model, tokenizer = tiny.model("gpt2"), tiny.tokenizer("gpt2")
    for name, front in (("no-prompt", ""), (instruction, f"{INSTRUCTION}\n")):
        naive = plain_choices(model, tokenizer, [front + text for text in texts])
        assert written(directory, name, split=split)["choice"].tolist() == naive


def test_examples_in_context_stand_before_the_text_with_their_answers(of_gpt2):
    prepared, directory = of_gpt2
    model, tokenizer = tiny.model("gpt2"), tiny.tokenizer("gpt2")
    by_index = {example.index: example for example in prepared.splits.train}
    for seed in (0, 1):
        facts = directory.facts(RunKey("baselines/shots=3", seed, 0), "facts.json")
        shots = [by_index[index] for index in facts["train_examples"]]
        assert len({shot.choices[shot.gold[0]] for shot in shots[:2]}) == 2
        assert (facts["rows_with_fewer"], facts["cut"]) == (0, 0)
        front = "".join(f"{shot.before} {shot.choices[shot.gold[0]]}\n\n" for shot in shots)
        texts = [front + example.before for example in prepared.splits.validation]
        assert written(directory, "shots=3", seed)["choice"].tolist() == plain_choices(model, tokenizer, texts)


def test_a_row_without_room_has_fewer_examples_and_is_counted(folder, tmp_path):
    said = []
    prepared = prepare(tiny.experiment("gpt2", folder, rounds=None, keep_tokens=None, shots=9))
    quiet = tiny.Quiet()
    quiet.say = said.append
    directory = run.run(prepared, tmp_path, quiet, prune=False)
    facts = directory.facts(RunKey("baselines/shots=9", 0, 0), "facts.json")
    assert facts["rows_with_fewer"] > 0  # 80 positions
    assert facts["cut"] == 0
    assert any("9 examples in context, seed 0: validation accuracy" in line and "had no room" in line for line in said)


def test_another_number_of_examples_joins_the_same_run_and_what_is_there_stays(of_gpt2, folder):
    _, directory = of_gpt2
    before = {path: path.read_bytes() for path in directory.path.rglob("*.parquet")}
    _, again = made("gpt2", folder, directory.path.parent, shots=1, seeds=2)
    assert again.path == directory.path
    assert {"shots=1", "shots=3", "no-prompt"} < set(BaseLines.of(again).table["name"])
    assert {path: path.read_bytes() for path in before} == before
    assert again.snapshot().verify() > 0


def test_a_training_example_that_says_a_special_token_is_no_shot():
    some = tiny.examples(6)
    some[0] = some[0].shortened({"text": "w0 </s>"})
    reader = tiny.frozen("gpt2").reader
    assert 0 not in {shot.index for shot in drawn(some, 6, 0, reader)}
    assert drawn(some, 3, 0, reader) == drawn(some, 5, 0, reader)[:3]


def test_probes_of_an_encoder_are_scikit_learns_on_its_plain_states_read_once(folder, tmp_path, monkeypatch):
    read = tiny.spied(monkeypatch, linear_probe, "text_states", lambda model, rows: len(rows))
    prepared, directory = made("bert", folder, tmp_path)
    assert read == [len(rows) for rows in prepared.rows]
    model, tokenizer = tiny.model("bert"), tiny.tokenizer("bert")

    def states(examples):
        with torch.no_grad():
            rows = [model(torch.tensor([tokenizer(one.text)["input_ids"]])).last_hidden_state[0] for one in examples]
        first, mean = ([row[0] for row in rows], [row.mean(0) for row in rows])
        return [torch.stack(parts).double().numpy() for parts in (first, mean)]

    parts, names = prepared.splits.parts, ("probe-cls", "probe-mean")
    gold = {split: [one.gold[0] for one in examples] for split, examples in parts.items()}
    for number, name in enumerate(names):
        features = {split: states(examples)[number] for split, examples in parts.items()}
        probes = [
            make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)) for strength in STRENGTHS
        ]
        probes = [probe.fit(features["train"], gold["train"]) for probe in probes]
        best = max(probes, key=lambda probe: probe.score(features["validation"], gold["validation"]))
        table = written(directory, name, split="test")
        assert table["choice"].tolist() == best.predict(features["test"]).tolist()
        losses = -best.predict_log_proba(features["test"])[np.arange(len(table)), gold["test"]]
        np.testing.assert_allclose(table["loss"], losses, rtol=1e-3, atol=1e-5)
    assert BaseLines.of(directory).table["name"].tolist() == ["majority", *names, "untrained"]


@pytest.mark.parametrize(("kind", "position"), [("gpt2", "suffix"), ("bert", "first")])
def test_lora_is_trained_beside_the_prompt_and_leaves_the_model_as_it_was(kind, position, folder, tmp_path):
    pytest.importorskip("peft")
    more = dict(ceiling="lora", position=position, train_steps=30, evaluate_every=10)
    prepared, directory = made(kind, folder, tmp_path, **more)
    assert prepared.model.digest() == prepared.digests["model"]
    assert not any("lora" in name for name, _ in prepared.model.model.named_modules())
    facts = directory.facts(RunKey("baselines/lora", 0, 0), "facts.json")
    dense = directory.result(RunKey("", 0, 0))
    assert facts["kind"] == "ceiling"
    assert facts["parameters"] > dense["parameters"]
    assert facts["kept_step"] in (10, 20, 30)
    untrained = written(directory, "lora")["loss"].mean()
    without = directory.table(RunKey("untrained", 0, 0), "predictions.parquet")
    assert untrained < without[without["split"] == "validation"]["loss"].mean()


def test_a_ceiling_without_peft_is_refused_before_anything_is_trained(folder, monkeypatch):
    monkeypatch.setattr("prunekit.engine.lora.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--ceiling lora needs PEFT: pip install peft"):
        prepare(tiny.experiment("gpt2", folder, ceiling="lora"))


def test_the_instruction_is_what_init_text_starts_from_and_no_part_of_the_runs_name(folder):
    prepared = prepare(tiny.experiment("gpt2", folder, init="text"))
    assert prepared.experiment.prompt.init_text == INSTRUCTION
    named = prepare(tiny.experiment("gpt2", folder)).id
    task = folder / "toy" / "toy.toml"
    task.write_text(task.read_text().replace(INSTRUCTION, "another"))
    assert prepare(tiny.experiment("gpt2", folder)).id == named
    assert prepare(tiny.experiment("gpt2", folder, init="text")).id != prepared.id
