"""Every library task on published data, where it lies beside the checkout."""

import pytest
from roots import SHARED

from prunekit.tasks import load_splits, load_task

DATA = SHARED / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")

# task, folder, (train, validation, test) examples; selections of 6 are carved from 32 rows
REAL = [
    ("rte", "rte", (2190, 300, 277)),
    ("cb", "cb", (200, 50, 56)),
    ("wsc", "wsc", (454, 100, 104)),
    ("sst2", "sst2", (6920, 512, 1821)),
    ("subj", "subj", (7500, 500, 2000)),
    ("single", "sst2", (6920, 512, 1821)),
    ("boolq", "boolq_devcarve", (2000, 400, 870)),
    ("multirc", "multirc_devcarve", (3292, 436, 1120)),
    ("boolq", "fewglue/boolq", (32, 32, 3270)),
    ("cb", "fewglue/cb", (32, 32, 56)),
    ("copa", "fewglue/copa", (26, 6, 32)),
    ("multirc", "fewglue/multirc", (154, 154, 4848)),
    ("record", "fewglue/record", (26, 6, 32)),
    ("rte", "fewglue/rte", (32, 32, 277)),
    ("wic", "fewglue/wic", (26, 6, 32)),
    ("wsc", "fewglue/wsc", (32, 32, 104)),
]


@pytest.mark.parametrize(("name", "folder", "sizes"), REAL, ids=[f"{name}-{folder}" for name, folder, _ in REAL])
def test_a_library_task_reads_published_data(name, folder, sizes):
    data = str(DATA / folder)
    task = load_task(name, data)
    splits = load_splits(task, data=data, train_examples=None, validation_examples=None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    for example in (*splits.train, *splits.validation, *splits.test):
        assert example.gold
        assert max(example.gold) < len(example.choices)
    right = [example.gold[0] for example in splits.test]
    assert set(task.score(splits.test, right).values()) == {1.0}
    assert 0.0 <= task.majority(splits.test) < 0.7


def test_label_balance_is_the_published_one():
    data = str(DATA / "cb")
    test = load_splits(load_task("cb"), data=data, train_examples=None, validation_examples=None).test
    assert [sum(example.gold == (label,) for example in test) for label in range(3)] == [23, 28, 5]


def test_both_spans_are_marked_in_every_wsc_row():
    data = str(DATA / "wsc")
    splits = load_splits(load_task("wsc"), data=data, train_examples=None, validation_examples=None)
    for example in (*splits.train, *splits.validation, *splits.test):
        text = example.fields["text"]
        first, second = (" ".join(example.fields[f"span{n}_text"].lower().split()) for n in (1, 2))
        flat = " ".join(text.lower().split())
        assert f"#{second}#" in flat
        assert f"*{first}*" in flat.replace("#", "")
