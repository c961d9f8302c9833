import itertools

import fsspec
import pytest
import tiny
from test_runs_run import DENSE, PRUNED, member

from prunekit.runs import paths
from prunekit.runs.run import Run
from prunekit.runs.store import Store, Stored, fetch, stored_at
from prunekit.support.errors import ConfigError, PrunekitError

FILES = ("result.json", "log.txt")
_numbers = itertools.count()


def address(kind, folder):
    return f"memory://box{next(_numbers)}/runs" if kind == "memory" else f"file://{folder / 'store' / 'runs'}"


@pytest.fixture(params=tiny.at_night("memory", "file"))
def store(request, tmp_path):
    yield Store(address(request.param, tmp_path))
    fsspec.filesystem("memory").store.clear()


def opened(store, folder):
    """The run as a worker opens it: in its own folder, with what the store has of it."""
    folder.mkdir(exist_ok=True)
    left_out = fetch(store, "r", folder, store.names("r"))
    return stored_at(Stored(folder, store), "r", "abcd1234"), left_out


def work(run):
    """A run of two rounds for two seeds, from wherever it stands; returns the cohorts that were made now."""
    made = []
    with run.locked():
        if not (run.path / paths.SETTINGS).exists():
            run.write_environment({"python": "3"})
            run.write_settings({"id": "abcd1234", "seeds": [0, 1], "cohorts": [[0, 1]], "metric": "accuracy"})
        run.write_stage("prune-ab12", {"rounds": 1})
        for cohort in (DENSE, PRUNED):
            if not run.done(cohort):
                run.commit([member(key, str(key)) for key in cohort])
                made.append(cohort)
        run.write_results()
    return made


def held(store):
    return store.read(store.names())


