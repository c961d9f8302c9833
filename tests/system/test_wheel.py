"""What is installed is whole: the wheel works outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tiny
from guard import sitecustomize as guard
from roots import ROOT

import prunekit

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_source_knows_the_version_that_is_installed(installed):
    # runs and exports record the source's own, so that a checkout on the path works without being installed
    assert (installed / f"prunekit-{prunekit.__version__}.dist-info").is_dir()


def test_the_wheel_in_another_place_and_language_writes_the_bytes_of_the_checkout_and_reaches_for_nobody(
    installed, forks, tmp_path
):
    """In a fresh process that may go online and whose hashes are others."""
    few = ["--train-steps=4", "--evaluate-every=2", "--train-examples=16", "--validation-examples=8", "--seeds=2"]
    words = ["prune", "--rounds=1", "--test-examples=8", "--threads=1", *few]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "HF_", "PYTEST"))}
    watched = str(Path(guard.__file__).parent)
    kept |= {"PYTHONPATH": os.pathsep.join([watched, str(installed)]), "PYTHONSAFEPATH": "1"}
    kept |= {"PYTHONHASHSEED": "1", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"}
    code = "import prunekit, sys; print(prunekit.__file__); from prunekit.cli.main import main; main(sys.argv[1:])"
    before = guard.lines()
    command = [sys.executable, "-c", code, *words]
    made = subprocess.run(command, cwd=tmp_path, env=kept, check=True, capture_output=True, text=True)
    assert guard.lines()[len(before) :].count("process") >= 1  # it was watched, as every process is
    assert set(guard.lines()[len(before) :]) == {"process"}
    assert made.stdout.startswith(str(installed))
    assert "written to runs/testbed-first-animal-testbed-direct-" in made.stdout
    # whose hashes are drawn anew, and which is one process for all tests
    here = forks.run([*words, f"--out={tmp_path / 'here'}"], tmp_path / "process")
    assert here.code == 0, here.said
    contents = tiny.contents(tmp_path / "here")
    assert len(contents) > 20
    assert tiny.contents(tmp_path / "runs") == contents


def test_nothing_of_the_tests_or_the_shared_data_is_in_it(installed):
    names = {path.relative_to(installed).parts[0] for path in installed.rglob("*") if path.is_file()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"prunekit"}
    size = sum(path.stat().st_size for path in (installed / "prunekit" / "tasks" / "testbed" / "model").iterdir())
    assert size <= 8 * 2**20
