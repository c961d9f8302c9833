"""Settings of the whole suite: offline, one thread, no display; nobody connects anywhere."""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports transformers
os.environ["MPLBACKEND"] = "Agg"

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"

#: (test, address) of every attempt to connect to, or look up, another machine.
connections = []
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")


def _watch(event, facts):
    if event in _NETWORK:
        address = facts[1] if event in ("socket.connect", "socket.sendto") else facts[0]
        host = address[0] if isinstance(address, tuple) else address
        # a path is a socket of this machine's own, and workers of the suite and browsers talk on its loopback
        if not (isinstance(address, str | bytes) and event == "socket.connect") and host not in LOOPBACK:
            connections.append((os.environ.get("PYTEST_CURRENT_TEST"), address))


LOOPBACK = ("127.0.0.1", "::1", "localhost", b"localhost", None)
sys.addaudithook(_watch)


def pytest_sessionstart():
    torch.set_num_threads(1)  # the same sums on every machine, and quicker for tiny tensors


@pytest.fixture(autouse=True)
def nobody_connects():
    """No test may try to reach another machine."""
    before = len(connections)
    yield
    assert connections[before:] == []


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
def no_flushing(monkeypatch):
    """Nobody pulls the plug here, and waiting for the disk would take longer than everything else."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
