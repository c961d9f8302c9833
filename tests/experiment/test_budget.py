"""`--minutes`: what gives way, in which order, and that the next call chooses nothing anew."""

import json
import re
from dataclasses import replace

import pytest
import tiny

from prunekit.experiment import pace
from prunekit.experiment.api import train as api
from prunekit.experiment.budget import LEAST_STEPS, Budget, choose, trainings_of
from prunekit.experiment.cost import Workload, costs
from prunekit.experiment.pace import Pace
from prunekit.experiment.prepare import prepare
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ConfigError

OPEN = dict(train_steps=None, evaluate_every=None, rounds=None, batch_size=16)
#: A second an update whatever its prompt, and nothing else.
PACE = Pace(update=1.0, evaluation=0.0, text_tokens=1e12)


def large(asked):
    """2,000 + 600 + 600 rows, and the 600 updates that are the most by default."""
    prepared = prepare(asked)
    train, validation, test = (list(rows) for rows in prepared.rows)
    data = replace(prepared.training_data, train=(train * 100)[:2000], validation=validation * 50)
    steps = {} if asked.training.train_steps != "auto" else {"train_steps": 600, "evaluate_every": 60}
    return replace(prepared, training_data=data, test=test * 50, plan=replace(prepared.plan, **steps))


def chosen(folder, updates, **more):
    """What is chosen where so many updates fit, of all rounds together."""
    asked = tiny.experiment("gpt2", folder, **OPEN | more)
    left = (updates + 0.5) / 60 / 0.85  # 15 % of a budget are kept back
    prepared = large(asked)
    trainings = trainings_of("prune", False, prepared, PACE)
    choice = choose(Budget("prune", controls=False, minutes=left), prepared, asked, trainings)
    return choice.steps, choice.rounds, tuple(choice.examples.values())


LEAST = (256, 128, 256)


@pytest.mark.parametrize(
    ("updates", "choice"),
    [
        (2400, (600, 3, ())),  # a dense round and three prunings
        (2399, (320, 3, (500, 150, 256))),  # ten epochs of half, and of a quarter: 600 are the most, so half is no help
        (1279, (160, 3, LEAST)),
        (639, (159, 3, LEAST)),
        (240, (60, 3, LEAST)),
        (239, (79, 2, LEAST)),
        (120, (60, 1, LEAST)),
        (119, (59, 1, LEAST)),
        (60, (30, 1, LEAST)),
    ],
)
def test_examples_give_way_first_then_updates_then_rounds(updates, choice, folder):
    assert chosen(folder, updates) == choice


@pytest.mark.parametrize(
    ("updates", "more", "choice"),
    [
        (239, {"rounds": 3}, (59, 3, LEAST)),
        (239, {"train_steps": 60}, (60, 2, LEAST)),
        (639, {"train_examples": 20, "test_examples": 12}, (159, 3, (128,))),
    ],
)
def test_what_is_set_stays(updates, more, choice, folder):
    assert chosen(folder, updates, **more) == choice


def test_less_than_the_least_is_refused_with_what_it_takes(folder):
    with pytest.raises(ConfigError, match=r"--minutes 1\.17: the least takes 1\.2 minutes; give more, fewer --seeds"):
        chosen(folder, 59)


def test_a_run_keeps_to_what_was_chosen_for_it(folder, tmp_path, monkeypatch, capsys):
    """76 updates in one pruning, of the 100 in three that are the default; the second call times nothing."""
    monkeypatch.setattr(api, "measured", lambda prepared: PACE)
    call = ["prune", *tiny.arguments("gpt2", folder, **OPEN), f"--out={tmp_path}", "--minutes=3.03"]
    assert tiny.call(*call, "--dry-run") == 0
    assert list(tmp_path.iterdir()) == []
    assert tiny.call(*call) == 0
    said = capsys.readouterr().err
    assert "100 updates a round to 7" in said
    assert "3 rounds to 1 gave way" in said
    (path,) = tmp_path.iterdir()
    settings = Snapshot(path).settings()
    assert settings["training"]["train_steps"] == settings["budget"]["steps"] < 100
    assert settings["budget"]["rounds"] == 1
    monkeypatch.setattr(api, "measured", lambda prepared: pytest.fail("planned again"))
    assert tiny.call(*call) == 0
    said = capsys.readouterr().err
    assert "as this command chose when it was first called" in said
    assert "3 finished ticket(s) were there already" in said
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_a_budget_is_a_number_of_minutes(minutes, folder, tmp_path, capsys):
    assert tiny.call("prune", *tiny.arguments("gpt2", folder), f"--out={tmp_path}", f"--minutes={minutes}") == 2
    assert "give a number of minutes above 0" in capsys.readouterr().err


