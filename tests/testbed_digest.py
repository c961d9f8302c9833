"""Tests that make the testbed anew run at night, and in the gate where a file that the testbed is made of has changed.

`python tests/testbed_digest.py`, once they have passed, keeps the digest of the files as they are.
"""

import hashlib
from pathlib import Path

import pytest
from roots import ROOT

KEPT = Path(__file__).with_name("testbed.sha256")


def digest() -> str:
    """Of every file that the testbed is made of, and their names."""
    total = hashlib.sha256()
    for folder in ("prunekit/tasks/testbed", "benchmarks/testbed"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return total.hexdigest()


rebuilds = pytest.mark.slow if KEPT.read_text().strip() == digest() else pytest.mark.gate

if __name__ == "__main__":
    KEPT.write_text(digest() + "\n")
