import fsspec
import pytest
import tiny
from sweeps import read, serial, written

from prunekit.experiment.sweep import jobs, table
from prunekit.experiment.sweep.mirror import mirror
from prunekit.runs.paths import FACTS, MANIFEST, PREDICTIONS, RESULT, SETTINGS
from prunekit.runs.store import Store
from prunekit.support.atomic import as_parquet


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two runs, in a folder and into a store."""
    folder = tmp_path_factory.mktemp("mirror")
    found = read(written(folder, rounds="1", methods='"direct"'), threads=1)
    plain = serial(found, folder / "runs")
    store = Store("memory://mirrored/runs")
    stored = serial(found, folder / "nowhere", store.url)
    yield folder, found, plain, store, stored
    fsspec.filesystem("memory").store.clear()


def keys(found):
    return [jobs.key(one, found) for one in found.experiments]


def receipts(found, folder):
    return {one: jobs.receipt(folder, jobs.key(one, found)) for one in found.experiments}


def test_the_table_from_manifests_in_a_store_is_that_of_a_folder(swept, tmp_path):
    folder, found, plain, store, _ = swept
    mirror(store, keys(found), tmp_path)
    made = as_parquet(table.results(tmp_path, found, receipts(found, tmp_path)))
    assert made == as_parquet(table.results(folder / "runs", found, plain))
    brought = {path.name for path in tmp_path.rglob("*") if path.is_file() and ".sweep" not in str(path)}
    assert brought == {SETTINGS, MANIFEST, RESULT, FACTS, PREDICTIONS}  # no tensors


def test_runs_in_a_store_hold_the_bytes_of_those_in_a_folder(swept):
    folder, _, _, store, stored = swept
    for run in {one.run for one in stored.values()}:
        names = [name for name in store.names(run) if not name.endswith(("environment.json", "timing.json"))]
        mine = {name.removeprefix(f"{run}/"): content for name, content in store.read(names).items()}
        assert mine == tiny.contents(folder / "runs" / run)
    assert not (folder / "nowhere").exists()  # nothing but the store was written to


@pytest.mark.parametrize("name", [RESULT, MANIFEST])
def test_an_experiment_whose_rounds_are_damaged_is_not_finished(swept, name, tmp_path):
    _, found, _, store, stored = swept
    first = stored[found.experiments[0]]
    path = f"{first.run}/seed=1/round=00/{name}"
    before = store.read([path])
    store.write({path: before[path][:-2]})
    try:
        mirror(store, keys(found), tmp_path)
    finally:
        store.write(before)
    assert [one is None for one in receipts(found, tmp_path).values()] == [True, False]


def test_a_receipt_that_is_torn_or_of_no_run_counts_for_nothing(swept, tmp_path):
    _, found, _, store, _ = swept
    first, second = keys(found)
    before = store.read([jobs.receipt_name(first)])
    store.write({jobs.receipt_name(first): next(iter(before.values()))[:-4]})
    try:
        mirror(store, [first, second, "0" * 16], tmp_path)
    finally:
        store.write(before)
    assert jobs.receipt(tmp_path, first) is None
    assert jobs.receipt(tmp_path, second) is not None