def test_methods_that_are_compared_share_a_budget_and_make_the_same_updates(folder, tmp_path, monkeypatch, capsys):
    """Two trainings of the 100 updates that are the default take 200 seconds at this pace."""
    monkeypatch.setattr(pace, "measured", lambda prepared: PACE)
    settings = tiny.arguments("gpt2", folder, **OPEN | dict(keep_tokens=None, keep_pieces=None, rank=2))
    call = ["compare", "--methods=direct,dpt", "--learning-rates=1", *settings, f"--out={tmp_path}", "--minutes=3.03"]
    assert tiny.call(*call, "--dry-run", "--json") == 0
    assert list(tmp_path.iterdir()) == []
    assert json.loads(capsys.readouterr().out)["minutes"] < 3.03 * 0.85
    assert tiny.call(*call) == 0
    said = capsys.readouterr().err
    assert re.search(r"--minutes 3\.03: at most 2\.\d minutes by estimate; 100 updates a round to \d\d gave way", said)
    runs = [Snapshot(path.parent).settings() for path in sorted(tmp_path.glob("*/experiment.toml"))]
    assert [run["prompt"]["method"] for run in runs] == ["direct", "dpt"]
    (steps,) = {run["training"]["train_steps"] for run in runs}
    assert LEAST_STEPS <= steps < 100 and {run["budget"]["steps"] for run in runs} == {steps}
    monkeypatch.setattr(pace, "measured", lambda prepared: pytest.fail("planned again"))
    assert tiny.call(*call) == 0
    assert "as this command chose when it was first called" in capsys.readouterr().err


def test_other_methods_are_another_question(folder):
    asked = tiny.experiment("gpt2", folder)
    full, budget = prepare(asked), Budget("compare", controls=False, minutes=3, varied=("direct", "1.0"))
    assert budget.request(asked, full) == replace(budget).request(asked, full)
    assert budget.request(asked, full) != replace(budget, varied=("direct", "dpt", "1.0")).request(asked, full)


@pytest.mark.parametrize("changed", ["data", "model"])
def test_other_content_of_the_same_names_is_planned_anew(changed, tmp_path, monkeypatch, capsys):
    """The same command with more rows, or other weights, where the first ones lay."""
    plans = tiny.spied(monkeypatch, api, "measured", lambda prepared: len(prepared.splits.train))
    call = ["tune", *tiny.arguments("gpt2", tmp_path, **OPEN | dict(keep_tokens=None)), "--minutes=2"]
    call += [f"--out={tmp_path / 'runs'}", "--train-steps=2", "--evaluate-every=1"]
    assert tiny.call(*call) == 0
    if changed == "data":
        tiny.save_task(tmp_path / "toy", rows=(36, 12, 12))
    else:
        tiny.save_model("gpt2", tmp_path / "model-gpt2", seed=1)
    capsys.readouterr()
    assert tiny.call(*call) == 0
    assert "first called" not in capsys.readouterr().err
    assert plans == [24, 36 if changed == "data" else 24]
    assert tiny.call(*call) == 0
    assert "first called" in capsys.readouterr().err
    assert len(plans) == len(list((tmp_path / "runs").glob("*/experiment.toml"))) == 2


def test_a_budget_holds_what_is_measured_beside_the_tickets(folder):
    """LoRA for each seed makes as many updates as a dense round, whose rows are about as long."""
    prepared = prepare(tiny.experiment("gpt2", folder, seeds=2, ceiling="lora", keep_tokens=None))
    length = sum(row.length for row in (*prepared.rows[1], *prepared.rows[2])) / 24
    ((parts, pace),) = trainings_of("tune", False, prepared, Pace(1.0, 0.0, text_tokens=length, prompt_tokens=4))(1)
    minutes = {part.title: spent for part, spent in zip(parts, costs(parts, Workload.of(prepared), pace), strict=True)}
    assert minutes["LoRA (ceiling)"].training == pytest.approx(minutes["round 0"].training) == pytest.approx(2 * 6 / 60)
