"""`prunekit sweep` on this machine: the pool of processes, its table, what it says."""

import io
import json
import os
import re
import tomllib

import fsspec
import pandas as pd
import pytest
import tiny
from rich.console import Console
from sweeps import read, serial, written
from tiny import call

import prunekit as pk
from prunekit.cli.sweep import _counted, print_sweep
from prunekit.engine import memory
from prunekit.experiment import pace, prepare
from prunekit.experiment.sweep import engines, table
from prunekit.experiment.sweep.forecast import forecast_sweep
from prunekit.experiment.sweep.jobs import Outcome
from prunekit.experiment.sweep.resources import resources_for
from prunekit.experiment.sweep.sweep import SweepOptions, read_grid
from prunekit.experiment.sweep.worker import perform
from prunekit.runs.store import Store
from prunekit.support.errors import ConfigError
from prunekit.support.terminal import Screen

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def swept(forks, tmp_path_factory):
    """A sweep of four experiments, by the command line on two workers."""
    folder = tmp_path_factory.mktemp("swept")
    file = written(folder, rounds="[0, 1]", methods='"direct"')
    command = ["sweep", str(file), f"--out={folder / 'runs'}", "--workers=2"]
    made = forks.run(command, folder / "first")
    assert made.code == 0, made.said
    return folder, file, command, made


def result(folder):
    (path,) = (folder / "runs").glob("sweep-grid-*/results.parquet")
    return path


def test_a_sweep_ends_with_a_table_of_all_its_tickets(swept):
    folder, _, _, made = swept
    found = pd.read_parquet(result(folder))
    assert found["directory"].nunique() == 2  # the two rates; both numbers of rounds lie in each
    assert len(found) == 2 * (2 + 2 + 2)  # dense, untrained, pruned; two seeds each
    assert set(found["training.learning_rate"]) == {0.05, 0.1}
    assert "4 of 4: " in made.said
    assert f"written to {result(folder).parent}" in made.wrote
    assert "of the smallest ticket within 0.01 of dense on validation; 1 is the dense prompt" in made.wrote
    page = (result(folder).parent / "report.html").read_text()
    assert "The sweep grid" in page
    assert "4 of 4 experiments are finished, in 2 run directories." in page


def test_the_library_returns_what_the_verb_prints_and_prints_nothing(swept, capsys):
    folder, file, _, _ = swept
    assert call("sweep", file, f"--out={folder / 'runs'}", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    of_file = pk.sweep(file, out=folder / "runs", quiet=True)
    of_table = pk.sweep(tomllib.loads(file.read_text()), out=folder / "runs", quiet=True)
    assert capsys.readouterr() == ("", "")
    assert list(of_file.rows) == list(of_table.rows) == facts["experiments"]
    assert str(of_file.folder / "results.parquet") == str(of_table.folder / "results.parquet") == facts["table"]
    assert (len(of_file.table), len(of_file.tickets), of_file.failures) == (4, 12, ())


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"thread": 1}, 'unknown setting "thread"; did you mean "threads"?'),
        ({"train_steps": 8}, "every other one belongs into the grid"),
        ({"dry_run": True}, 'unknown setting "dry_run"'),
    ],
)
def test_the_library_refuses_a_setting_that_is_none_of_a_sweep(settings, hint, tmp_path):
    with pytest.raises(ConfigError) as refused:
        pk.sweep({}, out=tmp_path, quiet=True, seeds=1, device="cpu", **settings)
    assert hint in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def screen():
    """A terminal's, whose text is kept."""
    made = Screen()
    made.console = Console(file=io.StringIO(), force_terminal=True, width=100, highlight=False, markup=False)
    return made


def test_a_terminal_counts_what_has_ended_and_what_failed(screen):
    with _counted(screen, 3) as count:
        count(Outcome("k", "first-animal, dpt", run="run-1"))
        count(Outcome("l", "alike-mood, dpt", failed="no room"))
    assert "2/3" in screen.console.file.getvalue()
    assert "experiments, 1 failed" in screen.console.file.getvalue()


def test_an_outcome_is_said_in_a_line_that_cannot_steer_the_terminal(screen):
    ended = Outcome("k", "first-animal, dpt", run="run-1", trained=3, seconds=12.0, worker="host 13")
    assert ended.sentence == "first-animal, dpt: run-1 (3 training(s), 12 s, host 13)"
    assert Outcome("k", "dpt", failed="no room").sentence == "dpt: failed: no room (0 training(s), 0 s, worker gone)"
    screen.say(Outcome("k", "\x1b]0;title\x07[bold]", run="run-1").sentence)
    assert "\x1b]0;title" not in screen.console.file.getvalue()
    assert "[bold]" in screen.console.file.getvalue()


