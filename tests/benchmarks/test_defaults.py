"""The sweep of default settings: which rate is best, whether auto loses to it, and a training of the smallest kind."""

import json

import pandas as pd
import pytest

from benchmarks.defaults import page, run
from benchmarks.defaults.trials import FACTORS, MODELS, SEEDS, Trial, trials


def cell(tests, validations=None):
    """Six seeds of a cell at each factor, their test and validation metrics."""
    rows = [
        dict(model="testbed", task="t", position="first", factor=factor, rate=factor, seed=seed, test=value,
             validation=(validations or tests)[factor][seed], batch=16, rounds=0, round=0, pieces=16,
             course=[[step, 1 / step, value] for step in (10, 20, 30, 50, 70, 100)])
        for factor, values in tests.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_best_rate_is_chosen_by_three_seeds_on_validation_and_judged_by_the_others_on_test():
    tests = {factor: [0.5] * 6 for factor in FACTORS} | {3.0: [0.1, 0.1, 0.1, 0.8, 0.7, 0.6]}
    validations = {factor: [0.5] * 6 for factor in FACTORS} | {3.0: [0.9, 0.9, 0.9, 0, 0, 0]}
    seeds = cell(tests, validations)
    assert page.best(seeds) == 3
    ((difference,),) = page.losses_to_best(seeds).values()
    assert difference == pytest.approx([0.3, 0.2, 0.1])
    assert "| testbed | 1 | +0.200 | -0.048 to +0.448 | open |" in page.auto_table(seeds)


def test_among_equal_rates_auto_is_best():
    assert page.best(cell({factor: [0.5] * 6 for factor in FACTORS})) == 1


def test_every_model_begins_at_auto_and_varies_one_setting_at_a_time():
    for model, (tasks, positions) in MODELS.items():
        listed = list(trials(model))
        cells = len(tasks) * len(positions)
        assert {trial.factor for trial in listed[:cells]} == {1.0}
        assert len(set(listed)) == len(listed) == cells * len(FACTORS) + len(tasks) * 6


def test_what_is_trained_stands_on_a_line_is_not_trained_again_and_makes_a_page(tmp_path, monkeypatch, capsys):
    small = [Trial("testbed", "testbed/first-animal", "first", factor, steps=2) for factor in (1.0, 3.0)]
    monkeypatch.setattr(run, "trials", lambda model: iter(small))
    monkeypatch.setattr(run, "SEEDS", SEEDS[:2])
    monkeypatch.setattr(run, "LOOKS", 2)
    monkeypatch.setattr(run, "SIZES", dict(train_examples=8, validation_examples=4, test_examples=4))
    out = tmp_path / "results.jsonl"
    for _ in range(2):
        run.main("testbed", [], tmp_path, out)
    first, second = map(json.loads, out.read_text().splitlines())
    assert second["rate"] == pytest.approx(3 * first["rate"], rel=5e-3)
    assert [look[0] for look in first["seeds"][0]["course"]] == [0, 1, 2]
    assert len(page.read(out)) == 4
