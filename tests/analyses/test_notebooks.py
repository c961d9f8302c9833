"""Both notebooks, executed: on the small runs beside them, and on a run of another model and method."""

import json
import os
import subprocess
import sys

import pytest
from roots import ROOT

pytestmark = pytest.mark.slow
FOLDER = ROOT / "analyses" / "notebooks"
NAMES = ("rank_study", "importance_study")


@pytest.fixture(autouse=True)
def tools():
    for name in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[notebooks]'")


def executed(name, folder, **environment):
    """What the cells of a notebook printed and showed, as text, and the seconds of processor that it took.

    Each notebook gets a kernel of its own. Seconds of a clock would tell how busy the machine is.
    """
    code = (
        "import resource, sys, jupytext, nbclient\n"
        "book = jupytext.read(sys.argv[1])\n"
        "nbclient.NotebookClient(book, timeout=300, kernel_name='python3').execute()\n"
        "jupytext.write(book, sys.argv[2])\n"
        "spent = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(spent.ru_utime + spent.ru_stime)\n"
    )
    out = folder / f"{name}.ipynb"
    env = os.environ | {"OMP_NUM_THREADS": "1", "IPYTHONDIR": str(folder / "ipython")} | environment
    done = subprocess.run(
        [sys.executable, "-c", code, str(FOLDER / f"{name}.py"), str(out)],
        env=env, capture_output=True, text=True, timeout=500, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads(out.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return ["".join(text) for text in texts], float(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_within_a_minute_and_ends_in_a_conclusion(name, tmp_path):
    texts, seconds = executed(name, tmp_path)
    assert 1 < seconds < 60
    end = texts[-1]
    assert any(word in end for word in ("YES", "NO", "NOT SHOWN"))
    assert "NOT MEASURED" not in end  # the small run has all that they ask for


@pytest.mark.parametrize("name", NAMES)
def test_its_source_says_what_it_pairs_with_and_concludes_nothing_by_hand(name):
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert "formats: ipynb,py:percent" in source
    last = source[source.index("## What can be concluded") :]
    assert "conclusions.py" not in last
    assert f"{name.split('_')[0]}_conclusions.{name}(" in last


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_any_run(name, tmp_path):
    """One seed, another parameterisation, nothing pruned, scored or shuffled: what is missing is said, not made up."""
    import tiny

    from prunekit.experiment import run
    from prunekit.experiment.prepare import prepare

    made = run.run(
        prepare(tiny.experiment("gpt2", tmp_path, method="dpt", rank=2)), tmp_path / "out", tiny.Quiet(), prune=False
    )
    texts, _ = executed(name, tmp_path, PRUNEKIT_RUN=str(made.path))
    assert any("not measured" in text or "NOT MEASURED" in text for text in texts)
    if name == "rank_study":  # factors of rank 2 are of low rank before anything is learned, and it says so
        assert any("The start is of as low a rank, or nearly" in text for text in texts)
