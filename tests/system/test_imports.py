"""What importing costs: the command line answers before torch is loaded. (Who may import whom: pyproject.toml.)"""

import pkgutil
import subprocess
import sys

import pytest
from roots import ROOT

from prunekit import analysis

HEAVY = ("torch", "transformers", "pandas", "numpy", "datasets", "sklearn", "matplotlib", "ray", "submitit")
LIGHT = [
    "import prunekit; dir(prunekit)",
    "import prunekit.support.errors",
    "import prunekit.experiment.settings",
    "from prunekit.tasks import list_tasks; list_tasks()",
    "import prunekit.experiment.sweep.engines",
    "import prunekit.tasks.testbed.grammar",
    *(
        f"from prunekit.cli import main\ntry: main.main({words!r})\nexcept SystemExit: pass"
        for words in (["runs", "--help"], ["runs", "list"], ["methods"], ["tasks"])
    ),
]
# the help of all verbs, and of those that train, is shown before settings and their checks are loaded
AT_ONCE = [
    (f"import prunekit.cli.main as main\ntry: main.main({words!r})\nexcept SystemExit: pass", ("pydantic",))
    for words in (["--help"], ["prune", "--help"])
]
TRACKING = "import prunekit.experiment.tracking"
TRACKERS = ("tensorboard", "wandb", "torch.utils.tensorboard")
FORGETTING = """
import sys
for name in list(sys.modules):
    if name.partition(".")[0] in ("transformers", "peft", "tensorboard", "wandb"):
        del sys.modules[name]
"""
pytestmark = pytest.mark.gate


def one_by_one(steps):
    """Python that takes one step behind the other, until one has loaded what it may not load."""
    code = f"import sys\nfor step, names in {steps!r}:\n    exec(step, {{}})\n"
    return code + "    if loaded := set(names) & set(sys.modules): sys.exit(f'{step}: {loaded}')"


def test_what_is_light_loads_nothing_heavy():
    """In a fresh process, the reading of runs among it."""
    code = one_by_one(AT_ONCE + [(step, HEAVY) for step in LIGHT])
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""


def test_no_analysis_loads_transformers_and_tracking_no_tracker(forks, tmp_path):
    """In a process that has forgotten these, and prunekit; studies run models."""
    names = [module.name for module in pkgutil.walk_packages(analysis.__path__, "prunekit.analysis.")]
    for loading in ("model_access", "measure", "measure_groups"):  # which are there to load models
        names.remove(f"prunekit.analysis.{loading}")
    assert {"prunekit.analysis.spectra", "prunekit.analysis.tables.prompts", "prunekit.analysis.halving"} <= set(names)
    code = FORGETTING + one_by_one([*((f"import {name}", ("transformers",)) for name in names), (TRACKING, TRACKERS)])
    ended = forks.run(["-c", code], tmp_path / "process", program="python", cwd=str(ROOT))
    assert (ended.code, ended.said) == (0, "")
