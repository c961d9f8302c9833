"""What could be wrong in the page of waiting times: a process that is not waited for, a bar that is not kept."""

import pytest

from benchmarks import startup
from benchmarks.startup import Wait

pytestmark = pytest.mark.gate


def test_a_wait_ends_with_the_process_or_with_its_first_line():
    code = "import time; print('here', flush=True); time.sleep({})"
    assert startup.seconds(Wait("whole", (code.format(0.5),), 1.0)) > 0.5
    assert startup.seconds(Wait("line", (code.format(60),), 1.0, first_line=True)) < 30


def test_what_is_made_fresh_is_so_before_each_time_and_a_failure_is_told(tmp_path):
    left = tmp_path / "left"
    left.touch()
    wait = Wait("fails", (f"import pathlib, sys; sys.exit(pathlib.Path({str(left)!r}).exists())",), 1.0)
    with pytest.raises(RuntimeError, match="failed"):
        startup.seconds(wait)
    startup.seconds(wait._replace(fresh=left.unlink))


def test_the_page_says_what_was_kept():
    rows = startup.page_table({Wait("quick", ("a",), 1.0): [0.5, 0.7, 9.0], Wait("slow", ("b",), 0.1): [0.2]})
    assert "| quick | 0.70 | 0.50 to 9.00 | 1 | yes |" in rows
    assert "| slow | 0.20 | 0.20 to 0.20 | 0.1 | **no** |" in rows


def test_a_silence_is_the_longest_time_between_two_signs_of_life():
    assert 0 < startup.longest_silence(("--help",)) < 60
