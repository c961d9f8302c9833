"""`prunekit sweep` on this machine: grids, jobs, the pool of processes, its table, its end by a signal."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pandas as pd
import pytest
import tiny
from packaging.requirements import Requirement
from tiny import call

from prunekit import capacity, flags
from prunekit.errors import ConfigError
from prunekit.sweep import grid, jobs, table
from prunekit.sweep.jobs import Job, Outcome
from prunekit.sweep.plan import spread
from prunekit.sweep.worker import perform

SMALL = """
seeds = 2
[model]
name = "{model}"
[task]
name = "{task}"
data = "{data}"
[prompt]
tokens = 4
pieces = 4
method = {methods}
[training]
train_steps = 4
evaluate_every = 2
batch_size = 4
learning_rate = [0.05, 0.1]
[pruning]
rounds = {rounds}
keep_tokens = 2
"""


def written(folder, methods='["direct", "dpt"]', rounds="1", more="", kind="gpt2"):
    """A grid file over the tiny model and task."""
    tiny.arguments(kind, folder)
    names = dict(model=folder / f"model-{kind}", task=folder / "toy" / "toy.toml", data=folder / "toy")
    file = folder / "grid.toml"
    file.write_text(SMALL.format(methods=methods, rounds=rounds, **names) + more)
    return file


def read(file, **given):
    return grid.read(file, lambda settings: flags.experiment(None, given, settings))


def of_text(tmp_path, text):
    file = tmp_path / "grid.toml"
    file.write_text(text)
    return read(file)


# ---- grids


def test_lists_are_multiplied_and_the_last_varies_fastest(tmp_path):
    found = of_text(tmp_path, '[prompt]\nmethod = ["direct", "dpt"]\n[training]\nlearning_rate = [0.1, 0.2, 0.3]\n')
    assert [found.label(one) for one in found.experiments] == [
        "direct, 0.1", "direct, 0.2", "direct, 0.3", "dpt, 0.1", "dpt, 0.2", "dpt, 0.3",
    ]  # fmt: skip
    assert found.varied == ("prompt.method", "training.learning_rate")


def test_seeds_stay_the_seeds_of_one_experiment(tmp_path):
    found = of_text(tmp_path, "seeds = [3, 5]\n[training]\nlearning_rate = [0.1, 0.2]\n")
    assert [one.seeds for one in found.experiments] == [(3, 5), (3, 5)]


def test_settings_that_belong_together_are_an_array_of_tables(tmp_path):
    text = '[[task]]\nname = "testbed/alike-mood"\ntrain_examples = [8, 16]\n[[task]]\nname = "testbed/alike-kind"\n'
    found = of_text(tmp_path, text)
    assert [(one.task.name, one.task.train_examples) for one in found.experiments] == [
        ("testbed/alike-mood", 8), ("testbed/alike-mood", 16), ("testbed/alike-kind", None),
    ]  # fmt: skip


def test_include_adds_and_exclude_leaves_out(tmp_path):
    text = """