def test_its_table_is_that_of_one_process_byte_for_byte(swept, tmp_path):
    folder, file, _, _ = swept
    found = read(file, threads=1)
    done = serial(found, tmp_path)
    from prunekit.support.atomic import as_parquet

    assert as_parquet(table.results(tmp_path, found, done)) == result(folder).read_bytes()
    for run in {one.run for one in done.values()}:
        assert tiny.contents(tmp_path / run) == tiny.contents(folder / "runs" / run)


def test_a_finished_sweep_is_not_run_again(swept, forks, tmp_path):
    folder, _, command, _ = swept
    before = tiny.contents(folder / "runs")
    again = forks.run(command, tmp_path / "again")
    assert again.code == 0
    assert "4 experiments (prune), 4 finished before" in again.said
    assert "of 4: " not in again.said
    assert tiny.contents(folder / "runs") == before


def test_runs_made_by_hand_are_found_by_what_they_are(swept, tmp_path, capsys):
    folder, file, _, _ = swept
    for receipt in (folder / "runs" / ".sweep").glob("*.json"):
        receipt.unlink()
    found = read(file, threads=1)
    done = serial(found, folder / "runs")
    assert [one.trained for one in done.values()] == [0, 0, 0, 0]


def test_a_dry_run_lists_and_writes_nothing(tmp_path, capsys):
    file = written(tmp_path, rounds="1", methods='"direct"')
    assert call("sweep", file, f"--out={tmp_path / 'runs'}", "--dry-run", "--threads=1") == 0
    said = capsys.readouterr().out
    assert "2 of 2 would run: at most" in said
    assert said.count("new") == 2
    assert not (tmp_path / "runs").exists()
    assert call("sweep", file, f"--out={tmp_path / 'runs'}", "--dry-run", "--json", "--threads=1", "--workers=2") == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["experiments"]) == 2
    assert facts["workers"] == 2
    assert facts["wall_minutes"] <= facts["minutes"]


@pytest.mark.slow
def test_a_sweep_may_search_and_train_controls(tmp_path, capsys):
    more = '[sweep]\nverb = "search"\ncontrols = true\n'
    file = written(tmp_path, rounds="1", methods='"direct"', more=more)
    assert call("sweep", file, f"--out={tmp_path / 'runs'}", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["experiments"]) == 2
    assert all(0 < one["density"] <= 1 for one in facts["experiments"])
    arms = set(pd.read_parquet(facts["table"])["arm"])
    assert {"", "dense-continued", "random", "complement", "token-only", "piece-only"} <= arms
    assert not any("grid" in arm for arm in arms)


def test_workers_are_as_many_as_cores_and_memory_allow(tmp_path, monkeypatch):
    found = read(written(tmp_path, rounds="0", methods='"direct"'), threads=1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 5 * 2**30)

    def workers(left, workers=None, engine="local"):
        return resources_for(found, engine, workers, None, left).workers

    assert workers(100) == 7  # 700 MB each, of 5 GB
    assert workers(3) == 3  # no more than there are experiments
    assert workers(100, workers=12) == 12
    assert workers(100, engine="slurm") == 16  # whose memory is its own affair


def test_engines_that_are_none_are_refused(tmp_path, capsys):
    file = written(tmp_path)
    assert call("sweep", file, "--engine=rai") == 2
    assert 'did you mean "ray"?' in capsys.readouterr().err
    assert call("sweep", file, "--address=auto") == 2
    assert "--address is of --engine ray" in capsys.readouterr().err


@pytest.fixture
def in_this_process(monkeypatch):
    """An engine that starts no processes, so that a store in memory will do."""

    def outcomes(name, work, resources, folder):
        for job in work:
            yield [Outcome.from_table(row) for row in json.loads(perform(job.to_text()))]

    monkeypatch.setattr(engines, "outcomes", outcomes)
    yield
    memory.share_memory(1)
    fsspec.filesystem("memory").store.clear()


def test_a_sweep_into_a_store_ends_with_the_table_of_one_in_a_folder(in_this_process, tmp_path, capsys):
    file, url = written(tmp_path, rounds="1", methods='"direct"'), "memory://swept/runs"
    assert call("sweep", file, f"--out={tmp_path / 'plain'}", "--threads=1") == 0
    (expected,) = (tmp_path / "plain").glob("sweep-grid-*/results.parquet")
    command = ("sweep", file, f"--out={tmp_path / 'here'}", f"--store={url}", "--threads=1")
    assert call(*command, "--dry-run") == 0
    assert capsys.readouterr().out.count(" new ") == 2
    assert call(*command) == 0
    assert f"here/{expected.parent.name} and {url}" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "here").iterdir()} == {expected.parent.name}  # no run lies here
    store = Store(url)
    names = [f"{expected.parent.name}/{name}" for name in ("results.parquet", "report.html", "grid.toml")]
    found = store.read(names)
    assert len(found) == 3
    assert found[names[0]] == expected.read_bytes()
    assert call(*command) == 0
    assert "2 experiments (prune), 2 finished before" in capsys.readouterr().err

    damaged = next(name for name in store.names() if name.endswith("seed=0/round=00/result.json"))
    store.write({damaged: b"{}"})
    assert call(*command) == 0
    said = capsys.readouterr().err
    assert "1 finished before" in said
    assert f"damaged in the store and done again: {damaged.rpartition('/')[0]}" in said
    assert store.read([names[0]])[names[0]] == expected.read_bytes()


