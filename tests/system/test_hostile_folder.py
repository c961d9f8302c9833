"""A user's folder may hold an `analyses/`, a `figures.py` and a `tasks.py` of their own: none of them is imported."""

import shutil

import pytest
from roots import ROOT, TESTS
from small import SMALL_RUN

pytestmark = pytest.mark.gate
NOTEBOOK = ROOT / "analyses" / "notebooks" / "importance_study.py"
SCRIPT = """
import sys
from pathlib import Path
import prunekit
from prunekit.plots.drawing import draw_figures
print([drawing.figure.name for drawing in draw_figures([Path(sys.argv[1])], ["cost"]).drawn])
"""
IN_TURN = """
import runpy, sys
from prunekit.cli.main import main
from prunekit.plots import catalog, cost
catalog.FIGURES = (cost.FIGURE,)  # every figure is imported, and few are drawn
for words in ("runs verify run", "figures run cost --out pictures", "report run"):
    try:
        main(words.split())
    except SystemExit as ended:
        assert not ended.code, words
sys.argv[1:] = ["run"]
runpy.run_path("script.py")
runpy.run_path("notebook.py")
"""


@pytest.fixture
def folder(tmp_path):
    """Modules that raise when they are imported, under every name that this repository has at its top, and more."""
    names = {path.stem for path in ROOT.iterdir() if path.is_dir() and path.name.isidentifier()} - {"prunekit"}
    for name in names | {"tasks", "models", "engine", "plots", "support"}:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} of the user was imported')\n")
    for name in ("analyses", "figures"):
        (tmp_path / f"{name}.py").rename(tmp_path / "kept")
        (tmp_path / name).mkdir()
        (tmp_path / "kept").rename(tmp_path / name / "__init__.py")
    (tmp_path / "figures.py").write_text("raise RuntimeError('figures of the user was imported')\n")
    shutil.copytree(TESTS / "golden" / "0.1.0" / "run", tmp_path / "run")
    (tmp_path / "script.py").write_text(SCRIPT)
    shutil.copyfile(NOTEBOOK, tmp_path / "notebook.py")  # its cells are a script
    return tmp_path


@pytest.fixture
def python(forks, folder, tmp_path_factory):
    """What a Python in the folder prints; it has imported neither prunekit nor what lies there, which comes first."""

    def run(*words):
        environment = {"PRUNEKIT_RUN": str(SMALL_RUN)}
        ended = forks.run(
            words, tmp_path_factory.mktemp("ended") / "run", program="python", cwd=str(folder), environment=environment
        )
        assert ended.code == 0, ended.said[-2000:]
        return ended.wrote

    return run


def test_the_folder_would_be_imported_from(python):
    with pytest.raises(AssertionError, match="analyses of the user was imported"):
        python("-c", "import analyses")


def test_verbs_figures_a_report_a_script_and_a_notebook_run_beside_modules_of_the_same_names(python, folder):
    """One behind the other in one process, whose imports are those of the first."""
    pytest.importorskip("IPython")
    printed = python("-c", IN_TURN)
    for words in ("rounds", "cost.svg", "report.html", "['cost']", "YES"):
        assert words in printed
    assert {"cost.svg", "cost.csv"} <= {path.name for path in (folder / "pictures").iterdir()}
