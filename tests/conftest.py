"""Settings of the whole suite: offline, one thread, no display."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports transformers
os.environ["MPLBACKEND"] = "Agg"

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"


def pytest_sessionstart():
    torch.set_num_threads(1)  # the same sums on every machine, and quicker for tiny tensors


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED.name}/ folder beside the checkout: real models and data are absent")
    return SHARED
