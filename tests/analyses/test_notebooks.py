"""The committed notebooks: cells of their sources, and what these gave; at night all of it again, and other runs."""

import json
import os
import re
import subprocess
import sys

import docs_blocks
import pytest
from roots import ROOT

from analyses.notebooks import __main__ as maker

STUDIES = ("rank_study", "importance_study")
_DRAWS = re.compile(r"^(?:axes = run[.]plot|display[(]SVG|show[(])", re.MULTILINE)
_BODY = re.compile(r"<tbody>.*?</tbody>", re.DOTALL)
_EXECUTED = """
import resource, sys
from pathlib import Path
import nbformat
from analyses.notebooks.__main__ import executed
nbformat.write(executed(Path(sys.argv[1])), sys.argv[2])
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print(spent.ru_utime + spent.ru_stime)
"""


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def outputs(path):
    return [output for cell in cells(path) for output in cell.get("outputs", [])]


def texts(path):
    """What the cells printed and showed as tables, without pictures."""
    forms = [
        output.get("text") or output["data"].get("text/html") or output["data"].get("text/plain", "")
        for output in outputs(path)
    ]
    return ["".join(form) for form in forms]


@pytest.fixture(params=maker.NAMES)
def committed(request):
    return maker.FOLDER / f"{request.param}.ipynb"


def test_every_notebook_is_committed_and_has_a_source():
    assert sorted(maker.NAMES) == sorted(path.stem for path in maker.FOLDER.glob("*.ipynb"))


def test_it_has_the_cells_of_its_source_in_their_order(committed):
    jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed: pip install '.[notebooks]'")
    source = jupytext.read(committed.with_suffix(".py"))
    assert source.metadata["jupytext"]["formats"] == "ipynb,py:percent"
    pairs = [(cell["cell_type"], "".join(cell["source"])) for cell in cells(committed)]
    assert pairs == [(cell.cell_type, cell.source) for cell in source.cells]


def test_its_cells_were_executed_once_in_order_and_none_failed(committed):
    numbers = [cell["execution_count"] for cell in cells(committed) if cell["cell_type"] == "code"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {output["output_type"] for output in outputs(committed)} <= {"stream", "display_data", "execute_result"}


def test_it_is_small_shows_pictures_and_tables_of_at_most_ten_rows(committed):
    assert committed.stat().st_size < 150_000
    kinds = {kind for output in outputs(committed) for kind in output.get("data", {})}
    assert kinds & {"image/png", "image/svg+xml"}
    bodies = [body for text in texts(committed) for body in _BODY.findall(text)]
    assert bodies
    assert max(body.count("<tr") for body in bodies) <= 10


def test_each_cell_that_draws_has_its_pictures(committed):
    for cell in cells(committed):
        draws = _DRAWS.findall("".join(cell["source"])) if cell["cell_type"] == "code" else []
        pictures = [kind for output in cell.get("outputs", []) for kind in output.get("data", {}) if "image" in kind]
        assert len(pictures) == len(draws), cell["source"]


def test_it_names_no_folder_of_the_machine_that_made_it(committed):
    assert [text for text in texts(committed) if re.search(r"/(tmp|home|root|work|Users)/", text)] == []


# ---- executed again


@pytest.fixture
def tools():
    for name in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[notebooks]'")


def executed(name, folder, **environment):
    """The notebook that a source gives now, and the seconds of processor that it took.

    Each gets a process and a kernel of its own. Seconds of a clock would tell how busy the machine is.
    """
    out = folder / f"{name}.ipynb"
    env = os.environ | {"OMP_NUM_THREADS": "1", "IPYTHONDIR": str(folder / "ipython")} | environment
    env.pop("MPLBACKEND", None)  # the suite's, which shows no picture
    done = subprocess.run(
        [sys.executable, "-c", _EXECUTED, str(maker.FOLDER / f"{name}.py"), str(out)],
        env=env, capture_output=True, text=True, timeout=500, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out, float(done.stdout)


@pytest.mark.slow
def test_it_gives_again_within_a_minute_what_is_committed(committed, tmp_path, tools):
    again, seconds = executed(committed.stem, tmp_path)
    assert seconds < 60
    before, now = texts(committed), texts(again)
    assert len(before) == len(now)
    assert [pair for pair in zip(before, now, strict=True) if not docs_blocks.alike(*pair)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_ends_in_a_conclusion_that_nobody_typed(name):
    end = texts(maker.FOLDER / f"{name}.ipynb")[-1]
    assert any(word in end for word in ("YES", "NO", "NOT SHOWN"))
    assert "NOT MEASURED" not in end  # the small run has all that they ask for
    source = (maker.FOLDER / f"{name}.py").read_text(encoding="utf-8")
    last = source[source.index("## What can be concluded") :]
    assert f"{name.split('_')[0]}_conclusions.{name}(" in last


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_on_any_run(name, tmp_path, tools):
    """One seed, another parameterisation, nothing pruned, scored or shuffled: what is missing is said, not made up."""
    import tiny

    from prunekit.experiment import run
    from prunekit.experiment.prepare import prepare

    made = run.run(
        prepare(tiny.experiment("gpt2", tmp_path, method="dpt", rank=2)), tmp_path / "out", tiny.Quiet(), prune=False
    )
    again, _ = executed(name, tmp_path, PRUNEKIT_RUN=str(made.path))
    said = texts(again)
    assert any("not measured" in text or "NOT MEASURED" in text for text in said)
    if name == "rank_study":  # factors of rank 2 are of low rank before anything is learned, and it says so
        assert any("The start is of as low a rank, or nearly" in text for text in said)