def one_by_one(store, monkeypatch, stop=None, torn=False):
    """Note every put; at number `stop` the worker dies, before it or half-way."""
    put, seen = store._system.pipe_file, []

    def pipe_file(path, content, **more):
        if len(seen) == stop:
            if torn:
                put(path, content[: len(content) // 2], **more)
            raise KeyboardInterrupt
        seen.append(path)
        put(path, content, **more)

    monkeypatch.setattr(store._system, "pipe_file", pipe_file)
    return seen


@pytest.fixture
def whole(store, tmp_path):
    """What the store holds after a run that nothing cut short."""
    run, _ = opened(store, tmp_path / "whole")
    work(run)
    return held(store)


def wipe(store):
    store.remove(store.names())


def test_a_run_in_a_store_is_that_of_a_folder(store, whole, tmp_path):
    run = Run(tmp_path / "plain" / "r")
    work(run)
    plain = {f"r/{path.relative_to(run.path).as_posix()}" for path in run.path.rglob("*") if path.is_file()} - {
        "r/.lock"
    }
    assert set(whole) == plain
    assert all(whole[name] == (tmp_path / "plain" / name).read_bytes() for name in plain)
    again, left_out = opened(store, tmp_path / "again")
    assert left_out == []
    assert again.verify() == 8
    assert again.rounds() == [*DENSE, *PRUNED]
    assert work(again) == []


@pytest.mark.parametrize("apart", tiny.at_night(4, 1))  # at every fourth put, or at each
@pytest.mark.parametrize("torn", [False, True], ids=["before", "half-way"])
def test_a_worker_that_dies_at_any_put_is_followed_by_one_that_comes_to_the_same_bytes(
    store, whole, torn, apart, tmp_path, monkeypatch
):
    wipe(store)
    with monkeypatch.context() as patched:
        seen = one_by_one(store, patched)
        work(opened(store, tmp_path / "counted")[0])
    assert len(seen) > len(whole)  # the journal is put several times
    for stop in range(0, len(seen), apart):
        wipe(store)
        with monkeypatch.context() as patched:
            one_by_one(store, patched, stop, torn)
            first, _ = opened(store, tmp_path / f"first-{stop}")
            with pytest.raises(KeyboardInterrupt):
                work(first)
        run, left_out = opened(store, tmp_path / f"second-{stop}")
        if (run.path / paths.SETTINGS).exists():  # else no round is finished, and it is begun anew
            assert {key for cohort in (DENSE, PRUNED) if run.done(cohort) for key in cohort} == set(run.rounds())
            run.verify()
        assert len(left_out) <= torn
        work(run)
        assert held(store) == whole, f"died at put {stop}"


def test_a_cohorts_manifests_are_its_last_puts(store, tmp_path, monkeypatch):
    seen = one_by_one(store, monkeypatch)
    run, _ = opened(store, tmp_path / "w")
    work(run)
    rounds = [path.removeprefix(store._root) for path in seen if "seed=" in path]
    for names in (rounds[:8], rounds[8:]):
        assert [name.endswith(paths.MANIFEST) for name in names] == [False] * 6 + [True] * 2


@pytest.mark.parametrize("file", [*FILES, paths.MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_is_noticed_and_done_again_with_what_follows_from_it(store, whole, file, damage, tmp_path):
    name = f"r/seed=1/round=00/{file}"
    content = bytearray(whole[name])
    content[len(content) // 2] ^= 4
    if damage == "gone":
        store.remove([name])
    else:
        store.write({name: bytes(content) if damage == "flip" else whole[name][:-3]})
    run, left_out = opened(store, tmp_path / "w")
    damaged = {"r/seed=1/round=00", "r/prune-ab12/seed=1/round=01"}
    assert set(left_out) == (damaged - {"r/seed=1/round=00"} if file + damage == "MANIFEST.jsongone" else damaged)
    assert run.rounds() == []  # a cohort counts whole
    assert work(run) == [DENSE, PRUNED]
    assert held(store) == whole


def test_damaged_settings_vouch_for_no_round(store, whole, tmp_path):
    store.write({"r/experiment.toml": whole["r/experiment.toml"].replace(b"accuracy", b"f1")})
    run, left_out = opened(store, tmp_path / "w")
    assert len(left_out) == 4
    assert not run.path.exists()
    work(run)
    assert held(store) == whole


def test_another_runs_round_is_left_out(store, whole, tmp_path):
    other = Store(f"{store.url}-other")
    run, _ = opened(other, tmp_path / "other")
    run.write_settings({"id": "abcd1234", "cohorts": [[0, 1]], "machine": {"threads": 2}})
    run.commit([member(key, str(key)) for key in DENSE])
    store.write({name: content for name, content in held(other).items() if "seed=0" in name})
    _, left_out = opened(store, tmp_path / "w")
    assert left_out == ["r/seed=0/round=00", "r/prune-ab12/seed=0/round=01"]


def test_a_manifest_is_taken_away_before_what_it_vouches_for_changes(store, whole, tmp_path, monkeypatch):
    run, _ = opened(store, tmp_path / "w")
    one_by_one(store, monkeypatch, stop=0)
    with pytest.raises(KeyboardInterrupt):
        run.commit([member(key, str(key)) for key in DENSE])
    assert not {f"r/{key}/{paths.MANIFEST}" for key in DENSE} & store.names()


def test_only_what_is_asked_for_is_brought(store, whole, tmp_path):
    assert fetch(store, "r", tmp_path / "few", store.names("r"), only={paths.RESULT}) == []
    run = Run.open(tmp_path / "few" / "r")
    assert {path.name for path in run.path.rglob("*") if path.is_file()} == {
        paths.SETTINGS, paths.MANIFEST, paths.RESULT,
    }  # fmt: skip
    assert len(run.results()) == 4


def test_what_is_no_round_and_no_run_is_not_brought(store, whole, tmp_path):
    store.write({"r/notes/MANIFEST.json": b"{}", "q/seed=0/round=00/MANIFEST.json": b"{}", "r/other.txt": b"x"})
    _, left_out = opened(store, tmp_path / "w")
    assert left_out == []
    assert not (tmp_path / "w" / "r" / "notes").exists()
    assert fetch(store, "q", tmp_path / "w", store.names("q")) == ["q/seed=0/round=00"]
    assert not (tmp_path / "w" / "q").exists()


def test_a_name_that_leads_out_of_the_folder_is_none(tmp_path):
    store = Store(address("memory", tmp_path))
    path = f"{store._root}/r/../../out/seed=0/round=00/MANIFEST.json"
    store._system.store[path] = store._system.open(f"{store._root}/r/x", "wb")
    assert "r/../../out/seed=0/round=00/MANIFEST.json" not in store.names()
    assert all(".." not in name for name in store.names())


def test_a_store_that_there_is_not_is_refused_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--store nothing://box: ValueError: Protocol not known"):
        Store("nothing://box")
    store = Store(address("memory", tmp_path))

    def find(path):
        raise RuntimeError("no\ncredentials")

    monkeypatch.setattr(store._system, "find", find)
    with pytest.raises(ConfigError, match="cannot be reached: RuntimeError: no credentials"):
        store.names()


def test_an_object_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    store = Store(address("memory", tmp_path))
    store.write({"r/a": b"a"})

    def cat_file(path, start=None, end=None):
        raise PermissionError("not yours")

    monkeypatch.setattr(store._system, "cat_file", cat_file)
    with pytest.raises(PrunekitError, match="runs/r/a: cannot be read: PermissionError: not yours"):
        store.read(["r/a"])


def test_an_empty_store_holds_nothing(store, tmp_path):
    assert store.names() == set()
    assert store.read(["r/a"]) == {}
    store.remove(["r/a"])
    assert fetch(store, "r", tmp_path, set()) == []
    assert not (tmp_path / "r").exists()


def test_signs_that_could_be_a_pattern_are_part_of_a_name(tmp_path):
    store = Store(f"file://{tmp_path}/a[b]*/runs")
    store.write({"r/x": b"x", "r/y?": b"y"})
    assert store.read(store.names()) == {"r/x": b"x", "r/y?": b"y"}
    store.remove(["r/y?"])
    assert store.names("r") == {"r/x"}
