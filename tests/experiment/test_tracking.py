"""Trackers see every finished round once, and nothing is imported unless asked."""

import sys
from types import SimpleNamespace

import pytest
import tiny

from prunekit.experiment import run as experiment
from prunekit.experiment import tracking
from prunekit.experiment.prepare import prepare
from prunekit.runs.run import Run
from prunekit.support.errors import ConfigError


class Kept:
    """A tracker that keeps what it is shown."""

    def __init__(self):
        self.calls = []

    def begin(self, run, settings):
        self.calls.append(("begin", run.name, settings["metric"]))

    def log(self, series, step, values):
        self.calls.append((series, step, values))

    def end(self):
        self.calls.append(("end",))


def followed(folder, out, shown, **more):
    prepared = prepare(tiny.experiment("gpt2", folder, **more))
    path = Run.at(out, prepared.name, prepared.id).path
    watch = tiny.Quiet()
    with tracking.with_tracker(watch, path, shown) as watching:
        return experiment.run(prepared, out, watching), prepared, watch


def test_every_round_is_shown_once_and_as_it_was_written(folder, tmp_path):
    shown = Kept()
    made, _, watch = followed(folder, tmp_path, shown)
    assert watch.lines
    assert shown.calls[0] == ("begin", made.path.name, "accuracy")
    assert shown.calls[-1] == ("end",)
    points = shown.calls[1:-1]
    assert {series for series, _, _ in points} == {str(place) for place in made.tickets()}
    assert len({(series, step) for series, step, _ in points}) == len(points)
    for place in made.tickets():
        result = made.result(place)
        last = next(values for series, step, values in points if (series, step) == (str(place), result["kept_step"]))
        assert last["report/accuracy"] == result["test"]["accuracy"]
        assert last["kept/tokens"] == result["tokens"]
        assert last["validation/accuracy"] == result["validation"]["accuracy"]
    first = next(index for index, call in enumerate(shown.calls) if "round=02" in call[0])
    assert any("round=01" in call[0] for call in shown.calls[:first])


def test_rounds_are_shown_as_soon_as_they_are_done(folder, tmp_path):
    shown, seen = Kept(), {}

    class Looking(tiny.Quiet):
        def say(self, line):
            super().say(line)
            seen[line.split(":")[0]] = {call[0] for call in shown.calls}

    prepared = prepare(tiny.experiment("gpt2", folder))
    path = Run.at(tmp_path, prepared.name, prepared.id).path
    with tracking.with_tracker(Looking(), path, shown) as watching:
        experiment.run(prepared, tmp_path, watching)
    assert seen["round 1"] == {"begin", "seed=0/round=00"}


def test_without_a_tracker_the_watch_is_itself():
    watch = tiny.Quiet()
    with tracking.with_tracker(watch, None, None) as same:
        assert same is watch


def test_a_tracker_of_ones_own_is_named_by_module_and_class(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_tracker.py").write_text(
        "class Tracker:\n"
        "    def begin(self, run, settings):\n"
        "        self.file = open('points.txt', 'w')\n"
        "    def log(self, series, step, values):\n"
        "        self.file.write(f'{series} {step}\\n')\n"
        "    def end(self):\n"
        "        self.file.close()\n"
        "class Half:\n"
        "    begin = log = print\n"
    )
    arguments = ["tune", *tiny.arguments("gpt2", folder, rounds=None, keep_tokens=None, train_steps=2), "--out=runs"]
    assert tiny.call(*arguments, "--track=my_tracker:Tracker") == 0
    assert "seed=0/round=00 2" in (tmp_path / "points.txt").read_text()
    for name, reason in [
        ("my_tracker:Half", "lacks end"),
        ("my_tracker:None_such", "cannot be imported"),
        ("no_such_module:x", "cannot be imported"),
        ("mlflow", "use tensorboard, wandb, or module:class"),
    ]:
        with pytest.raises(ConfigError, match=reason):
            tracking.tracker(name)


def test_tensorboard_gets_a_curve_per_round_and_none_twice(folder, tmp_path):
    pytest.importorskip("tensorboard")
    made, _, _ = followed(folder, tmp_path, tracking.tracker("tensorboard"))
    files = sorted(made.path.rglob("events.out.tfevents*"))
    assert {str(one.parent.relative_to(made.path / "tensorboard")) for one in files} == set(map(str, made.tickets()))
    assert made.verify() > 0
    followed(folder, tmp_path, tracking.tracker("tensorboard"))
    assert sorted(made.path.rglob("events.out.tfevents*")) == files
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(files[0].parent))
    read.Reload()
    assert {"train/loss", "validation/accuracy", "report/accuracy"} <= set(read.Tags()["scalars"])


def test_tensorboard_that_is_not_installed_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match="needs the package of that name: pip install tensorboard"):
        tracking.tracker("tensorboard")


def test_weights_and_biases_is_handed_every_point_under_its_round(monkeypatch, tmp_path):
    calls = []
    run = SimpleNamespace(log=calls.append, finish=lambda: calls.append("finished"))
    module = SimpleNamespace(init=lambda **facts: calls.append(facts) or run)
    monkeypatch.setitem(sys.modules, "wandb", module)
    shown = tracking.tracker("wandb")
    shown.begin(tmp_path / "toy-1a2b", {"seeds": [0]})
    shown.log("seed=0/round=00", 20, {"train/loss": 0.5})
    shown.end()
    assert calls == [
        {"project": "prunekit", "name": "toy-1a2b", "config": {"seeds": [0]}},
        {"seed=0/round=00/train/loss": 0.5, "seed=0/round=00/update": 20},
        "finished",
    ]


def test_weights_and_biases_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        tracking.tracker("wandb")
