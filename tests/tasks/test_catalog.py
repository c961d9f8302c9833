from pathlib import Path

import pytest

import prunekit.tasks
from prunekit.support.errors import ConfigError
from prunekit.tasks import list_tasks, load_task

SUPERGLUE = ["boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc"]
GLUE = ["cola", "mnli", "mrpc", "qnli", "qqp", "wnli"]  # sst2 and rte are there as sst2 and superglue/rte


def test_the_library_names_its_files():
    library = Path(prunekit.tasks.__file__).parent / "library"
    tasks = [task for task in list_tasks() if task.testbed is None]
    assert [task.name for task in tasks] == sorted(
        path.relative_to(library).with_suffix("").as_posix() for path in library.rglob("*.toml")
    )
    assert {f"superglue/{name}" for name in SUPERGLUE} < {task.name for task in tasks}
    assert {"sst2", "subj", "agnews", "trec", "single", "pair"} < {task.name for task in tasks}
    assert {f"glue/{name}" for name in GLUE} < {task.name for task in tasks}
    for task in tasks:
        assert task.description
        assert not task.template.endswith(" ")


@pytest.mark.parametrize("name", SUPERGLUE)
def test_a_superglue_task_has_a_short_name(name):
    assert load_task(name) == load_task(f"superglue/{name}")
    assert load_task(name).template.startswith(f"{name} ")


def test_official_metrics():
    metrics = {name: load_task(name).metrics for name in SUPERGLUE}
    assert metrics.pop("cb") == ("accuracy", "macro_f1")
    assert metrics.pop("multirc") == ("f1a", "exact_match")
    assert metrics.pop("record") == ("record_f1", "record_exact_match")
    assert set(metrics.values()) == {("accuracy",)}


@pytest.mark.parametrize(
    ("name", "hint"), [("superglue/rt", "superglue/rte"), ("boolqq", "boolq"), ("SST2", "known: ")]
)
def test_an_unknown_task_names_the_nearest(name, hint):
    with pytest.raises(ConfigError, match=rf'^unknown task "{name}"; .*{hint}'):
        load_task(name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read as TOML"):
        load_task(str(tmp_path / "none.toml"))
