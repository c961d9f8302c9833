from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunekit.pruning.schedule import Keep
from prunekit.runs.paths import RunKey, Stage

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


# ---- stages

ABOUT = {  # stage -> verb, folder at the root, arm, whether it is dense, pruned, a trial
    "": ("", "", "", True, False, False),
    "untrained": ("untrained", "untrained", "", False, False, False),
    "prune-1a2b": ("prune", "prune-1a2b", "", False, True, False),
    "prune-1a2b/random": ("prune", "prune-1a2b", "random", False, True, False),
    "search-1a2b/short-prompt": ("search", "search-1a2b", "short-prompt", False, True, False),
    "search-1a2b/grid/tokens=2-pieces=4": ("search", "search-1a2b", "grid/tokens=2-pieces=4", False, True, True),
    "score-1a2b/prune-3c4d/random": ("score", "score-1a2b", "prune-3c4d/random", False, False, False),
    "rates/rate=0.1": ("rates", "rates", "rate=0.1", False, False, False),
    "rates-1a2b": ("rates", "rates-1a2b", "", False, False, False),
}


@pytest.mark.parametrize("text", ABOUT)
def test_a_stage_tells_what_it_is_and_reads_like_its_folder(text):
    stage = RunKey(text, 3, 1).stage
    about = (stage.verb, stage.top, stage.arm, stage.is_dense, stage.is_pruned, stage.is_trial)
    assert about == ABOUT[text]
    assert stage == text
    assert stage.top.inside(stage.arm) == stage
    assert RunKey.parse(Path(str(RunKey(stage, 3, 1)))) == RunKey(stage, 3, 1)


def test_stages_are_made_by_their_parts():
    search = Stage.of("search", "1a2b")
    assert search.trial(Keep(2, 4)) == "search-1a2b/grid/tokens=2-pieces=4"
    assert search.inside("random") == "search-1a2b/random"
    assert Stage.of("score", "1a2b").inside(search).measured == search
    assert Stage.of("score", "1a2b").inside(Stage()).measured.is_dense
    assert [stage.is_chosen_rate for stage in (Stage("rates"), Stage.of("rates", "1a2b"))] == [False, True]
