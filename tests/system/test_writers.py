"""Two writers on one run: the second stops at once and is told who holds it; a dead one holds nothing."""

import os
import signal
import socket
import time

import pytest
import tiny

from prunekit.runs.run import Run
from prunekit.support.errors import ConfigError

pytestmark = pytest.mark.gate

HOLDER = """
import pathlib, sys, time
from prunekit.runs.run import Run
with Run(pathlib.Path(sys.argv[1])).locked():
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(600)
"""


@pytest.fixture
def held(forks, tmp_path):
    """A run that another process holds, and that process."""
    run = Run(tmp_path / "r")
    run.path.mkdir()
    run.write_settings({"id": "abcd1234"})
    process = forks.start([run.path, tmp_path / "is held"], tmp_path / "holder", code=HOLDER)
    while not (tmp_path / "is held").exists():
        assert process.poll() is None
        time.sleep(0.01)
    yield run, process
    process.kill()
    process.wait()


def test_the_second_writer_stops_at_once_and_names_process_and_host(held, capsys):
    run, process = held
    began = time.perf_counter()
    with pytest.raises(ConfigError) as caught, run.locked():
        raise AssertionError
    seconds = time.perf_counter() - began
    wanted = f"in use by process {process.pid} on {socket.gethostname()}; wait for it, or use another --out"
    assert str(caught.value) == f"{run.path}: {wanted}"
    assert seconds < 1
    with capsys.disabled():
        print(f"\nthe second writer was told after {1000 * seconds:.0f} ms: {wanted}")


def test_what_is_refused_touches_nothing(held):
    run, _ = held
    left = run.path / ".prunekit-staging-mine"
    left.write_text("the holder is at work on it")
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(ConfigError), run.locked():
        pass
    assert {path: path.read_bytes() for path in run.path.iterdir()} == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_dead_holder_holds_nothing(held, number):
    run, process = held
    process.send_signal(number)
    process.wait()
    with run.locked():
        assert (run.path / ".holder").read_text() == f"process {os.getpid()} on {socket.gethostname()}"
    assert not (run.path / ".holder").exists()


def test_a_stopped_holder_still_holds(held):
    run, process = held
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(ConfigError, match=f"process {process.pid}"), run.locked():
        pass
    process.send_signal(signal.SIGCONT)


def test_what_a_dead_holder_left_half_written_is_no_name(held):
    """Its own name is on disk still, but nobody is stopped by it."""
    run, process = held
    process.kill()
    process.wait()
    assert f"process {process.pid}" in (run.path / ".holder").read_text()
    with run.locked():
        pass


def test_readers_are_not_stopped(held):
    run, _ = held
    assert run.verify() == 0
    assert run.settings()["id"] == "abcd1234"


def test_a_second_command_on_a_live_run_ends_with_code_2_and_one_line(forks, tmp_path, capsys):
    arguments = ["prune", *tiny.arguments("gpt2", tmp_path), f"--out={tmp_path / 'runs'}"]
    long = [*arguments, "--train-steps=100000", "--evaluate-every=50000"]
    first = forks.start(long, tmp_path / "first")
    try:
        while not list(tmp_path.glob("runs/*/experiment.toml")):
            assert first.poll() is None
            time.sleep(0.05)
        assert tiny.call(*long) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prunekit: ")]
        assert f"in use by process {first.pid} on {socket.gethostname()}" in line
        assert tiny.call(*arguments) == 0  # another experiment in the same folder is another run
    finally:
        first.send_signal(signal.SIGTERM)
    assert first.wait() == 143
