"""A run killed at any moment and started again ends in the same bytes as one never killed."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import tiny

# a round is long enough that a kill within 0.3 s of its first news always finds it at work
STEPS = dict(train_steps=240, evaluate_every=40, patience=99, rounds=3, seeds=2, keep_tokens=1)


def command(folder, out):
    return [sys.executable, "-m", "prunekit", "prune", *tiny.arguments("gpt2", folder, **STEPS), f"--out={out}"]


def watched(folder, out):
    """A started run, its log lines readable while it goes."""
    return subprocess.Popen(command(folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def killed_in(folder, out, number: int, delay: float) -> str:
    """Start the run and kill it `delay` seconds after its first news of round `number`; where it was killed."""
    process = watched(folder, out)
    seen = ""
    for line in process.stderr:
        seen = line.strip()
        if line.startswith(f"round {number}: ") and "updates" in line:
            time.sleep(delay)
            break
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    return seen


def kills(count):
    chance = random.Random("crash")
    return [(place % 4, chance.uniform(0, 0.3)) for place in range(count)]


def check(tmp_path, count, capsys):
    tiny.arguments("gpt2", tmp_path)  # makes model and data once
    subprocess.run(command(tmp_path, tmp_path / "whole"), check=True, capture_output=True, env=dict(os.environ))
    whole = tiny.contents(next((tmp_path / "whole").iterdir()))
    stages = []
    for place, (number, delay) in enumerate(kills(count)):
        out = tmp_path / f"killed-{place}"
        stages.append(killed_in(tmp_path, out, number, delay))
        subprocess.run(command(tmp_path, out), check=True, capture_output=True, env=dict(os.environ))
        assert tiny.contents(next(out.iterdir())) == whole, stages[-1]
    with capsys.disabled():
        print(f"\n{count} of {count} killed runs ended in the same bytes; the last line before each kill:")
        print("\n".join(stages))


def test_killed_runs_end_in_the_same_bytes(tmp_path, capsys):
    check(tmp_path, 2, capsys)


@pytest.mark.slow
def test_twenty_killed_runs_end_in_the_same_bytes(tmp_path, capsys):
    check(tmp_path, 20, capsys)
