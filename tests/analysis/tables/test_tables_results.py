"""Rounds, logs and gaps: of runs written by hand, and of a small real one."""

import pytest
import tiny
from test_tables import Made

from prunekit.analysis import tables
from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.gaps import GAPS
from prunekit.analysis.tables.logs import LOGS
from prunekit.analysis.tables.rounds import ROUNDS
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Files
from prunekit.runs.snapshot import Snapshot
from prunekit.support.atomic import as_json
from prunekit.support.errors import ArtifactError

STAGE = "prune-ab12"


def made(path, seeds=(0,), rounds=2, **task):
    """A hand-written run with a method, and one pruning of `rounds` rounds."""
    run = Made(path, seeds=seeds)
    run.run.write_settings(run.run.settings() | {"prompt": {"method": "direct"}, "task": {"name": "a"} | task})
    run.run.write_stage(STAGE, {"rounds": rounds, "score": "absolute"})
    return run


def whole(path, seeds=(0,), **more):
    return made(path, seeds).add("", 0, *seeds).add(STAGE, 1, *seeds).add(STAGE, 2, *seeds)


# ---- rounds


def test_a_row_for_each_finished_ticket_with_its_keys(tmp_path):
    run = made(tmp_path / "one").add("", 0, test=0.8).add("untrained", 0).add(STAGE, 1).add(f"{STAGE}/random", 1)
    found = tables.rounds([run.run])
    assert list(found.columns) == list(ROUNDS)
    assert found[["run", "task", "model", "method", "labels", "stage", "arm", "seed", "round"]].to_numpy().tolist() == [
        ["one", "a", "m", "direct", "given", "", "dense", 0, 0],
        ["one", "a", "m", "direct", "given", STAGE, "ticket", 0, 1],
        ["one", "a", "m", "direct", "given", STAGE, "random", 0, 1],
        ["one", "a", "m", "direct", "given", "untrained", "untrained", 0, 0],
    ]
    dense = found.iloc[0]
    facts = ("metric", "tokens", "cells", "density", "parameters", "validation", "test", "majority_test", "seconds")
    assert [dense[name] for name in facts] == ["accuracy", 4, 8, 1.0, 64, 0.6, 0.8, 0.45, 1.0]


def test_what_diverged_or_did_not_look_has_no_metric(tmp_path):
    run = made(tmp_path).add("", 0, test=None)
    run.add(STAGE, 1, status="diverged", reason="loss is NaN at step 3")
    found = tables.rounds([run.run])
    assert found["test"].isna().all()
    assert found["validation"].isna().tolist() == [False, True]
    assert found["reason"].tolist() == ["", "loss is NaN at step 3"]


def test_several_runs_stand_in_one_table_and_shuffled_labels_are_told_from_true_ones(tmp_path):
    runs = [made(tmp_path / name, labels=name).add("", 0).run for name in ("given", "shuffled")]
    assert tables.rounds(runs)[["run", "labels"]].to_numpy().tolist() == [["given"] * 2, ["shuffled"] * 2]


def test_a_lost_time_is_no_damage(tmp_path):
    run = made(tmp_path).add("", 0).run
    (run.folder(RunKey("", 0, 0)) / "timing.json").unlink()
    assert tables.rounds([run])[["seconds", "members"]].isna().all(axis=None)


# ---- what is wrong is one line


def lines(caught):
    return str(caught.value).count("\n") + 1


def test_no_run_no_finished_round_and_damage_are_one_line_each(tmp_path):
    with pytest.raises(ArtifactError, match="not a run directory") as caught:
        tables.opened(tmp_path)
    assert lines(caught) == 1
    run = made(tmp_path / "empty")
    with pytest.raises(ArtifactError, match="no finished round yet"):
        tables.opened(run.run.path)
    with pytest.raises(ArtifactError, match="no finished round yet"):
        tables.rounds([run.run])
    run = made(tmp_path / "cut").add("", 0)
    key = RunKey("", 0, 0)
    content = {name: run.run.content(key, name) for name in run.run.manifest(key)["files"]}
    lacking = {name: one for name, one in run.run.result(key).items() if name != "parameters"}
    run.run.commit([Files(key, content | {"result.json": as_json(lacking)}, {})])
    with pytest.raises(ArtifactError, match=r"round=00: its result lacks 'parameters'"):
        tables.rounds([run.run])
    path = run.run.folder(RunKey("", 0, 0)) / "result.json"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match=r"result\.json: damaged") as caught:
        tables.rounds([run.run])
    assert lines(caught) == 1


@pytest.mark.parametrize("missing", ["metric", "prompt", "task"])
def test_settings_that_lack_something_are_named(missing, tmp_path):
    run = made(tmp_path).add("", 0).run
    settings = run.settings()
    del settings[missing]
    run.write_settings(settings)
    with pytest.raises(ArtifactError, match=f"settings lack '{missing}'"):
        tables.opened(tmp_path)
    (tmp_path / "experiment.toml").write_text("a = [")
    with pytest.raises(ArtifactError, match="damaged"):
        tables.opened(tmp_path)


