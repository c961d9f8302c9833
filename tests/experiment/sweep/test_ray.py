"""A sweep on two Ray nodes of one machine: the same table as in one process, whatever is killed on the way."""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import sweeps

from prunekit.experiment.sweep import jobs, table
from prunekit.experiment.sweep.engines import Resources, outcomes
from prunekit.support.atomic import as_parquet

ray = pytest.importorskip("ray", reason="Ray is an extra (prunekit[cluster]) and not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# 3 tasks x 4 methods x 2 rates: 24 runs of the embedded model
GRID = """
seeds = 2
[task]
name = ["testbed/first-animal", "testbed/alike-mood", "testbed/alike-kind"]
train_examples = 16
validation_examples = 16
test_examples = 32
[prompt]
method = ["direct", "dpt", "residual", "structured"]
[training]
train_steps = {steps}
evaluate_every = 20
learning_rate = [0.1, 0.3]
[pruning]
rounds = 1
"""


@pytest.fixture(scope="module", autouse=True)
def unasked(tmp_path_factory):
    """A head node asks which cloud it is in, and tells its makers even that it tells them nothing, unless it finds a
    cluster's file in its home and is given another address."""
    home = tmp_path_factory.mktemp("home")
    (home / "ray_bootstrap_config.yaml").write_text("provider: {type: local}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("RAY_USAGE_STATS_REPORT_URL", "http://127.0.0.1:9/")
        yield


class Nodes:
    """Two Ray nodes on this machine, one core and one resource of its own each, each a process group of its own."""

    def __init__(self, folder):
        self.environment = dict(os.environ) | {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        # who may hand jobs to the nodes may run anything on them: only who knows this cluster's own token may
        self.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.folder, self.started = folder, []
        self.port = random.Random().randrange(20000, 30000)
        self.head = self._start("head", "--head", f"--port={self.port}", "--include-dashboard=false")
        self.address = f"127.0.0.1:{self.port}"
        self._wait()
        self.worker = self.start_worker()

    def start_worker(self):
        return self._start("worker", f"--address={self.address}")

    def _start(self, name, *more):
        ray = str(Path(sys.executable).parent / "ray")
        command = [ray, "start", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1"]
        command += ["--object-store-memory=100000000", f'--resources={{"{name}": 1}}', *more]
        with (self.folder / f"{name}-{len(self.started)}.log").open("w") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.started.append(process)
        return process

    def _wait(self):
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in (self.folder / "head-0.log").read_text() and time.monotonic() < deadline:
            time.sleep(0.2)

    def processes(self):
        """All that the nodes are made of; nothing else is ever killed here."""
        return {pid for node in self.started for pid in sweeps.children(node.pid)}

    def kill(self, process):
        """One node gone at once, with all that it runs."""
        for pid in [process.pid, *sweeps.children(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def stop(self):
        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.kill(process)


@pytest.fixture
def nodes(tmp_path):
    made = Nodes(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The grid, and what one process makes of it."""
    folder = tmp_path_factory.mktemp("serial")
    file = folder / "grid.toml"
    file.write_text(GRID.format(steps=int(os.environ.get("PRUNEKIT_TEST_STEPS", "20"))))
    found = sweeps.read(file, threads=1)
    began = time.perf_counter()
    done = sweeps.serial(found, folder)
    seconds = time.perf_counter() - began
    return file, found, as_parquet(table.results(folder, found, done)), done, seconds


def sweep(asked, nodes, out):
    """The command line on the two nodes, while it runs; it speaks into a file, since a full pipe would halt it."""
    command = [sys.executable, "-m", "prunekit", "sweep", str(asked[0]), "--engine=ray", f"--address={nodes.address}"]
    command += [f"--out={out}", "--threads=1"]
    with said_of(out).open("w") as said:
        return subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=nodes.environment)


def said_of(out):
    return out.with_name("said.txt")


def result(out):
    (path,) = out.glob("sweep-grid-*/results.parquet")
    return path.read_bytes()


def workers_of(out):
    """Receipts by the node (Ray's id) that made them."""
    receipts = [json.loads(path.read_bytes()) for path in (out / ".sweep").glob("*.json")]
    return pd.Series([one["worker"].split()[-1] for one in receipts]), receipts


def test_two_nodes_come_to_the_table_of_one_process(asked, nodes, tmp_path, capsys):
    _, _, expected, _, alone = asked
    out = tmp_path / "runs"
    began = time.perf_counter()
    process = sweep(asked, nodes, out)
    process.wait(timeout=1800)
    spent = time.perf_counter() - began
    assert process.returncode == 0, said_of(out).read_text()
    assert result(out) == expected
    by_node, receipts = workers_of(out)
    assert len(receipts) == 24
    shares = by_node.value_counts()
    assert len(shares) == 2
    assert shares.min() >= 6
    with capsys.disabled():
        print(f"\n24 runs: one process {alone:.1f} s, two nodes {spent:.1f} s ({alone / spent:.2f} times as fast)")
        print(f"runs by node: {shares.tolist()}")


def commits(out):
    """Every finished round: where, and which file it is."""
    found = {}
    for path in out.glob("*/**/MANIFEST.json"):
        if ".prunekit-staging-" not in str(path):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found[str(path.relative_to(out))] = (stat.st_ino, stat.st_mtime_ns)
    return found


def test_kills_of_workers_and_of_a_node_lose_nothing_and_repeat_nothing(asked, nodes, tmp_path, capsys):
    file, _, expected, done, _ = asked
    patient = tmp_path / "grid.toml"
    wanted = int(os.environ.get("PRUNEKIT_TEST_KILLS", "50"))
    patient.write_text(file.read_text().replace("[task]", "[sweep]\nretries = 1000\n[task]", 1))
    out, chance = tmp_path / "runs", random.Random("kills")
    process = sweep((patient, *asked[1:]), nodes, out)
    killed, node_killed, seen, rewritten = 0, False, {}, []
    pause = time.monotonic() + 5
    while process.poll() is None:
        now = commits(out)
        rewritten += [place for place, file_of_it in seen.items() if now.get(place) != file_of_it]
        seen |= now
        at_work = sweeps.holders(out)
        at_work = [pid for pid in at_work if pid in nodes.processes()]
        if killed < wanted and at_work and time.monotonic() > pause:
            with suppress(ProcessLookupError):  # it came to its own end just now
                os.kill(chance.choice(at_work), signal.SIGKILL)
                killed += 1
            pause = time.monotonic() + chance.uniform(0.5, 3.0)
        if killed >= wanted // 2 and not node_killed:
            nodes.kill(nodes.worker)
            nodes.worker = nodes.start_worker()
            node_killed = True
        time.sleep(0.05)
    assert process.returncode == 0, said_of(out).read_text()
    assert killed == wanted, f"the sweep ended after {killed} kills; make its runs longer"
    assert node_killed
    assert result(out) == expected
    assert not rewritten  # no finished round was ever written a second time
    _, receipts = workers_of(out)
    assert len(receipts) == len(done)
    alone = sum(one.trained for one in done.values())
    with capsys.disabled():
        print(f"\n{killed} workers and a node killed; {len(seen)} rounds of {alone} trainings, none written twice")


def test_ray_of_this_machine_is_started_and_ended_with_the_sweep(tmp_path):
    found = sweeps.read(sweeps.written(tmp_path, rounds="0", methods='"direct"'), threads=1)
    work = jobs.jobs(found, tmp_path / "runs", found.experiments)
    ended = [one for some in outcomes("ray", work, Resources(2), tmp_path) for one in some]
    assert [one.failed for one in ended] == ["", ""]
    assert not ray.is_initialized()


def test_an_address_where_no_ray_is_is_refused(tmp_path):
    file = sweeps.written(tmp_path, rounds="0", methods='"direct"')
    command = [sys.executable, "-m", "prunekit", "sweep", str(file), "--engine=ray", "--address=127.0.0.1:1"]
    made = subprocess.run([*command, f"--out={tmp_path / 'runs'}"], capture_output=True, text=True)
    assert made.returncode == 2
    assert "--engine ray --address 127.0.0.1:1: cannot be reached" in made.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_sweep_on_ray_and_what_it_started(number, code, tmp_path):
    file = sweeps.written(tmp_path, rounds="1", methods='"direct"')
    file.write_text(file.read_text().replace("= 4\nevaluate", "= 200000\nevaluate"))
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "prunekit", "sweep", str(file), "--engine=ray", f"--out={out}", "--workers=2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(out.glob("*/experiment.toml")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    started = sweeps.children(process.pid)
    process.send_signal(number)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == code
    assert "finished rounds are kept" in errors.splitlines()[-1]
    deadline = time.monotonic() + 30
    while any(sweeps.alive(pid) for pid in started) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not [pid for pid in started if sweeps.alive(pid)]
