"""Real models on real tasks, from ../shared; skipped with a reason where that folder is absent."""

import pytest
import tiny
import torch

from prunekit.engine.evaluate import evaluate
from prunekit.experiment import run, settings_io
from prunekit.experiment.prepare import prepare
from prunekit.runs.paths import RunKey

pytestmark = pytest.mark.slow

SMALL = dict(train_examples=16, validation_examples=16, test_examples=16, patience=9, threads=1)
SMALL |= dict(train_steps=30, evaluate_every=10, batch_size=8, max_input_tokens=48)

# task -> its data, and what keeps it small here
SUPERGLUE = {
    "boolq": ("boolq_devcarve", {}),
    "cb": ("cb", dict(train_steps=12, evaluate_every=4, max_input_tokens=32)),
    "copa": ("fewglue/copa", dict(validation_examples=6)),
    "multirc": ("multirc_devcarve", dict(max_input_tokens=64)),
    "record": (
        "fewglue/record",
        dict(batch_size=2, train_examples=2, validation_examples=1, test_examples=1, max_input_tokens=40),
    ),
    "rte": ("rte", {}),
    "wic": ("fewglue/wic", dict(validation_examples=6)),
    "wsc": ("wsc", {}),
}
METRICS = {
    "cb": ["accuracy", "macro_f1"],
    "multirc": ["f1a", "exact_match"],
    "record": ["record_f1", "record_exact_match"],
}


DENSE = RunKey("", 0, 0)


def settings(shared, model, task, data, **more):
    given = dict(model=shared / "models" / model, task=task, data=shared / "data" / data) | SMALL | more
    return settings_io.experiment(None, {name: str(value) for name, value in given.items() if value is not None})


@pytest.mark.parametrize("name", sorted(SUPERGLUE))
def test_minilm_learns_every_superglue_task_and_reports_its_metrics(name, shared, tmp_path):
    data, small = SUPERGLUE[name]
    prepared = prepare(settings(shared, "all-minilm-l6-v2", f"superglue/{name}", data, **small))
    made = run.run(prepared, tmp_path, tiny.Quiet(), prune=False)
    result = made.result(DENSE)
    assert sorted(result["test"]) == sorted(METRICS.get(name, ["accuracy"]))
    assert all(0 <= value <= 1 for value in result["test"].values())
    log = made.table(DENSE, "log.parquet")
    losses = log[(log["split"] == "train") & (log["metric"] == "loss")]["value"].tolist()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("task", "rate"), [("sst2", 0.05), ("subj", 0.15)])
def test_a_causal_model_of_stories_beats_the_majority_on_its_training_split(task, rate, shared, tmp_path):
    some = dict(train_examples=32, train_steps=150, evaluate_every=75, learning_rate=rate, max_input_tokens=64)
    some |= dict(keep="last")  # 16 examples choose badly, and the claim is about the training split
    prepared = prepare(settings(shared, "stories260k", task, task, **some))
    made = run.run(prepared, tmp_path, tiny.Quiet(), prune=False)
    from prunekit.engine.cohort import Member, prompt_batch
    from prunekit.runs.round_files import finished_ticket

    with torch.no_grad():
        prompts = prompt_batch([Member(finished_ticket(made, DENSE))])
    chosen = evaluate(prompts, prepared.model, prepared.training_data.train).chosen[0].tolist()
    reached = prepared.task.score(prepared.splits.train, chosen)["accuracy"]
    assert reached > prepared.task.majority(prepared.splits.train)


def test_minilm_prunes_sst2(shared, tmp_path):
    some = dict(rounds=2, seeds=2, train_steps=4, evaluate_every=2)
    prepared = prepare(settings(shared, "all-minilm-l6-v2", "sst2", "sst2", **some))
    made = run.run(prepared, tmp_path, tiny.Quiet())
    table = made.results()
    table = table[table["stage"] != "untrained"]
    assert list(table["tokens"]) == [20, 20, 10, 10, 5, 5]
    assert list(table["parameters"]) == [7680, 7680, 10 * 11 * 24, 10 * 11 * 24, 5 * 8 * 24, 5 * 8 * 24]