def test_an_opened_run_is_the_run(tmp_path):
    run = made(tmp_path).add("", 0).run
    assert tables.opened(tmp_path).path == run.path
    assert tables.prunings(run) == [STAGE]


# ---- gaps


def test_a_whole_run_has_no_gaps(tmp_path):
    found = tables.gaps(whole(tmp_path, (0, 1)).run)
    assert found.empty
    assert list(found.columns) == list(GAPS)


def test_what_is_not_finished_is_named_seed_by_seed(tmp_path):
    run = made(tmp_path, (0, 1, 2)).add("", 0, 0, 1).add(STAGE, 1, 0, 1).add(STAGE, 2, 0)
    found = tables.gaps(run.run)
    assert found[["stage", "arm", "seed", "rounds", "wanted", "reason"]].to_numpy().tolist() == [
        ["", "dense", 2, 0, 1, "not finished"],
        [STAGE, "ticket", 1, 1, 2, "not finished"],
        [STAGE, "ticket", 2, 0, 2, "not finished"],
    ]
    assert found["line"].tolist()[0] == "dense: seed 2 has no finished round (run the same command again to go on)"
    assert found["line"].tolist()[1].startswith(f"{STAGE}: seed 1 stops after round 1 (")


def test_a_seed_that_diverged_is_named_once(tmp_path):
    run = made(tmp_path, (0, 1)).add("", 0, 0).add("", 0, 1, status="diverged").add(STAGE, 1, 0, status="diverged")
    found = tables.gaps(run.run)
    assert found[["stage", "seed", "reason"]].to_numpy().tolist() == [["", 1, "diverged"], [STAGE, 0, "diverged"]]
    assert found["line"].tolist() == [
        "dense: seed 1 stops after round 0 (it diverged)",
        f"{STAGE}: seed 0 stops after round 1 (it diverged)",
    ]


def test_an_arm_that_lacks_its_last_round_is_a_gap_and_one_that_trains_only_that_is_none(tmp_path):
    run = whole(tmp_path, (0, 1))
    run.add(f"{STAGE}/short-prompt", 2, 0, 1).add(f"{STAGE}/random", 1, 0, 1).add(f"{STAGE}/random", 2, 1)
    found = tables.gaps(run.run)
    assert found[["arm", "seed"]].to_numpy().tolist() == [["random", 0]]


def test_a_search_has_one_round(tmp_path):
    run = made(tmp_path, rounds=2).add("", 0).add(STAGE, 1).add(STAGE, 2)
    run.run.write_stage("search-1", {"grid": "paper"})
    assert tables.gaps(run.run)["line"].tolist()[0].startswith("search-1: seed 0 has no finished round")
    run.add("search-1", 1).add("search-1/grid/tokens=1-pieces=1", 1)
    assert tables.gaps(run.run).empty


def test_a_ticket_that_dropped_nothing_lacks_no_complement(tmp_path):
    run = whole(tmp_path, (0, 1, 2))
    run.run.write_stage("search-1", {"grid": "paper"})
    run.add("search-1", 1, 0).add("search-1", 1, 1, 2, density=0.5).add("search-1/complement", 1, 1, density=0.5)
    found = tables.gaps(run.run)
    assert found[["stage", "arm", "seed"]].to_numpy().tolist() == [["search-1", "complement", 2]]


# ---- logs, and a real run


def test_logs_have_every_entry_but_those_of_cells(tmp_path):
    log = [(2, "train", "loss", 1.5), (2, "validation", "accuracy", 0.4)]
    run = made(tmp_path).add("", 0, log=log).add("search-1/grid/tokens=2-pieces=1", 1, log=log).add(STAGE, 1, log=log)
    found = tables.logs([run.run])
    assert list(found.columns) == list(LOGS)
    assert found["arm"].tolist() == ["dense", "dense", "ticket", "ticket"]
    assert found["value"].tolist() == [1.5, 0.4] * 2


def test_a_real_run_is_read_whole(tmp_path):
    made, _ = tiny.finished("gpt2", tmp_path, tmp_path / "out", train_steps=2, evaluate_every=1)
    run = tables.opened(made.path)
    found = tables.rounds([run])
    assert found["arm"].tolist() == ["dense", "ticket", "ticket", "untrained"]
    assert found[["tokens", "density"]].to_numpy().tolist()[:3] == [[4, 1.0], [3, 9 / 16], [2, 0.25]]
    assert found[["validation", "test", "seconds", "majority_test"]].notna().all(axis=None)
    assert set(found["members"]) == {1}
    assert tables.gaps(run).empty
    assert set(tables.logs([run])["split"]) >= {"validation"}
    assert list(found.columns[: len(KEYS)]) == list(KEYS)
    assert isinstance(run, Snapshot)