[prompt]
method = ["direct", "dpt"]
tokens = 10
[training]
learning_rate = [0.1, 0.2]
[[sweep.exclude]]
prompt.method = "dpt"
training.learning_rate = [0.2, 0.3]
[[sweep.include]]
prompt.method = "residual"
training.learning_rate = 0.4
"""
    found = of_text(tmp_path, text)
    assert [found.label(one) for one in found.experiments] == [
        "direct, 0.1",
        "direct, 0.2",
        "dpt, 0.1",
        "residual, 0.4",
    ]
    assert {one.prompt.tokens for one in found.experiments} == {10}  # what does not vary holds for the added one too


def test_the_same_experiment_twice_is_one(tmp_path):
    assert len(of_text(tmp_path, "[training]\nlearning_rate = [0.1, 0.2, 0.1]\n").experiments) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[training]\nlearning_rate = []\n", "training.learning_rate = []: name at least one value"),
        ("[training]\nlearning_rat = [0.1]\n", 'did you mean "learning_rate"?'),
        ("[training]\nlearning_rate = [0.1, -1]\n", "--learning-rate = -1"),
        ("[machine]\nthreads = [1, 2]\n", "machine.threads: where a run happens does not make it another run"),
        ('[sweep]\nverb = "prun"\n', "'prune', 'search' or 'tune'"),
        ("[[sweep.exclude]]\nprompt.tokens = 3\n", "entry 1 of sweep.exclude matches no experiment"),
        ("[prompt]\ntokens = [3]\n[[sweep.exclude]]\nprompt.tokens = 3\n", "no experiment is left"),
        ('[task]\nname = ["sst2", "subj"]\n', 'no model is named for task "sst2"'),
    ],
)
def test_what_is_wrong_with_a_grid_is_said_with_its_file(tmp_path, text, said):
    with pytest.raises(ConfigError) as error:
        of_text(tmp_path, text)
    assert str(tmp_path / "grid.toml") in str(error.value)
    assert said in str(error.value)


# ---- jobs


def test_what_shares_a_run_directory_is_one_job(tmp_path):
    text = "[training]\nlearning_rate = [0.1, 0.2]\n[pruning]\nrounds = [1, 2]\n"
    found = of_text(tmp_path, text)
    made = jobs.jobs(found, tmp_path, found.experiments)
    assert [[task.label for task in job.tasks] for job in made] == [["0.1, 1", "0.1, 2"], ["0.2, 1", "0.2, 2"]]


def test_jobs_of_one_model_go_out_together(tmp_path):
    text = '[training]\nlearning_rate = [0.1, 0.2]\n[model]\nname = ["a", "b"]\n[task]\nname = "sst2"\n'
    found = of_text(tmp_path, text)
    made = jobs.jobs(found, tmp_path, found.experiments)
    assert [job.tasks[0].experiment["model"]["name"] for job in made] == ["a", "a", "b", "b"]


def test_a_job_comes_back_from_its_text(tmp_path):
    found = of_text(tmp_path, "[training]\nlearning_rate = [0.1, 0.2]\n")
    for job in jobs.jobs(found, tmp_path, found.experiments):
        assert Job.from_text(job.to_text()) == job


def test_a_changed_file_asks_for_another_look(tmp_path):
    file = written(tmp_path, rounds="1")
    one = read(file)
    before = jobs.key(one.experiments[0], one)
    assert jobs.key(one.experiments[0], one) == before
    data = tmp_path / "toy" / "train.jsonl"
    data.write_text(data.read_text() + "\n")
    assert jobs.key(one.experiments[0], one) != before


def test_a_receipt_counts_as_long_as_its_rounds_are_there(tmp_path):
    (tmp_path / "r" / "seed=0" / "round=00").mkdir(parents=True)
    (tmp_path / "r" / "experiment.toml").write_text("")
    outcome = Outcome("abc", "label", "r", "", ("seed=0/round=00",))
    jobs.write_receipt(tmp_path, outcome)
    assert jobs.receipt(tmp_path, "abc") is None
    (tmp_path / "r" / "seed=0" / "round=00" / "MANIFEST.json").write_text("{}")
    assert jobs.receipt(tmp_path, "abc") == outcome
    (tmp_path / ".sweep" / "abc.json").write_text('{"key": "abc"')
    assert jobs.receipt(tmp_path, "abc") is None


def test_the_length_of_a_sweep_is_played_through():
    assert spread([3, 1, 1, 1], 2) == 3
    assert spread([1, 1, 1, 3], 2) == 4
    assert spread([1] * 8, 4, start=10) == 12
    assert spread([1] * 8, 8, handing=2) == 17
    assert spread([], 4) == 0


# ---- on the pool


def serial(found, out):
    """Every job in this process, one after the other: what all engines are measured against."""
    done = {}
    by_key = {jobs.key(one, found): one for one in found.experiments}
    here = Path.cwd()
    for job in jobs.jobs(found, out, found.experiments):
        for row in json.loads(perform(job.to_text())):
            done[by_key[row["key"]]] = Outcome.from_table(row)
    os.chdir(here)
    capacity.share_memory(1)
    return done


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of four experiments, by the command line on two workers."""
    folder = tmp_path_factory.mktemp("swept")
    file = written(folder, rounds="[0, 1]", methods='"direct"')
    command = [sys.executable, "-m", "prunekit", "sweep", str(file), f"--out={folder / 'runs'}", "--workers=2"]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
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
    assert "4 of 4: " in made.stderr
    assert f"written to {result(folder).parent}" in made.stdout
    page = (result(folder).parent / "report.html").read_text()
    assert "The sweep grid" in page
    assert "4 of 4 experiments are finished, in 2 run directories." in page


def test_its_table_is_that_of_one_process_byte_for_byte(swept, tmp_path):
    folder, file, _, _ = swept
    found = read(file, threads=1)
    done = serial(found, tmp_path)
    from prunekit.disk import as_parquet

    assert as_parquet(table.results(tmp_path, found, done)) == result(folder).read_bytes()
    for run in {one.run for one in done.values()}:
        assert tiny.contents(tmp_path / run) == tiny.contents(folder / "runs" / run)


def test_a_finished_sweep_is_not_run_again(swept):
    folder, _, command, _ = swept
    before = tiny.contents(folder / "runs")
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "4 experiments (prune), 4 finished before" in again.stderr
    assert "of 4: " not in again.stderr
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


def test_one_that_fails_is_named_and_the_others_are_done(tmp_path):
    more = "[[sweep.include]]\nprompt.pieces = 5\n"
    file = written(tmp_path, rounds="0", methods='"direct"', more=more)
    found = read(file, threads=1)
    ended = list(serial(found, tmp_path / "runs").values())
    assert sorted(bool(one.failed) for one in ended) == [False, False, True]
    assert "does not divide" in next(one.failed for one in ended if one.failed)


