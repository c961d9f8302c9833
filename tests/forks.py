"""A process that has imported everything and forks runs of the command line: a run then starts in milliseconds.

One serves all workers of a suite, and the shell blocks of the documentation. `Forks` is the test's side; the other
side is this file as a program, one request and one answer per line.
"""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import pkgutil
import resource
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

from filelock import FileLock

#: Signal -> the code and the word that a command ends with.
ENDS = {signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted")}
FOLDER = "PRUNEKIT_FORKS"  # names the suite's folder for the socket and the command
COMMAND = """#!{python} -ISB
import json, os, socket, sys, tempfile
program = os.path.basename(sys.argv[0])
with socket.socket(socket.AF_UNIX) as line, tempfile.TemporaryDirectory() as out:
    line.connect({address!r})
    how = {{"program": program, "arguments": sys.argv[1:], "out": out + "/run"}}
    how |= {{"cwd": os.getcwd(), "environment": dict(os.environ)}}
    line.sendall(json.dumps(how).encode() + b"\\n")
    answer = json.loads(line.makefile().readline())
sys.stderr.write(answer["said"])
sys.stdout.write(answer["wrote"])
sys.exit(answer["code"])
"""


class Forks:
    """Runs the command line as often as asked, and ends it as asked.

    commands: a folder with a `prunekit` and a `python` that are run in this way too.
    """

    def __init__(self, commands: Path | None = None, **environment: str) -> None:
        """The suite's process; with a folder, one of its own, in an environment with these changes from its start."""
        self.commands = commands or Path(os.environ[FOLDER])
        address = self.commands / "socket"
        with FileLock(self.commands / "lock"):
            if not address.exists():
                begin(address, environment)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(address))
        self.line = self.socket.makefile("rw", encoding="utf-8")

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *ended: object) -> None:
        self.line.close()
        self.socket.close()

    def ask(self, **request) -> SimpleNamespace:
        """One request, one answer."""
        self.line.write(json.dumps(request) + "\n")
        self.line.flush()
        return SimpleNamespace(**json.loads(self.line.readline()))

    def run(self, arguments, out, **how) -> SimpleNamespace:
        """Run `prunekit` with arguments, writing below the folder `out`.

        how: after and signal: the signal that is sent after so many seconds.  point and number: where it kills itself,
        the n-th time.  refuse and errno: the number of the operation that fails, and with what.  points: a file for the
        names of all points.  limit: bytes that a file may have at most.  code: Python to run instead of `prunekit`.
        program: `python`, where the arguments are its own.  cwd and environment: those of the run.  keeping: a training
        is kept at each of its evaluations.
        Returns code (negative: the signal), said (standard error), wrote (standard output) and seconds.
        """
        return self.ask(arguments=[str(word) for word in arguments], out=str(out), **how)

    def start(self, arguments, out, **how) -> Started:
        """Begin a run and do not wait for it."""
        return Started(self, self.run(arguments, out, going=True, **how).process, Path(out))


class Started:
    """A run that goes on, with what `subprocess.Popen` offers of it."""

    def __init__(self, forks: Forks, pid: int, out: Path) -> None:
        self.forks, self.pid, self.out = forks, pid, out
        self.returncode = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.forks.ask(poll=self.pid).code
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.02)
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        self.wait(timeout)
        return said_and_wrote(self.out)[::-1]


def said_and_wrote(out: Path) -> tuple[str, str]:
    """Standard error and standard output of a run."""
    return out.with_suffix(".err").read_text(), out.with_suffix(".out").read_text()


