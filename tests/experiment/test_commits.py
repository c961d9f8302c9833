"""What is of which commit, in settings; the Hub itself is in tests/system/test_hub.py."""

import pytest

from prunekit.experiment.call import experiment_of
from prunekit.experiment.commits import others, pinned

FIRST, SECOND = "1" * 40, "2" * 40
SETTINGS = {
    "model": {"name": "maker/tiny", "revision": "main"},
    "task": {"name": "rte", "revision": None},
    "commits": {"model": FIRST, "data": SECOND},
}


def used(flags, model=None, task=None):
    tables = {name: table for name, table in pinned(SETTINGS).items() if name != "commits"}
    experiment = experiment_of(model, task, flags, tables)
    return experiment.model.revision, experiment.task.revision


def test_a_run_is_used_again_with_its_commits():
    assert used({}) == (FIRST, SECOND)
    assert SETTINGS["model"]["revision"] == "main"


@pytest.mark.parametrize(
    ("how", "revisions"),
    [
        ({"flags": {"model_revision": "v2"}}, ("v2", SECOND)),
        ({"flags": {"model": "maker/tiny"}}, (FIRST, SECOND)),
        ({"flags": {"model": "maker/other"}}, (None, SECOND)),
        ({"flags": {}, "model": "maker/other"}, (None, SECOND)),
        ({"flags": {"model": "maker/other", "model_revision": "v2"}}, ("v2", SECOND)),
        ({"flags": {"data": "folder"}}, (FIRST, None)),
        ({"flags": {}, "task": "boolq"}, (FIRST, None)),
    ],
)
def test_a_commit_goes_with_the_repository_that_it_is_of(how, revisions):
    assert used(**how) == revisions


def test_the_flags_that_go_on_with_a_run_name_its_commits_alone_where_they_differ():
    assert others(SETTINGS, {"model": FIRST, "data": FIRST}) == f" (--data-revision {SECOND} goes on with it)"
    assert others(SETTINGS, SETTINGS["commits"]) == others({"model": {}}, {}) == ""
