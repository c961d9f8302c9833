"""That base lines stand beside the claims of a study, for its own rows."""

import pandas as pd
import pytest
import tiny

from analyses.studies import base_lines
from analyses.studies.performing import Budget, Part


def part(folder, **task):
    table = {
        "seeds": [0],
        "sweep": {"verb": "tune"},
        "model": {"name": str(folder / "bert")},
        "task": {"name": str(folder / "toy.toml"), "data": str(folder), "test_examples": 12, "validation_examples": 12}
        | task,
    }
    return Part("prompts", table, ())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base-lines")
    tiny.save_model("bert", folder / "bert")
    tiny.save_task(folder)
    return folder


def test_each_training_subset_has_its_own_and_shuffled_labels_have_none(folder):
    wanted = part(folder, train_examples=8, data_seed=[0, 1], labels=["given", "shuffled"])
    table = base_lines.measured([wanted], Budget(folder / "runs", folder))
    assert table["model"].unique().tolist() == ["bert"]
    (name,) = table["task"].str.removesuffix(" (0)").str.removesuffix(" (1)").unique()
    assert name == str(folder / "toy.toml")  # as asked for, whatever the task calls itself
    assert table["task"].tolist() == [f"{name} (0)"] * 3 + [f"{name} (1)"] * 3
    assert table["name"].tolist() == ["majority", "probe-cls", "probe-mean"] * 2
    assert table[["validation", "test"]].stack().between(0, 1).all()
    assert base_lines.by_task(table)["task"].tolist() == [name]


def test_of_parts_with_other_examples_the_last_counts(folder):
    parts = [part(folder, train_examples=count) for count in (20, 8)]
    both, last = (base_lines.measured(wanted, Budget(folder / "runs", folder)) for wanted in (parts, parts[1:]))
    pd.testing.assert_frame_equal(both, last)


def test_a_task_that_has_subsets_is_not_measured_on_one_of_them_once_more(folder):
    parts = [part(folder, train_examples=8, data_seed=seeds) for seeds in (0, [0, 1])]
    both, subsets = (base_lines.measured(wanted, Budget(folder / "runs", folder)) for wanted in (parts, parts[1:]))
    pd.testing.assert_frame_equal(both, subsets)
