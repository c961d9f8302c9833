import json

import pytest
import tiny

from prunekit import experiment, inspection
from prunekit.errors import ArtifactError
from prunekit.prepare import prepare


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    settings = tiny.experiment("gpt2", folder, seeds=2)
    return experiment.run(prepare(settings), folder / "out", tiny.Quiet())


def test_show_has_a_row_per_round_and_seed_and_a_mean(made, capsys):
    inspection.show(made.path, 1.0, json=False)
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[:2] for row in rows] == [[str(n), seed] for n in range(3) for seed in ("0", "1", "mean")]
    assert "Smallest ticket within 1.0" in out


@pytest.fixture(scope="module")
def shorter(made):
    """Of one seed, and fewer updates."""
    settings = tiny.experiment("gpt2", made.path.parents[1], train_steps=4)
    return experiment.run(prepare(settings), made.path.parents[1] / "shorter", tiny.Quiet())


def test_rounds_of_one_seed_stand_together_and_of_several_apart(made, shorter, capsys):
    for run, apart in ((shorter, False), (made, True)):
        inspection.show(run.path, 1.0, json=False)
        assert any(not line.strip() for line in capsys.readouterr().out.splitlines()) == apart


def test_show_of_what_is_no_run_is_one_line(tmp_path):
    with pytest.raises(ArtifactError, match="not a run directory"):
        inspection.show(tmp_path, 0.01, json=False)


def test_a_missing_timing_is_no_reason_to_fail(made, capsys):
    timing = next(made.path.rglob("timing.json"))
    kept = timing.read_bytes()
    timing.unlink()
    inspection.show(made.path, 0.01, json=True)
    timing.write_bytes(kept)
    assert json.loads(capsys.readouterr().out)["metric"] == "accuracy"


def test_compare_names_the_settings_that_differ(made, shorter, capsys):
    inspection.compare([made.path, shorter.path], json=True)
    first, second = json.loads(capsys.readouterr().out)
    assert (first["settings"]["training.train_steps"], second["settings"]["training.train_steps"]) == (6, 4)
    assert "training.batch_size" not in first["settings"]


def test_list_counts_finished_tickets(made, tmp_path, capsys):
    inspection.list_runs(made.path.parent, json=True)
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["seeds"], one["finished_tickets"]) == ([0, 1], 8)
    inspection.list_runs(tmp_path, json=False)
    assert "no runs in" in capsys.readouterr().out
