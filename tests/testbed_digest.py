"""Tests that make a testbed anew run at night, and in the gate where a file that it is made of has changed.

`python tests/testbed_digest.py`, once they have passed, keeps the digests of the files as they are.
"""

import hashlib
from pathlib import Path

import pytest
from roots import ROOT

#: Testbed -> the folders that it is made of; the second is made by parts of what makes the first.
TESTBEDS = {
    "testbed": ("prunekit/tasks/testbed", "benchmarks/testbed"),
    "testbed_open": ("prunekit/tasks/testbed_open", "benchmarks/testbed_open", "benchmarks/testbed"),
}


def kept(testbed: str) -> Path:
    """The file that holds a testbed's digest."""
    return Path(__file__).with_name(f"{testbed}.sha256")


def digest(testbed: str) -> str:
    """Of every file that a testbed is made of, and their names."""
    total = hashlib.sha256()
    for folder in TESTBEDS[testbed]:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file of a folder, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def rebuilds_of(testbed: str) -> pytest.MarkDecorator:
    """The mark of its tests that make it anew."""
    return pytest.mark.slow if kept(testbed).read_text().strip() == digest(testbed) else pytest.mark.gate


rebuilds = rebuilds_of("testbed")
rebuilds_open = rebuilds_of("testbed_open")

if __name__ == "__main__":
    for testbed in TESTBEDS:
        kept(testbed).write_text(digest(testbed) + "\n")