def test_a_store_that_cannot_be_used_is_refused_before_anything_runs(tmp_path, capsys):
    assert call("sweep", written(tmp_path), f"--out={tmp_path / 'runs'}", "--store=nothing://box") == 2
    assert "--store nothing://box: " in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("verb", "titles", "legend"),
    [
        ("prune", "dense density test", "density, test: of the smallest ticket within 0.1 of dense"),
        ("search", "dense density test", "density, test: of the chosen ticket"),
        ("tune", "dense", ""),
    ],
)
def test_the_short_table_says_whose_density_and_report_it_shows(verb, titles, legend, capsys):
    row = {"stopped": 0, "dense": 0.9, "density": 1.0, "test": 0.9, "low": 0.8, "high": 1.0}
    print_sweep(pd.DataFrame([row]), verb, 0.1, Screen())
    said = capsys.readouterr().out
    assert said.split("\n")[0].split() == titles.split()
    assert legend in said
    assert ("density" in said) == bool(legend)


# ---- a dry run of many


MANY = """
[training]
learning_rate = {rates}
weight_decay = {decays}
[pruning]
keep_tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
rounds = {rounds}
"""


def foreseen(forks, tmp_path, rates, decays, rounds):
    """A dry run of rates x decays x 10 x rounds experiments on the testbed: its last line, CPU seconds, and peak MB."""

    def count(most, unit):
        return [unit * number for number in range(1, most + 1)]

    file = tmp_path / "many.toml"
    file.write_text(MANY.format(rates=count(rates, 0.001), decays=count(decays, 0.01), rounds=count(rounds, 1)))
    code = (
        "import resource, sys; from prunekit.cli import main\n"
        "try: main.main(sys.argv[1:])\n"
        "finally:\n"
        "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    print('used', used.ru_utime + used.ru_stime, used.ru_maxrss // 1024)"
    )
    made = forks.run(["sweep", file, f"--out={tmp_path / 'runs'}", "--dry-run"], tmp_path / "dry", code=code)
    *_, last, used = made.wrote.splitlines()
    return last, float(used.split()[1]), int(used.split()[2])  # of the processor, which others may use too


@pytest.mark.slow
def test_a_dry_run_of_many_takes_hardly_more_memory_than_one_of_a_few(forks, tmp_path):
    """What one experiment's preparation keeps of a training step is 20 MB here, which once was never let go."""
    _, _, few = foreseen(forks, tmp_path, 1, 1, 1)
    said, _, many = foreseen(forks, tmp_path, 2, 1, 1)
    assert said.startswith("20 of 20 would run")
    assert many - few < 60


@pytest.mark.slow
def test_a_dry_run_of_ten_thousand_takes_a_minute_and_two_gigabytes_at_most(forks, tmp_path):
    said, seconds, peak = foreseen(forks, tmp_path, 10, 10, 10)
    assert said.startswith("10000 of 10000 would run")
    assert seconds < 60
    assert peak < 2000


def test_what_experiments_share_is_prepared_and_timed_once_whatever_their_order(tmp_path, monkeypatch):
    """Prompts of two lengths in turn: rows are read for each length once, activations counted and a step timed."""
    file = written(tmp_path, methods='"direct"', rounds="[1, 2]")
    before, prompt, after = re.split(r"(\[prompt\]\n.*?)(?=\[training)", file.read_text(), flags=re.DOTALL)
    prompt = prompt.replace("tokens = 4\n", 'init = ["vocabulary", "uniform"]\ntokens = [4, 6]\n')
    file.write_text(before + after + prompt)  # the last in the file varies fastest
    counted = {"activation_bytes": memory, "measured": pace, "encode": prepare}
    calls = {name: tiny.spied(monkeypatch, module, name, lambda *_: 1) for name, module in counted.items()}
    found = forecast_sweep(read_grid(file, {}).grid, SweepOptions(tmp_path / "runs"), tiny.Quiet()).facts["experiments"]
    assert len(found) == 16
    assert [row["experiment"].split(", ")[0] for row in found] == ["4", "6"] * 8
    assert {name: len(seen) for name, seen in calls.items()} == {"activation_bytes": 2, "measured": 2, "encode": 6}
