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


CODE = """
import sys
from pathlib import Path
import prunekit
from prunekit.cli.main import main

def done(*words):
    try:
        main(list(words))
    except SystemExit as ended:
        assert not ended.code, words

print(prunekit.__file__)
done(*sys.argv[1:])
done("figures", str(next(Path("runs").iterdir())), "token_map")
"""


def test_the_wheel_in_another_place_and_language_writes_the_bytes_of_the_checkout_and_reaches_for_nobody(
    installed, forks, tmp_path
):
    """In a fresh process that may go online; its hashes are not those of the other process, which are drawn anew."""
    few = ["--prompt-tokens=4", "--train-examples=8", "--validation-examples=4", "--test-examples=4"]
    words = ["prune", "--rounds=1", "--train-steps=2", "--evaluate-every=1", "--seeds=2", "--threads=1", *few]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "HF_", "PYTEST"))}
    watched = str(Path(guard.__file__).parent)
    kept |= {"PYTHONPATH": os.pathsep.join([watched, str(installed)]), "PYTHONSAFEPATH": "1"}
    kept |= {"PYTHONHASHSEED": "1", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"}
    there, here, before = tmp_path / "there", tmp_path / "here", len(guard.lines())
    there.mkdir()
    here.mkdir()
    command = [sys.executable, "-c", CODE, *words]
    made = subprocess.run(command, cwd=there, env=kept, check=True, capture_output=True, text=True)
    assert set(guard.lines()[before:]) == {"process"}  # it was watched, as every process is
    assert made.stdout.startswith(str(installed))
    assert "written to runs/testbed-first-animal-testbed-direct-" in made.stdout
    again = forks.run(words, tmp_path / "process", code=CODE, cwd=str(here))
    assert again.code == 0, again.said
    contents = [  # less the tables of seconds
        {name: content for name, content in tiny.contents(path).items() if not name.endswith(".csv")}
        for path in (there, here)
    ]
    assert len(contents[0]) > 20
    assert contents[0] == contents[1]


def test_nothing_of_the_tests_or_the_shared_data_is_in_it(installed):
    names = {path.relative_to(installed).parts[0] for path in installed.rglob("*") if path.is_file()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"prunekit"}
    for testbed in ("testbed", "testbed_open"):
        model = installed / "prunekit" / "tasks" / testbed / "model"
        assert sum(path.stat().st_size for path in model.iterdir()) <= 8 * 2**20
