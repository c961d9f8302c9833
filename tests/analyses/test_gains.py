"""What stands beside a claim: the best base line of its tasks, and what trained prompts gain over it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analyses.studies import base_lines, catalog, gains, pages

LINES = pd.DataFrame(
    [
        ("a (0)", "m", "probe", 0.7), ("a (1)", "m", "probe", 0.5), ("a (0)", "m", "majority", 0.55),
        ("a (1)", "m", "majority", 0.55), ("b", "m", "probe", 0.2), ("b", "m", "majority", 0.4),
        ("a (0)", "n", "probe", 0.9),
    ],
    columns=["task", "model", "label", "test"],
)  # fmt: skip
PROMPTS = pd.DataFrame(
    [
        ("a (0)", "m", 0, 0.80), ("a (0)", "m", 1, 0.84), ("a (1)", "m", 0, 0.56), ("a (1)", "m", 1, 0.60),
        ("b", "m", 0, 0.39), ("b", "m", 1, 0.43), ("a (0)", "n", 0, 0.1),
    ],
    columns=["task", "model", "seed", "test"],
)  # fmt: skip
ROW = {"model": "m", "tasks": "a, b"}
STUDY = replace(catalog.STUDIES[0], prompts=lambda tables: tables["prompts"])
TABLES = {base_lines.BASE_LINES_TABLE: LINES, "prompts": PROMPTS}


def test_the_best_of_a_task_is_so_on_the_mean_of_its_training_subsets():
    best = {("m", "a"): ("probe", pytest.approx(0.6)), ("m", "b"): ("majority", 0.4), ("n", "a"): ("probe", 0.9)}
    assert base_lines.best(LINES) == best


def test_a_prompt_is_held_against_the_line_of_its_own_training_subset():
    pairs = gains.of_model(gains.paired(PROMPTS, LINES), "m")
    differences = (pairs["first"] - pairs["second"]).round(9)
    assert differences.to_dict() == {
        ("a", 0, 0): 0.1, ("a", 0, 1): 0.14, ("a", 1, 0): 0.06, ("a", 1, 1): 0.1, ("b", 0, 0): -0.01, ("b", 0, 1): 0.03,
    }  # fmt: skip


def test_the_interval_of_a_gain_is_that_of_the_means_of_subsets():
    inference = gains.gain(gains.paired(PROMPTS, LINES), "m", ["a"])
    means = np.array([0.12, 0.08])
    wanted = stats.t.interval(0.95, 1, means.mean(), stats.sem(means))
    assert (inference.estimate, inference.spread) == (pytest.approx(0.1), "subsets")
    assert inference.interval() == pytest.approx(wanted)


def test_there_is_no_gain_over_tasks_of_which_one_has_no_prompt():
    assert gains.gain(gains.paired(PROMPTS[PROMPTS["task"] != "b"], LINES), "m", ["a", "b"]) is None


def beside(study, tables):
    """The cells beside ROW on the front page."""
    lines = tables.get(base_lines.BASE_LINES_TABLE)
    best = {} if lines is None else base_lines.best(lines)
    return pages._worth(ROW, best, pages._pairs(study, tables))


def test_both_stand_beside_a_claim():
    cells = beside(STUDY, TABLES)
    assert cells["best base line"] == "0.500 (probe, majority)"
    assert cells["gain of a trained prompt"].startswith("+0.055 [")


@pytest.mark.parametrize(
    ("study", "tables", "cells"),
    [
        (replace(STUDY, prompts=None), TABLES, ("0.500 (probe, majority)", "not measured")),
        (STUDY, {}, ("not measured", "not measured")),
        (STUDY, TABLES | {base_lines.BASE_LINES_TABLE: LINES[LINES["model"] == "n"]}, ("not measured",) * 2),
    ],
    ids=["no prompts kept", "no base lines", "of another model"],
)
def test_what_was_not_measured_is_said(study, tables, cells):
    assert tuple(beside(study, tables).values()) == cells


def test_a_page_shows_them_by_task():
    _, table = pages._base_lines(STUDY, TABLES)
    (header, _, first, *_) = table.splitlines()
    assert header == "| model | task | probe | majority | trained prompt | gain of a trained prompt |"
    assert first.startswith("| m | a | 0.6 | 0.55 | 0.7 | +0.100 [")


KEPT = [study for study in catalog.STUDIES if study.has_run() and study.prompts is not None]


@pytest.mark.parametrize("study", KEPT, ids=lambda study: study.name)
def test_prompts_of_a_study_are_a_row_each_and_have_base_lines(study):
    tables = study.tables()
    prompts = study.prompts(tables)
    assert len(prompts)
    assert not prompts.duplicated(["task", "model", "seed"]).any()
    assert len(gains.paired(prompts, tables[base_lines.BASE_LINES_TABLE])) == len(prompts)
