"""What is seen of a sweep while it runs."""

import io
import os

from rich.console import Console

from prunekit.cli.livetable import LiveTable
from prunekit.experiment.sweep.jobs import Outcome
from prunekit.runs.checksums import stamped
from prunekit.support.terminal import Screen


def screen(terminal):
    made = Screen()
    made.console = Console(file=io.StringIO(), force_terminal=terminal, width=100, highlight=False, markup=False)
    return made, made.console.file


def note(folder, name, task, news):
    path = folder / f"{name}.note"
    path.write_bytes(stamped({"task": task, "worker": "host 12", "news": news}))
    return path


def test_a_terminal_shows_what_is_at_work_and_what_is_done(tmp_path):
    shown, text = screen(True)
    with LiveTable(shown, tmp_path, 3) as live:
        note(tmp_path, "a", "alike-mood, dpt", "round 1: 20 of 80")
        os.utime(note(tmp_path, "b", "killed before", "round 0"), (0, 0))  # left by a sweep of another time
        (tmp_path / "c.note").write_text("{")
        live.ended(Outcome("k", "first-animal, dpt", run="run-1", trained=3, seconds=12.0, worker="host 13"))
        live.look()
    seen = text.getvalue()
    assert "1 of 3: first-animal, dpt: run-1 (3 training(s), 12 s, host 13)" in seen
    assert "1 of 3 done" in seen
    assert "alike-mood, dpt" in seen
    assert "round 1: 20 of 80" in seen
    assert "killed before" not in seen


def test_elsewhere_there_is_a_line_per_finished_experiment_and_no_more(tmp_path):
    shown, text = screen(False)
    note(tmp_path, "a", "alike-mood, dpt", "round 1: 20 of 80")
    with LiveTable(shown, tmp_path, 2) as live:
        live.look()
        live.ended(Outcome("k", "one", failed="no room"))
        live.look()
    assert text.getvalue().splitlines() == ["1 of 2: one: failed: no room (0 training(s), 0 s, worker gone)"]


def test_nothing_that_a_label_holds_steers_the_terminal(tmp_path):
    shown, text = screen(True)
    with LiveTable(shown, tmp_path, 1) as live:
        note(tmp_path, "a", "\x1b]0;title\x07[bold]", "news")
        live.look()
    assert "\x1b]0;title" not in text.getvalue()
    assert "[bold]" in text.getvalue()