def begin(address: Path, changes: dict[str, str]) -> None:
    """Start the process that serves at an address until the suite ends; it listens when this returns."""
    here = Path(__file__)
    places = [str(here.parents[1]), str(here.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": ":".join(filter(None, places)), "OMP_NUM_THREADS": "1"} | changes
    environment.pop("PYTEST_CURRENT_TEST", None)
    for program in ("prunekit", "python"):
        command = address.with_name(program)
        command.write_text(COMMAND.format(python=sys.executable, address=str(address)))
        command.chmod(0o755)
    subprocess.run([sys.executable, str(here), str(address)], env=environment, check=True)


def listen(address: str) -> None:
    """Serve whoever connects, each in a process of its own, as long as the address is there."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    if os.fork():
        os._exit(0)
    os.setsid()
    for number in (0, 1):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server.settimeout(1)
    while Path(address).exists():
        try:
            line, _ = server.accept()
        except TimeoutError:
            continue
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server.close()
            line.setblocking(True)
            serve(line)
            os._exit(0)
        line.close()


def serve(line: socket.socket) -> None:
    """Answer requests until there are no more."""
    for text in line.makefile(encoding="utf-8"):
        request = json.loads(text)
        reply = poll(request["poll"]) if "poll" in request else answer(request)
        line.sendall((json.dumps(reply) + "\n").encode())


def preload() -> None:
    """Import what a run needs, and leave it out of what the collector of a child looks at, and so copies."""
    gc.disable()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import datasets  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    from transformers.models.gpt2 import modeling_gpt2  # noqa: F401

    import prunekit.cli
    from prunekit.experiment import prepare, run  # noqa: F401
    from prunekit.experiment.sweep import worker  # noqa: F401

    for module in pkgutil.iter_modules(prunekit.cli.__path__):
        importlib.import_module(f"prunekit.cli.{module.name}")
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    gc.enable()


def poll(child: int) -> dict:
    """The exit code of a run that was begun, None while it goes on."""
    ended, status = os.waitpid(child, os.WNOHANG)
    return {"code": os.waitstatus_to_exitcode(status) if ended else None}


def answer(request: dict) -> dict:
    """One run: its exit code, what it said and how long it took; of one that goes on, its process."""
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    for suffix in (".err", ".out"):  # who is killed at once has opened neither
        out.with_suffix(suffix).write_text("")
    began = time.perf_counter()
    child = os.fork()
    if not child:
        run(request, out)
    if "going" in request:
        return {"process": child}
    if "after" in request:
        time.sleep(request["after"])
        os.kill(child, request["signal"])  # it may have ended, but nobody has waited for it yet
    _, status = os.waitpid(child, 0)
    said, wrote = said_and_wrote(out)
    seconds = time.perf_counter() - began
    return {"code": os.waitstatus_to_exitcode(status), "said": said, "wrote": wrote, "seconds": seconds}


def run(request: dict, out: Path) -> None:
    """The child's part; does not return."""
    code = 70
    try:
        for number, suffix in ((0, None), (1, ".out"), (2, ".err")):
            path = out.with_suffix(suffix) if suffix else os.devnull
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), number)
        os.environ.update(request.get("environment", {}))
        os.chdir(request.get("cwd", "."))
        watch_disk(request, out)
        if request.get("keeping"):
            keep_every_evaluation()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        fork_workers()
        if "code" in request:
            sys.argv = ["-c", *request["arguments"]]
            exec(request["code"], {"__name__": "__main__"})
            code = 0
        elif request.get("program") == "python":
            python(request["arguments"])
            code = 0
        else:
            from prunekit.cli import main

            main.main(request["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def python(words: list[str]) -> None:
    """What `python` does with words in its folder, which may hold another prunekit: that is imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "prunekit"]:
        del sys.modules[name]
    sys.path.insert(0, str(Path.cwd()))
    match words:
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            exec(code, {"__name__": "__main__"})
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [script, *rest]:
            sys.argv = [script, *rest]
            runpy.run_path(script, run_name="__main__")


def watch_disk(request: dict, out: Path) -> None:
    """Let operations on the disk be refused, listed, or the last that the process does, as asked."""
    import faults

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


def keep_every_evaluation() -> None:
    """A training is kept at each of its evaluations, and not once a minute."""
    from prunekit.experiment import training_in_progress

    training_in_progress._EVERY = training_in_progress._TIMES = 0.0


def fork_workers() -> None:
    """A sweep's workers are forked too, and begin as new processes do: with no handler of who started them."""
    real = multiprocessing.get_context
    multiprocessing.get_context = lambda name=None: real("fork" if name == "spawn" else name)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


if __name__ == "__main__":
    listen(sys.argv[1])