@pytest.mark.slow
def test_a_sweep_may_search_and_train_controls(tmp_path, capsys):
    more = '[sweep]\nverb = "search"\ncontrols = true\n'
    file = written(tmp_path, rounds="1", methods='"direct"', more=more)
    assert call("sweep", file, f"--out={tmp_path / 'runs'}", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["experiments"]) == 2
    assert all(0 < one["density"] <= 1 for one in facts["experiments"])
    arms = set(pd.read_parquet(facts["table"])["arm"])
    assert {"", "dense-continued", "random", "reversed", "token-only", "piece-only"} <= arms
    assert not any("grid" in arm for arm in arms)


def test_a_sweep_may_only_tune(tmp_path):
    found = read(written(tmp_path, rounds="1", methods='"direct"', more='[sweep]\nverb = "tune"\n'), threads=1)
    done = serial(found, tmp_path / "runs")
    rows = table.results(tmp_path / "runs", found, done)
    assert set(rows["stage"]) == {"", "untrained"}


def test_workers_are_as_many_as_cores_and_memory_allow(tmp_path, monkeypatch):
    from prunekit import sweeping

    found = read(written(tmp_path, rounds="0", methods='"direct"'), threads=1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(capacity, "free_bytes", lambda device: 5 * 2**30)

    def workers(left, **wish):
        return sweeping._resources(found, sweeping.Wish(tmp_path, **wish), left).workers

    assert workers(100) == 7  # 700 MB each, of 5 GB
    assert workers(3) == 3  # no more than there are experiments
    assert workers(100, workers=12) == 12
    assert workers(100, engine="slurm") == 16  # whose memory is its own affair


def test_workers_side_by_side_count_on_their_part_of_the_memory():
    import torch

    whole = capacity.free_bytes(torch.device("cpu"))
    capacity.share_memory(4)
    try:
        assert capacity.free_bytes(torch.device("cpu")) < whole / 2
    finally:
        capacity.share_memory(1)


def test_engines_that_are_none_are_refused(tmp_path, capsys):
    file = written(tmp_path)
    assert call("sweep", file, "--engine=rai") == 2
    assert 'did you mean "ray"?' in capsys.readouterr().err
    assert call("sweep", file, "--address=auto") == 2
    assert "--address is of --engine ray" in capsys.readouterr().err


def children(pid):
    """Processes that a process has started and that still are."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")  # any of its threads may have started some
    try:
        found = [int(one) for path in tasks for one in path.read_text().split()]
    except OSError:  # it ended just now
        return []
    return found + [below for one in found for below in children(one)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def lasting(pids):
    """Those that are still there after a while; a busy machine takes its time to end a process."""
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_the_sweep_and_its_own_processes_only(number, code, tmp_path):
    file = written(tmp_path, rounds="1", methods='"direct"')
    text = file.read_text().replace("[0.05, 0.1]", "[0.05, 0.1, 0.2]").replace("= 4\nevaluate", "= 200000\nevaluate")
    file.write_text(text.replace("evaluate_every = 2", "evaluate_every = 100000"))
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "prunekit", "sweep", str(file), f"--out={out}", "--workers=2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("*/experiment.toml"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    started = children(process.pid)
    assert len(started) >= 2
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert re.search(r"prunekit: \w+; finished rounds are kept", errors.splitlines()[-1])
    assert "Traceback" not in errors
    assert not lasting(started)
    assert alive(bystander.pid)
    bystander.kill()
    bystander.wait()


@pytest.mark.slow
def test_workers_end_when_who_started_them_is_killed(tmp_path):
    file = written(tmp_path, rounds="1", methods='"direct"')
    file.write_text(file.read_text().replace("= 4\nevaluate", "= 200000\nevaluate"))
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "prunekit", "sweep", str(file), f"--out={out}", "--workers=2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(out.glob("*/experiment.toml")):
        time.sleep(0.05)
    started = children(process.pid)
    process.kill()
    process.wait()
    assert not lasting(started)


# ---- what is not imported


def test_engines_are_imported_only_when_asked_for():
    code = "import sys, prunekit.cli, prunekit.sweep.engines; print({'ray', 'submitit', 'torch'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "set()"


def pulled(wanted, seen=frozenset()):
    """Everything that is installed for some requirements, by what the installed packages say of themselves."""
    found = set(seen)
    for one in map(Requirement, wanted):
        if one.name.lower() in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(one.name.lower())
        try:
            found |= pulled(requires(one.name) or [], found)
        except PackageNotFoundError:  # an optional one that is not here
            continue
    return found


def test_the_plain_package_pulls_no_engine():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    plain = pulled(project["dependencies"])
    assert {"torch", "typer"} < plain
    assert not plain & {"ray", "submitit", "bitsandbytes", "accelerate"}
    assert {Requirement(one).name for one in project["optional-dependencies"]["cluster"]} == {"ray", "submitit"}
