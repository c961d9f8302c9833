"""The page of what a study takes: the play-through and its words, on made-up times."""

from pathlib import Path

import pytest
import tiny

from benchmarks import capacity
from benchmarks.capacity import Model, Study

pytestmark = pytest.mark.gate


def test_more_workers_help_until_the_longest_job_is_all_that_is_left():
    study = Study("made up", [10.0] * 99 + [100.0])
    rows = {(row[2], row[3]): float(row[5]) for row in capacity.study_table([study], start=0.0, handing=0.0)}
    assert rows["as given", "1"] == 1.0
    assert rows["as given", "64"] < rows["longest first", "64"] <= 1090 / 100 + 0.1
    assert "the longest job, 1.7 minutes; that is 11 workers' worth" in capacity.limits([study], 5.0)


def test_a_study_is_a_job_per_task_and_method_or_per_seed(monkeypatch):
    monkeypatch.setattr(capacity, "round_seconds", lambda model, members, repeats: 10.0 * members)
    whole, single = capacity.studies([Model("one", None, 1.0), Model("two", None, 2.0)], beside=0.5, repeats=1)
    assert len(whole.seconds) == 2 * 8 * 7
    assert len(single.seconds) == 6 * len(whole.seconds)
    assert whole.seconds[0] == 1.0 + 4 * 0.5 + 4 * 60.0
    assert single.seconds[-1] == 2.0 + 4 * 0.5 + 4 * 10.0


@pytest.mark.slow
def test_a_small_real_run_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(capacity, "ROWS", 20)
    monkeypatch.setattr(capacity, "ROUNDS", 2)
    found = capacity.on_disk_and_in_time(Path(tmp_path))
    assert found["bytes"] > 1000
    assert found["beside"] > 0


@pytest.mark.slow
def test_a_wider_cohort_rounds_otherwise_and_that_is_measured():
    model = Model("tiny", tiny.frozen("gpt2"), 0.0)
    ((name, difference),) = capacity.packing_differences([model])
    assert name == "tiny"
    assert 0 <= float(difference) < 1
