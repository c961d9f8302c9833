"""What importing costs: the command line answers before torch is loaded. (Who may import whom: pyproject.toml.)"""

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "pandas", "datasets", "sklearn", "matplotlib")


@pytest.mark.parametrize(
    "module",
    [
        "prunekit",
        "prunekit.cli.main",
        "prunekit.experiment.settings",
        "prunekit.tasks",
        "prunekit.support.errors",
    ],
)
def test_importing_it_is_light(module):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert printed.stdout.strip() == "[]"
