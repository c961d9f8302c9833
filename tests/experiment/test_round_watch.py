"""What is said while a round is trained: loss, metric, best, early stopping, and how long all may take yet."""

from types import SimpleNamespace

import pytest
import tiny

from prunekit.engine.train import Standing
from prunekit.experiment import round_watch, run
from prunekit.experiment.prepare import prepare
from prunekit.experiment.round_watch import RoundWatch, TimeLeft
from prunekit.experiment.run import opened_run


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""
    hand = SimpleNamespace(now=0.0)
    monkeypatch.setattr(round_watch.time, "monotonic", lambda: hand.now)
    return hand


def watched(left, chosen_by="accuracy", members=2, **plan):
    said = []
    watch = RoundWatch(lambda step, note: said.append((step, note)), tiny.plan(**plan), chosen_by, members, left)
    return watch, said


@pytest.mark.parametrize(("seconds", "words"), [
    (2, ""), (10, "at most 30 s left"), (30, "at most 2 min left"), (600, "at most 30 min left"),
    (3600, "at most 3 h 0 min left"),
])  # fmt: skip
def test_what_is_left_is_reckoned_from_what_it_took_so_far(seconds, words, clock):
    left = TimeLeft(40)
    left.begin()
    left.make(10)
    clock.now = seconds
    assert left.words == words


def test_a_cohort_that_stops_early_shortens_what_is_left(clock):
    left = TimeLeft(80)
    watch, said = watched(left, train_steps=20)
    watch.tick(10)
    clock.now = 10.0
    watch.tick(11)
    assert said == [(10, ""), (11, "at most 27 s left")]  # 22 updates of members in 10 s, 58 to go
    watch.end()
    assert left.updates == 40


def test_the_standing_is_the_mean_over_members_and_says_when_training_stops(clock):
    watch, said = watched(TimeLeft(), patience=3)
    hear = watch.hearing(lambda step, standings: [1] if step == 4 else ())
    assert hear(2, [Standing(0.5, 0.7, 0.7, 0), Standing(0.3, 0.9, 0.9, 0), None]) == ()
    watch.tick(2)
    assert hear(4, [Standing(0.5, 0.5, 0.7, 1), Standing(0.3, 0.7, 0.9, 2)]) == [1]
    watch.tick(4)
    assert [note for _, note in said] == [
        "loss 0.400, accuracy 0.800 (best 0.800)", "loss 0.400, accuracy 0.600 (best 0.800), stops in 2",
    ]  # fmt: skip


def test_where_the_loss_chooses_it_is_shown_with_its_own_sign(clock):
    watch, said = watched(TimeLeft(), chosen_by="loss")
    watch.hearing(None)(2, [Standing(0.5, -1.25, -1.0, 0)])
    watch.tick(2)
    assert said == [(2, "loss 0.500, validation loss 1.250 (best 1.000)")]


def test_a_run_expects_what_it_has_not_finished(folder, tmp_path):
    """Of the cohort that a seed was begun in, whichever of its seeds is asked for."""
    prepared = prepare(tiny.experiment("gpt2", folder, seeds=2))
    steps, quiet = prepared.plan.train_steps, tiny.Quiet()
    with opened_run(prepared, tmp_path, quiet) as (runner, cohorts):
        run._expect(runner, cohorts, "prune", controls=False)
        assert runner.left.updates == 2 * 3 * steps
    run.run(prepared, tmp_path, quiet, prune=False)
    with opened_run(prepare(tiny.experiment("gpt2", folder)), tmp_path, quiet) as (runner, cohorts):
        run._expect(runner, cohorts, "prune", controls=False)
        assert runner.left.updates == 2 * 2 * steps
