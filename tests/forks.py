"""A process that has imported everything and forks runs of the command line: a run then starts in milliseconds.

`Forks` is the test's side; the other side is this file as a program, one request and one answer per line.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace


class Forks:
    """Runs the command line as often as asked, and ends it as asked."""

    def __init__(self) -> None:
        here = Path(__file__)
        places = [str(here.parents[1]), str(here.parent), os.environ.get("PYTHONPATH", "")]
        own = os.environ | {"PYTHONPATH": ":".join(filter(None, places)), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(here)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *ended: object) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def run(self, arguments, out, **how) -> SimpleNamespace:
        """Run `prunekit` with arguments, writing below the folder `out`.

        how: after and signal: the signal that is sent after so many seconds.  point and number: where it kills itself,
        the n-th time.  refuse and errno: the number of the operation that fails, and with what.  points: a file for the
        names of all points.  limit: bytes that a file may have at most.
        Returns code (negative: the signal), said (standard error), wrote (standard output) and seconds.
        """
        request = {"arguments": [str(one) for one in arguments], "out": str(out), **how}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return SimpleNamespace(**json.loads(self.process.stdout.readline()))


def serve() -> None:
    """Answer requests until there are no more."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever else prints must not come between
    preload()
    for line in sys.stdin:
        request = json.loads(line)
        os.write(answers, (json.dumps(answer(request)) + "\n").encode())


def preload() -> None:
    """Import what a run needs."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    from transformers.models.gpt2 import modeling_gpt2  # noqa: F401

    torch.set_num_threads(1)


def answer(request: dict) -> dict:
    """One run: its exit code, what it said and how long it took."""
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    said, wrote = out.with_suffix(".err"), out.with_suffix(".out")
    for path in (said, wrote):  # who is killed at once has opened neither
        path.write_text("")
    began = time.perf_counter()
    child = os.fork()
    if not child:
        run(request, out, said, wrote)
    if "after" in request:
        time.sleep(request["after"])
        os.kill(child, request["signal"])  # it may have ended, but nobody has waited for it yet
    _, status = os.waitpid(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "said": said.read_text(),
        "wrote": wrote.read_text(),
        "seconds": time.perf_counter() - began,
    }


def run(request: dict, out: Path, said: Path, wrote: Path) -> None:
    """The child's part; does not return."""
    import faults

    from prunekit.cli import main

    code = 70
    try:
        for number, path in ((1, wrote), (2, said)):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(handle, number)
        if "limit" in request:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
        if "point" in request:
            faults.install(faults.Ending(out, request["point"], request["number"]))
        elif "refuse" in request:
            faults.install(faults.Failing(out, request["refuse"], request["errno"]))
        elif "points" in request:
            faults.install(faults.Listing(out, Path(request["points"])))
        else:
            os.fsync = lambda handle: None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main.main(request["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
