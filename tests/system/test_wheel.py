"""What is installed is whole: the wheel works outside the checkout."""

import os
import subprocess
import sys
import zipfile

import pytest
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


def python(installed, cwd, *arguments):
    """Run outside the checkout, with the unpacked wheel before all else."""
    env = dict(os.environ) | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, check=True, capture_output=True, text=True)


def test_the_packages_import_from_the_wheel(installed, tmp_path):
    code = "import analyses, figures, prunekit; print(analyses.__file__, figures.__file__, prunekit.__file__)"
    found = python(installed, tmp_path, "-c", code).stdout.split()
    assert all(path.startswith(str(installed)) for path in found)


def test_the_source_knows_the_version_that_is_installed(installed):
    # runs and exports record the source's own, so that a checkout on the path works without being installed
    assert (installed / f"prunekit-{prunekit.__version__}.dist-info").is_dir()


def test_the_main_command_runs_from_the_wheel(installed, tmp_path):
    few = ["--train-steps=4", "--evaluate-every=2", "--train-examples=16", "--validation-examples=8"]
    given = ["--rounds=1", "--test-examples=8", "--threads=1", *few]
    made = python(installed, tmp_path, "-m", "prunekit", "prune", *given)
    assert "written to runs/testbed-first-animal-testbed-direct-" in made.stdout


def test_nothing_of_the_tests_or_the_shared_data_is_in_it(installed):
    names = {path.relative_to(installed).parts[0] for path in installed.rglob("*") if path.is_file()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"prunekit", "analyses", "figures"}
    size = sum(path.stat().st_size for path in (installed / "prunekit" / "testbed" / "model").iterdir())
    assert size <= 8 * 2**20
