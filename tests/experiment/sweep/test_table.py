from sweeps import read, serial, written

from prunekit.experiment.sweep import table


def test_a_sweep_may_only_tune(tmp_path):
    found = read(written(tmp_path, rounds="1", methods='"direct"', more='[sweep]\nverb = "tune"\n'), threads=1)
    done = serial(found, tmp_path / "runs")
    rows = table.results(tmp_path / "runs", found, done)
    assert set(rows["stage"]) == {"", "untrained"}
