"""Settings of the whole suite: offline, one thread, no display; nobody connects anywhere."""

import gc
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    gc.disable()  # until all is imported and collected: hardly any of it goes away again
os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports transformers
os.environ["MPLBACKEND"] = "Agg"
os.environ["PRUNEKIT_CACHE"] = ""  # what was made before must not hide what is made now

import pytest
from forks import FOLDER, Forks
from guard import sitecustomize as guard
from hypothesis import settings

settings.register_profile("gate", max_examples=30)
settings.load_profile(os.environ.get("PRUNEKIT_EXAMPLES", "gate"))  # `default` at night, which tries more

SHARED = Path(__file__).parents[2] / "shared"

#: (test, address) of every attempt to connect to, or look up, another machine.
connections = guard.attempts
guard.watch()


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # the suite's workers, and what tests start, inherit both
        handle, os.environ[guard.LOG] = tempfile.mkstemp(prefix="prunekit-connections-")
        os.close(handle)
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="prunekit-forks-")
        paths = (str(Path(guard.__file__).parent), os.environ.get("PYTHONPATH"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def pytest_collection_finish():
    gc.collect()
    gc.freeze()  # what is loaded by now stays, and need not be looked through again and again
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def plain_machine():
    """Imported here, since the process that only hands out tests needs no torch."""
    import torch

    torch.set_num_threads(1)  # the same sums on every machine, and quicker for tiny tensors
    os.fsync = lambda handle: None  # nobody pulls the plug here, and waiting for the disk takes long


@pytest.fixture(autouse=True)
def nobody_connects():
    """No test may try to reach another machine."""
    before = len(connections)
    yield
    assert connections[before:] == []


def pytest_sessionfinish(session):
    """Nor may anything between the tests, nor any process that they start."""
    for test, address in connections:
        guard.write(f"{test}: {address!r}")
    if not hasattr(session.config, "workerinput") and set(guard.lines()) - {"process"}:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    found = guard.lines()
    tried = [line for line in found if line != "process"]
    count = len(found) - len(tried)
    terminalreporter.write_line(f"{len(tried)} attempts to reach another machine, by the suite and {count} processes")
    for line in tried:
        terminalreporter.write_line(line)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        Path(os.environ.pop(guard.LOG)).unlink()
        shutil.rmtree(os.environ.pop(FOLDER))  # which ends the process there


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED.name}/ folder beside the checkout: real models and data are absent")
    return SHARED


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where a file's tests share a tiny model and its data."""
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture
def dense_wins(monkeypatch):
    """As if dense prompts beat their base lines, which those of tiny runs of a few updates do not."""
    from prunekit.runs.baselines import BaseLines

    monkeypatch.setattr(BaseLines, "nothing_to_prune", None)


@pytest.fixture(scope="module")
def few():
    """Three figures instead of all, where a test looks at none of them."""
    from prunekit.plots import catalog, controls, density_curve, functional_rank

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "FIGURES", (density_curve.FIGURE, controls.FIGURE, functional_rank.FIGURE))
        yield


@pytest.fixture
def opened_files(monkeypatch):
    """How often each file is opened by the one reader of files."""
    from prunekit.support import reading

    counts, really_open = Counter(), reading._open
    monkeypatch.setattr(reading, "_open", lambda path, root: counts.update([path]) or really_open(path, root))
    return counts


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A browser's window."""
    import chromium

    with chromium.opened(tmp_path_factory.mktemp("chromium")) as window:
        yield window


@pytest.fixture(scope="session")
def forks():
    """A process that starts runs of the command line in milliseconds."""
    with Forks() as server:
        yield server


@pytest.fixture
def one_thread():
    """A tiny model gains nothing from a second thread, and pretraining a testbed sets both of these globally."""
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])
