import json
import os
import re
import shutil
from pathlib import Path

import pytest
import tiny

from prunekit.runs import paths
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Files, Run
from prunekit.support.atomic import STAGING, as_json
from prunekit.support.errors import ArtifactError, ConfigError


def new(path, run_id="abcd1234"):
    run = Run(path)
    run.write_settings({"id": run_id, "seeds": [0, 1], "cohorts": [[0, 1]], "metric": "accuracy"})
    return run


DENSE, PRUNED = [RunKey("", 0, 0), RunKey("", 1, 0)], [RunKey("prune-ab12", 0, 1), RunKey("prune-ab12", 1, 1)]


def member(key, note="x"):
    _, seed, number = key
    result = {"seed": seed, "round": number, "status": "done", "test": {"accuracy": 0.5}, "note": note}
    return Files(key, {"result.json": as_json(result), "log.txt": b"log " + note.encode()}, {"seconds": 1.5})


def filled(path):
    run = new(path)
    run.commit([member(key) for key in DENSE])
    run.write_stage("prune-ab12", {"rounds": 1})
    run.commit([member(key) for key in PRUNED])
    return run


def test_a_committed_round_is_done_and_reads_back(tmp_path):
    run = filled(tmp_path / "r")
    assert run.done(DENSE)
    assert run.done(PRUNED)
    assert not run.done([*DENSE, RunKey("", 0, 1)])
    assert run.content(DENSE[0], "log.txt") == b"log x"
    assert run.rounds() == [*DENSE, *PRUNED]
    assert run.timing(DENSE[1]) == {"seconds": 1.5}
    assert run.verify() == 8


def test_a_cohort_counts_only_when_all_its_members_are_there(tmp_path):
    run = filled(tmp_path / "r")
    shutil.rmtree(run.folder(RunKey("prune-ab12", 1, 1)))
    assert not run.done(PRUNED)
    assert PRUNED[0] not in run.rounds()
    run.commit([member(key) for key in PRUNED])  # the member that stood there makes room
    assert run.verify() == 8


def test_results_are_rebuilt_from_the_rounds_and_hold_no_time(tmp_path):
    run = filled(tmp_path / "r")
    table = run.write_results()
    assert list(table["round"]) == [0, 0, 1, 1]
    assert list(table["test_accuracy"]) == [0.5] * 4
    assert "seconds" not in table.columns
    first = (run.path / paths.RESULTS).read_bytes()
    (run.path / paths.RESULTS).unlink()
    run.write_results()
    assert (run.path / paths.RESULTS).read_bytes() == first


