from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.experiment import round_runner
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import prepare
from prunekit.models import FrozenModel
from prunekit.models.encoder import Encoder
from prunekit.pruning.lottery import find_tickets
from prunekit.runs import round_files
from prunekit.runs.paths import RunKey
from prunekit.runs.round_files import starting_ticket
from prunekit.support.errors import ConfigError


def run(kind, folder, out, prune=True, **more):
    watch = tiny.Quiet()
    return experiment.run(prepare(tiny.experiment(kind, folder, **more)), out, watch, prune=prune), watch


@pytest.mark.parametrize("kind", tiny.by_day(tiny.KINDS, ("t5", "bart", "gpt2", "llama", "bert")))
def test_the_whole_pipeline_runs_on_every_architecture(kind, folder, tmp_path):
    made, _ = run(kind, folder, tmp_path, seeds=2, train_steps=2)
    table = rounds(made)
    assert list(table["round"]) == [0, 0, 1, 1, 2, 2]
    assert list(table["tokens"]) == [4, 4, 3, 3, 2, 2]
    assert list(table["pieces"]) == [4, 4, 3, 3, 2, 2]
    assert list(table["cells"]) == [16, 16, 9, 9, 4, 4]
    assert list(table["parameters"]) == [16 * 8, 16 * 8, 9 * 8, 9 * 8, 4 * 8, 4 * 8]
    assert set(table["status"]) == {"done"}
    assert table["test_accuracy"].between(0, 1).all()
    assert made.verify() > 0
    for seed in (0, 1):
        masks = [ticket_at(made, seed, number).mask for number in range(3)]
        assert masks[2] <= masks[1] <= masks[0]


def ticket_at(made, seed, number):
    key = RunKey(made.stages()[-1] if number else "", seed, number)
    return starting_ticket(made, key)


def rounds(made):
    """The results of the rounds alone, without the base line."""
    table = made.results()
    return table[table["stage"] != "untrained"]


def test_a_finished_run_is_loaded_and_nothing_is_done_again(folder, tmp_path, monkeypatch):
    made, _ = run("gpt2", folder, tmp_path, seeds=2)
    before = tiny.contents(made.path)
    monkeypatch.setattr(round_runner, "train", tiny.refuse)
    again, watch = run("gpt2", folder, tmp_path, seeds=2)
    assert tiny.contents(again.path) == before
    assert any("8 finished ticket(s) were there already" in line for line in watch.lines)


def test_the_base_line_of_an_encoder_is_the_same_where_nothing_is_remembered(folder, tmp_path, monkeypatch):
    made, _ = run("bert", folder, tmp_path / "one", seeds=2, prune=False)
    monkeypatch.setattr(Encoder, "caching_states", FrozenModel.caching_states)
    plain, _ = run("bert", folder, tmp_path / "other", seeds=2, prune=False)
    for seed in (0, 1):
        first, second = (round_files.finished_ticket(one, RunKey("untrained", seed, 0)) for one in (made, plain))
        assert first.head["weight"].abs().max() > 0
        assert torch.allclose(first.head["weight"], second.head["weight"], rtol=1e-4, atol=1e-7)


@pytest.mark.gate
@pytest.mark.parametrize("task", tiny.at_night("toy", "swap"))
@pytest.mark.parametrize("rewind", tiny.at_night("trained", "4", "init", "reinit"))
def test_an_interrupted_run_ends_in_the_same_bytes(rewind, task, folder, tmp_path, monkeypatch):
    more = dict(seeds=2, rewind=rewind, task=task, train_steps=4)
    whole, _ = run("t5", folder, tmp_path / "whole", **more)
    stops = 0

    def stopping(dense, keeps, learn, rewinding):
        nonlocal stops
        stops += 1
        for turn in find_tickets(dense, keeps, learn, rewinding):
            yield turn
            if turn.number == stops - 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "find_tickets", stopping)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run("t5", folder, tmp_path / "parts", **more)
    monkeypatch.undo()
    parts, _ = run("t5", folder, tmp_path / "parts", **more)
    assert stops == 3
    assert tiny.contents(parts.path) == tiny.contents(whole.path)


def test_the_ticket_of_a_round_starts_from_the_named_values(folder, tmp_path):
    starts = {}
    for rewind in ("trained", "init", "4", "reinit"):
        made, _ = run("gpt2", folder, tmp_path, rewind=rewind, train_steps=4)
        stage = next(s for s in made.stages() if s and str(made.stage_settings(s)["rewind"]) == rewind)
        starts[rewind] = starting_ticket(made, RunKey(stage, 0, 2)).state["values"]
        kept = round_files.kept_values(made, RunKey(stage, 0, 1)).state["values"]
        if rewind == "trained":
            assert torch.equal(starts[rewind], kept)
    dense, learned = round_files.load(made, RunKey("", 0, 0), "absolute", "accuracy")
    assert torch.equal(starts["init"], dense.state["values"])
    assert torch.equal(starts["init"], learned.snapshots[0].state["values"])
    assert torch.equal(starts["4"], learned.snapshots[4].state["values"])
    assert not torch.equal(starts["reinit"], starts["init"])


