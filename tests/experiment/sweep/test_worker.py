import fsspec
import pytest
import tiny
from sweeps import read, serial, written

from prunekit.experiment.prepare import prepare
from prunekit.experiment.sweep import worker
from prunekit.runs.store import Store

pytestmark = pytest.mark.gate

FEW = dict(rounds="1", methods='"direct"')


@pytest.fixture
def store():
    yield Store("memory://worked/runs")
    fsspec.filesystem("memory").store.clear()


def held(store):
    """What must be the same for the same sweep."""
    return store.read(
        name
        for name in store.names()
        if not name.endswith(("environment.json", "timing.json")) and ".sweep" not in name
    )


def test_one_that_fails_is_named_and_the_others_are_done(tmp_path):
    more = "[[sweep.include]]\nprompt.pieces = 5\n"
    file = written(tmp_path, rounds="0", methods='"direct"', more=more)
    found = read(file, threads=1)
    ended = list(serial(found, tmp_path / "runs").values())
    assert sorted(bool(one.failed) for one in ended) == [False, False, True]
    assert "does not divide" in next(one.failed for one in ended if one.failed)


def cut(store, monkeypatch, stop):
    """The store takes no more objects after so many; returns how many it took."""
    put, seen = store._system.pipe_file, []

    def pipe_file(path, content, **more):
        if len(seen) >= stop:
            raise OSError("connection lost")
        seen.append(path)
        put(path, content, **more)

    monkeypatch.setattr(store._system, "pipe_file", pipe_file)
    return seen


def dies(found, store, folder, whole, stops, monkeypatch):
    """Runs that end at these puts, and go on from what the store has: to the same bytes, doing nothing twice."""
    for stop in stops:
        store.remove(store.names())
        with monkeypatch.context() as patched:
            cut(store, patched, stop)
            first = serial(found, folder, store.url)
        assert any(one.failed == "OSError: connection lost" for one in first.values())
        second = serial(found, folder, store.url)
        assert not any(one.failed or one.again for one in second.values())
        assert held(store) == whole, f"cut at put {stop}"
        rounds = {name.rpartition("/")[0] for name in held(store) if name.endswith("MANIFEST.json")}
        made = sum(one.trained for one in second.values())
        assert made < len(rounds) or stop < 12  # the dense round of the first run is there by then


@pytest.mark.parametrize("stops", [(13,), pytest.param(None, marks=pytest.mark.slow)], ids=["one file", "any file"])
def test_a_run_whose_copy_was_cut_goes_on_to_the_same_bytes(stops, store, tmp_path, monkeypatch):
    found = read(written(tmp_path, **FEW), threads=1)
    with monkeypatch.context() as patched:
        seen = cut(store, patched, 10**6)
        serial(found, tmp_path / "runs", store.url)
    dies(found, store, tmp_path / "runs", held(store), stops or range(len(seen)), monkeypatch)


def test_a_round_that_is_damaged_in_the_store_is_named_and_done_again(store, tmp_path):
    found = read(written(tmp_path, **FEW), threads=1)
    done = serial(found, tmp_path / "runs", store.url)
    whole, first = held(store), done[found.experiments[0]]
    name = f"{first.run}/seed=0/round=00/trained.safetensors"
    store.write({name: whole[name][:-1] + b"?"})
    again = serial(found, tmp_path / "runs", store.url)
    assert again[found.experiments[0]].again[0] == f"{first.run}/seed=0/round=00"
    assert again[found.experiments[1]].again == ()
    assert again[found.experiments[1]].trained == 0
    assert held(store) == whole


def test_what_a_worker_says_of_its_folder_names_the_store(store, tmp_path, monkeypatch):
    found = read(written(tmp_path, **FEW), threads=1)

    def refuse(self, files):
        from prunekit.support.errors import ArtifactError

        raise ArtifactError(f"{self.path}/x: damaged")

    monkeypatch.setattr("prunekit.runs.store.StoredRun.commit", refuse)
    done = serial(found, tmp_path / "runs", store.url)
    assert all(one.failed.startswith(f"{store.url}/toy-") for one in done.values())


def test_label_words_of_the_last_experiment_are_not_taken_over(tmp_path, monkeypatch):
    own = dict(task=None, text="sentence", label="label", rounds=0, keep_tokens=None)
    worded = tiny.experiment("gpt2", tmp_path, label_words="good=w1,bad=w2", **own)
    monkeypatch.setattr(worker, "_last", {})
    assert set(worker.ready(worded).task.choices) == {"w1", "w2"}
    assert set(worker.ready(tiny.experiment("gpt2", tmp_path, **own)).task.choices) == {"good", "bad"}


def test_the_next_experiment_of_a_task_takes_model_and_rows_over(tmp_path, monkeypatch):
    text = written(tmp_path, rounds="0", methods='["direct", "residual"]')
    few, many = read(text, threads=1).experiments[::2]
    monkeypatch.setattr(worker, "_last", {})
    first = worker.ready(few)
    second = worker.ready(many)
    assert second.model is first.model
    assert all(one is other for one, other in zip(second.rows, first.rows, strict=True))
    alone = prepare(many)
    assert second.id == alone.id
    assert second.rows == alone.rows
    assert second.experiment == alone.experiment
    fewer = many.model_copy(update={"task": many.task.model_copy(update={"train_examples": 6})})
    third = worker.ready(fewer)
    assert third.model is first.model
    assert len(third.rows[0]) == 6
    assert third.id == prepare(fewer).id
