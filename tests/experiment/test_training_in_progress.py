"""A run that is ended in the midst of a training goes on from there, to the bytes of one that never was."""

from contextlib import contextmanager

import pytest
import tiny

from prunekit.experiment import environment, training_in_progress
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import prepare
from prunekit.runs.paths import TRAINING, RunKey
from prunekit.runs.snapshot import Snapshot

SETTINGS = dict(seeds=2, train_steps=7, evaluate_every=2, rounds=2)


class Ending(tiny.Quiet):
    """Progress that ends the process, as it were, at one update of one training; it counts updates by title."""

    def __init__(self, title="", step=0):
        super().__init__()
        self.title, self.step, self.updates = title, step, {}

    @contextmanager
    def track(self, title, total, unit="updates"):
        self.lines.append(title)

        def tick(completed, note=""):
            self.updates.setdefault(title, []).append(completed)
            if (title, completed) == (self.title, self.step):
                raise KeyboardInterrupt

        yield tick


@pytest.fixture(autouse=True)
def every_evaluation(monkeypatch):
    monkeypatch.setattr(training_in_progress, "_EVERY", 0.0)
    monkeypatch.setattr(training_in_progress, "_TIMES", 0.0)


def go(folder, out, watch, **more):
    asked = prepare(tiny.experiment("gpt2", folder, **(SETTINGS | more)))
    return experiment.run(asked, out, watch, controls=True)


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The run that nobody ended, by its contents."""
    return tiny.contents(go(folder, tmp_path_factory.mktemp("whole"), tiny.Quiet()).path)


def ended(folder, out, title, step, **more):
    with pytest.raises(KeyboardInterrupt):
        go(folder, out, Ending(title, step), **more)
    (run,) = out.iterdir()
    return run


# ended in the tick of an update, which comes after its evaluation
ENDS = [
    ("round 0", 5, 4),
    ("round 0", 7, 7),
    ("round 0", 1, 0),
    ("round 1", 3, 2),
    ("controls, round 1 (2 of 2)", 6, 6),
]


@pytest.mark.gate
@pytest.mark.parametrize(("title", "step", "after"), tiny.at_night(*ENDS))
def test_it_goes_on_after_the_last_evaluation(title, step, after, folder, tmp_path, whole):
    run = ended(folder, tmp_path, title, step)
    assert (run / TRAINING).exists() == bool(after)
    watch = Ending()
    made = go(folder, tmp_path, watch)
    assert tiny.contents(made.path) == whole
    assert watch.updates.get(title, []) == list(range(after + 1, 8))
    assert (f"going on after {after} updates, where an earlier process ended" in watch.lines) == bool(after)


def test_one_that_was_ended_again_and_again_ends_the_same(folder, tmp_path, whole):
    for step in (3, 5, 7):
        ended(folder, tmp_path, "round 0", step)
    assert tiny.contents(go(folder, tmp_path, tiny.Quiet()).path) == whole


def test_a_damaged_state_is_named_and_the_round_begins_anew(folder, tmp_path, whole):
    run = ended(folder, tmp_path, "round 0", 5)
    content = (run / TRAINING).read_bytes()
    (run / TRAINING).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    made = go(folder, tmp_path, watch := Ending())
    said = [line for line in watch.lines if TRAINING in line]
    assert said == [f"{run / TRAINING}: cannot be read (it does not match its own sha256); the round begins anew"]
    assert watch.updates["round 0"] == list(range(1, 8))
    assert tiny.contents(made.path) == whole


def test_a_state_that_other_versions_made_is_not_gone_on_from(folder, tmp_path, monkeypatch, whole):
    ended(folder, tmp_path, "round 0", 5)
    current = environment.current
    monkeypatch.setattr(environment, "current", lambda device="cpu": current(device) | {"python": "3.99"})
    made = go(folder, tmp_path, watch := Ending())
    assert watch.updates["round 0"] == list(range(1, 8))
    assert tiny.contents(made.path) == whole


def test_a_seed_that_was_in_training_goes_on_and_an_added_one_begins(folder, tmp_path):
    ended(folder, tmp_path, "round 0", 5, seeds=1)
    go(folder, tmp_path, watch := Ending())
    assert watch.updates["round 0"] == [5, 6, 7, *range(1, 8)]


def test_an_unfinished_run_with_a_state_is_sound(folder, tmp_path):
    run = ended(folder, tmp_path, "round 1", 5)
    assert (run / TRAINING).exists()
    assert Snapshot(run).audit().problems == ()


def test_nothing_is_written_before_its_time(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(training_in_progress, "_EVERY", 3600.0)
    run = ended(folder, tmp_path, "round 0", 5)
    assert not (run / TRAINING).exists()


def test_seconds_of_earlier_processes_count(folder, tmp_path, monkeypatch):
    ended(folder, tmp_path, "round 0", 5)
    load = training_in_progress.training_file.unpacked
    monkeypatch.setattr(training_in_progress.training_file, "unpacked", lambda *facts: (load(*facts)[0], 1000.0))
    made = go(folder, tmp_path, tiny.Quiet())
    timing = made.timing(RunKey("", 0, 0))
    assert 1000 < timing["training_seconds"] < timing["seconds"] < 1100
    assert timing["examples_per_second"] == pytest.approx(2 * 7 * 4 / timing["training_seconds"], rel=0.2)