def test_prunings_of_one_dense_round_share_it(folder, tmp_path):
    made, _ = run("gpt2", folder, tmp_path)
    before = tiny.contents(made.path / "seed=0")
    again, watch = run("gpt2", folder, tmp_path, score="magnitude", rounds=1)
    assert again.path == made.path
    assert tiny.contents(made.path / "seed=0") == before
    assert watch.lines.count("round 0") == 0
    assert len(made.stages()) == 3


def test_pruning_follows_the_named_score_also_after_a_resume(folder, tmp_path):
    run("gpt2", folder, tmp_path, prune=False)
    made, _ = run("gpt2", folder, tmp_path, score="signed", rounds=1)
    kept = ticket_at(made, 0, 1).mask.token
    scores = round_files.load_scores(made, RunKey("", 0, 0))
    best = scores["signed"].token.argsort(descending=True, stable=True)[:2]
    assert set(kept.nonzero().flatten().tolist()) == set(best.tolist())
    assert set(scores) == {"absolute", "signed", "squared", "magnitude", "random"}


def test_added_seeds_form_a_new_cohort_and_leave_the_old_bytes(folder, tmp_path):
    made, _ = run("gpt2", folder, tmp_path, seeds=2)
    before = {name: content for name, content in tiny.contents(made.path).items() if "seed=" in name}
    again, _ = run("gpt2", folder, tmp_path, seeds=3)
    after = tiny.contents(again.path)
    assert again.settings()["cohorts"] == [[0, 1], [2]]
    assert {name: after[name] for name in before} == before
    assert sorted(set(again.results()["seed"])) == [0, 1, 2]


def test_width_splits_seeds_into_cohorts_once(folder, tmp_path):
    made, _ = run("gpt2", folder, tmp_path, seeds=3, width=2, prune=False)
    assert made.settings()["cohorts"] == [[0, 1], [2]]
    _, watch = run("gpt2", folder, tmp_path, seeds=3, width=3, prune=False)
    assert made.settings()["cohorts"] == [[0, 1], [2]]
    assert any(line.startswith("resuming as the run began") for line in watch.lines)


def test_a_seed_that_diverges_ends_and_the_others_go_on(folder, tmp_path, monkeypatch):
    prepared = prepare(tiny.experiment("gpt2", folder, seeds=2))
    dense = type(prepared).dense

    def poisoned(self, seed):
        ticket = dense(self, seed)
        if seed == 0:
            ticket = replace(ticket, state={"values": ticket.state["values"] * float("nan")})
        return ticket

    monkeypatch.setattr(type(prepared), "dense", poisoned)
    made = experiment.run(prepared, tmp_path, watch := tiny.Quiet())
    table = rounds(made)
    stopped = table[table["seed"] == 0]
    assert list(stopped["round"]) == [0]
    assert list(stopped["status"]) == ["diverged"]
    assert "validation loss became nan at step 0" in stopped["reason"].iloc[0]
    assert list(table[table["seed"] == 1]["round"]) == [0, 1, 2]
    assert any(line.startswith("seed 0 stopped in round 0") for line in watch.lines)
    again = experiment.run(prepared, tmp_path, tiny.Quiet())
    assert tiny.contents(again.path) == tiny.contents(made.path)


def test_the_report_split_is_looked_at_once_per_finished_ticket(folder, tmp_path, monkeypatch):
    note = lambda prompts, _, rows, *__: (prompts.members, len(rows))  # noqa: E731
    looks = tiny.spied(monkeypatch, round_runner, "answer", note)
    run("gpt2", folder, tmp_path, seeds=2)
    assert looks == [(2, 12)] * 4  # three rounds and the base line


def test_predictions_give_the_reported_metric(folder, tmp_path):
    made, _ = run("bert", folder, tmp_path, prune=False)
    table = made.table(RunKey("", 0, 0), "predictions.parquet")
    result = made.result(RunKey("", 0, 0))
    for split in ("validation", "test"):
        rows = table[table["split"] == split]
        right = [choice in gold for choice, gold in zip(rows["choice"], rows["gold"], strict=True)]
        assert sum(right) / len(right) == pytest.approx(result[split]["accuracy"])


def test_a_rewind_step_without_a_snapshot_is_refused_before_anything_runs(folder):
    with pytest.raises(ConfigError, match="rewind = 5: the dense round keeps its values at steps 0, 2, 4, 6"):
        prepare(tiny.experiment("gpt2", folder, rewind=5))