@pytest.mark.parametrize("name", ["log.txt", "result.json", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_is_one_line_that_names_the_file(tmp_path, name, damage):
    run = filled(tmp_path / "r")
    path = run.folder(RunKey("", 1, 0)) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    match damage:
        case "flip":
            path.write_bytes(bytes(content))
        case "cut":
            path.write_bytes(path.read_bytes()[:-1] if name != "MANIFEST.json" else path.read_bytes()[:-4])
        case "gone" if name != "MANIFEST.json":
            path.unlink()
        case _:
            return  # a round without a manifest is just not done
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")) as caught:
        run.verify()
    assert "\n" not in str(caught.value)


def test_a_round_of_another_run_seed_or_round_is_refused(tmp_path):
    run, other = filled(tmp_path / "r"), filled(tmp_path / "s")
    other.write_settings(other.settings() | {"id": "ffff0000"})
    with pytest.raises(ArtifactError, match="belongs to"):
        other.manifest(RunKey("", 0, 0))
    shutil.rmtree(run.folder(RunKey("", 1, 0)))
    shutil.copytree(run.folder(RunKey("", 0, 0)), run.folder(RunKey("", 1, 0)))
    with pytest.raises(ArtifactError, match="belongs to"):
        run.manifest(RunKey("", 1, 0))


def test_a_round_that_follows_another_round_than_the_one_there_is_refused(tmp_path):
    run = filled(tmp_path / "r")
    run.commit([member(key, "other") for key in DENSE])
    with pytest.raises(ArtifactError, match="made from another round 0"):
        run.manifest(RunKey("prune-ab12", 0, 1))


def test_stage_settings_may_not_change_under_its_name(tmp_path):
    run = filled(tmp_path / "r")
    run.write_stage("prune-ab12", {"rounds": 1})
    with pytest.raises(ArtifactError, match="other settings"):
        run.write_stage("prune-ab12", {"rounds": 2})


def test_the_directory_of_another_experiment_is_refused_and_untouched(tmp_path):
    run = filled(tmp_path / "r")
    before = sorted(run.path.rglob("*"))
    with pytest.raises(ConfigError, match="another experiment"):
        Run.at(run.path, "name", "00000000")
    assert sorted(run.path.rglob("*")) == before
    assert Run.at(run.path, "name", "abcd1234").path == run.path
    assert Run.at(tmp_path, "r", "abcd1234").path == run.path


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(ArtifactError, match="not a run directory"):
        Run.open(tmp_path)


def test_leftovers_of_a_dead_process_are_swept_under_the_lock(tmp_path):
    run = filled(tmp_path / "r")
    left = run.path / "seed=0" / f"{STAGING}round=01"
    left.mkdir()
    (left / "log.txt").write_text("half")
    with run.locked():
        assert not left.exists()
    assert run.verify() == 8


def test_manifest_names_every_file_but_the_timing(tmp_path):
    run = filled(tmp_path / "r")
    manifest = json.loads((run.folder(RunKey("", 0, 0)) / paths.MANIFEST).read_bytes())
    assert sorted(manifest["files"]) == ["log.txt", "result.json"]
    assert manifest["cohort"] == ["seed=0/round=00", "seed=1/round=00"]
    assert manifest["previous"] is None


def test_places_are_read_back_from_their_paths():
    for key in (*DENSE, *PRUNED, RunKey("search-ab12/grid/tokens=2-pieces=4", 12, 1)):
        assert RunKey.parse(Path(str(key))) == key
    with pytest.raises(ValueError, match="not the place"):
        RunKey.parse(Path("seed=x/round=00"))


def test_arms_of_a_stage_follow_their_own_rounds_or_the_dense_one(tmp_path):
    run = filled(tmp_path / "r")
    arm, own = RunKey("prune-ab12/random", 0, 1), [RunKey("prune-ab12/reinit", 0, 0), RunKey("prune-ab12/reinit", 0, 1)]
    run.commit([member(arm)])
    for key in own:
        run.commit([member(key)])
    dense, first = (run.manifest(key)["sha256"] for key in (DENSE[0], own[0]))
    assert run.manifest(arm)["previous"] == dense
    assert run.manifest(own[1])["previous"] == first
    table = run.results()
    assert set(zip(table["stage"], table["arm"], strict=True)) == {
        ("", ""), ("prune-ab12", ""), ("prune-ab12", "random"), ("prune-ab12", "reinit"),
    }  # fmt: skip
    assert run.stages() == ["", "prune-ab12"]


# ---- links inside a run


LINKS = [
    paths.SETTINGS, paths.RESULTS, paths.JOURNAL, paths.ENVIRONMENT, ".lock", ".holder", "seed=0",
    "seed=0/round=00", "prune-ab12", "prune-ab12/stage.toml", "prune-ab12/seed=1/round=01/log.txt", "untrained",
]  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
def test_whoever_would_write_to_a_run_is_stopped_by_a_link_and_what_it_leads_to_stays(name, tmp_path):
    run = filled(tmp_path / "r")
    path, elsewhere = run.path / name, tmp_path / "elsewhere"
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.write_text("the user's")
    path.symlink_to(elsewhere, target_is_directory=elsewhere.is_dir())
    before = tiny.contents(tmp_path)
    wanted = f"{re.escape(str(path))}: .*a link, and inside a run none is followed"
    with pytest.raises(ArtifactError, match=wanted), run.locked():
        raise AssertionError
    assert tiny.contents(tmp_path) == before


def test_a_link_that_comes_while_the_run_is_held_is_not_written_through(tmp_path):
    run = filled(tmp_path / "r")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "results").write_text("the user's")
    (run.path / paths.RESULTS).symlink_to(elsewhere / "results")
    with pytest.raises(ArtifactError, match=r"results\.parquet: a link"):
        run.write_results()
    (run.path / "seed=5").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(ArtifactError, match=r"seed=5: a link"):
        run.commit([member(RunKey("", 5, 0))])
    assert [path.name for path in elsewhere.iterdir()] == ["results"]
    assert (elsewhere / "results").read_text() == "the user's"


@pytest.mark.parametrize("name", ["seed=0/round=00", "seed=0", "prune-ab12/seed=0/round=01"])
def test_a_round_that_is_a_link_is_refused_by_name_when_it_is_read(name, tmp_path):
    run = filled(tmp_path / "r")
    path = run.path / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    wanted = f"{re.escape(str(path))}.*a link"
    key = RunKey.parse(path.relative_to(run.path)) if "round" in name else DENSE[0]
    for read in (run.rounds, run.results, run.verify, lambda: run.content(key, "log.txt"), lambda: run.manifest(key)):
        with pytest.raises(ArtifactError, match=wanted):
            read()


def test_a_run_that_lies_behind_a_link_is_a_run(tmp_path):
    filled(tmp_path / "big")
    (tmp_path / "r").symlink_to(tmp_path / "big", target_is_directory=True)
    run = Run.open(tmp_path / "r")
    with run.locked():
        run.commit([member(RunKey("", 5, 0))])
        run.write_results()
    assert run.verify() == 10


def test_a_file_that_is_larger_than_its_manifest_says_is_not_read(tmp_path):
    run = filled(tmp_path / "r")
    with (run.folder(DENSE[0]) / "log.txt").open("ab") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(ArtifactError, match=r"log\.txt: cannot be read \(it holds 10,737,418,240 bytes"):
        run.content(DENSE[0], "log.txt")


def test_a_new_run_is_flushed_in_every_folder_above_it(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(Path(f"/proc/self/fd/{handle}").resolve()))
    run = Run(tmp_path / "runs" / "r")
    with run.locked():
        pass
    assert {tmp_path, tmp_path / "runs", run.path} <= set(seen)
    filled(run.path)
    assert {run.path, run.path / "seed=0", run.path / "prune-ab12", run.path / "prune-ab12" / "seed=1"} <= set(seen)
