from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunekit.runs.paths import RunKey

stages = st.sampled_from(["", "prune-1a2b", "search-00ff/grid/tokens=2-pieces=4", "prune-1a2b/dense-continued"])
counts = st.integers(0, 10**6)


@given(stages, counts, counts)
def test_a_place_is_found_again_in_its_path(stage, seed, number):
    key = RunKey(stage, seed, number)
    assert RunKey.parse(Path(str(key))) == key


def test_places_are_written_as_the_design_says():
    assert str(RunKey("", 0, 0)) == "seed=0/round=00"
    assert str(RunKey("prune-1a2b/random", 12, 3)) == "prune-1a2b/random/seed=12/round=03"


@pytest.mark.parametrize(
    "path", ["", "seed=0", "round=00/seed=0", "seed=-1/round=00", "seed=a/round=00", "seed=0/round=00/x"]
)
def test_other_paths_are_no_places(path):
    with pytest.raises(ValueError, match="not the place"):
        RunKey.parse(Path(path))
