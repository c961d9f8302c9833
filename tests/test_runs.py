import json
import shutil
import subprocess
import sys

import pytest

from prunekit import runs
from prunekit.disk import STAGING, as_json
from prunekit.errors import ArtifactError, ConfigError
from prunekit.runs import Files, Run


def new(path, run_id="abcd1234"):
    run = Run(path)
    run.write_settings({"id": run_id, "seeds": [0, 1], "cohorts": [[0, 1]], "metric": "accuracy"})
    return run


def member(seed, number, note="x"):
    result = {"seed": seed, "round": number, "status": "done", "report": {"accuracy": 0.5}, "note": note}
    return Files(seed, {"result.json": as_json(result), "log.txt": b"log " + note.encode()}, {"seconds": 1.5})


def filled(path):
    run = new(path)
    run.commit("", 0, [0, 1], [member(0, 0), member(1, 0)])
    run.write_stage("prune-ab12", {"rounds": 1})
    run.commit("prune-ab12", 1, [0, 1], [member(0, 1), member(1, 1)])
    return run


def test_a_committed_round_is_done_and_reads_back(tmp_path):
    run = filled(tmp_path / "r")
    assert run.done("", [0, 1], 0)
    assert run.done("prune-ab12", [0, 1], 1)
    assert not run.done("", [0, 1], 1)
    assert run.read("", 0, 0, "log.txt").read_bytes() == b"log x"
    assert run.rounds() == [("", 0, 0), ("", 1, 0), ("prune-ab12", 0, 1), ("prune-ab12", 1, 1)]
    assert run.timing("", 1, 0) == {"seconds": 1.5}
    assert run.verify() == 8


def test_a_cohort_counts_only_when_all_its_members_are_there(tmp_path):
    run = filled(tmp_path / "r")
    shutil.rmtree(run.round_path("prune-ab12", 1, 1))
    assert not run.done("prune-ab12", [0, 1], 1)
    assert ("prune-ab12", 0, 1) not in run.rounds()
    run.commit("prune-ab12", 1, [0, 1], [member(0, 1), member(1, 1)])  # the member that stood there makes room
    assert run.verify() == 8


def test_results_are_rebuilt_from_the_rounds_and_hold_no_time(tmp_path):
    run = filled(tmp_path / "r")
    table = run.write_results()
    assert list(table["round"]) == [0, 0, 1, 1]
    assert list(table["report_accuracy"]) == [0.5] * 4
    assert "seconds" not in table.columns
    first = (run.path / runs.RESULTS).read_bytes()
    (run.path / runs.RESULTS).unlink()
    run.write_results()
    assert (run.path / runs.RESULTS).read_bytes() == first


@pytest.mark.parametrize("name", ["log.txt", "result.json", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_is_one_line_that_names_the_file(tmp_path, name, damage):
    run = filled(tmp_path / "r")
    path = run.round_path("", 1, 0) / name
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
        other.manifest("", 0, 0)
    shutil.rmtree(run.round_path("", 1, 0))
    shutil.copytree(run.round_path("", 0, 0), run.round_path("", 1, 0))
    with pytest.raises(ArtifactError, match="belongs to"):
        run.manifest("", 1, 0)


def test_a_round_that_follows_another_round_than_the_one_there_is_refused(tmp_path):
    run = filled(tmp_path / "r")
    run.commit("", 0, [0, 1], [member(0, 0, "other"), member(1, 0, "other")])
    with pytest.raises(ArtifactError, match="made from another round 0"):
        run.manifest("prune-ab12", 0, 1)


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


def test_a_second_writer_is_told_who_holds_the_run(tmp_path):
    run = filled(tmp_path / "r")
    code = f"from prunekit.runs import Run; import pathlib\nwith Run(pathlib.Path({str(run.path)!r})).locked(): pass"
    with run.locked():
        made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert "in use by process" in made.stderr
    with run.locked():  # and it is free again
        pass


def test_manifest_names_every_file_but_the_timing(tmp_path):
    run = filled(tmp_path / "r")
    manifest = json.loads((run.round_path("", 0, 0) / runs.MANIFEST).read_bytes())
    assert sorted(manifest["files"]) == ["log.txt", "result.json"]
    assert manifest["cohort"] == [0, 1]
    assert manifest["previous"] is None
