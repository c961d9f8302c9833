import io
import json
import sys
import time

import numpy as np
import pytest

from prunekit.support import terminal


def test_control_characters_are_shown_as_escapes():
    assert terminal.printable("a\x1b[31mb\x07\n") == "a\\x1b[31mb\\x07\n"
    assert terminal.printable("\u202ex") == "\\u202ex"
    assert terminal.printable("ünï") == "ünï"


def test_progress_is_a_few_plain_lines_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_QUICK", 0.01)
    with terminal.Screen().track("round 0", 10) as tick:
        for done in range(1, 11):
            tick(done, "loss 0.5" if done > 4 else "")
            time.sleep(0.02)
    assert capsys.readouterr().err.splitlines() == ["round 0: 1 of 10 updates", "round 0: 10 of 10 updates, loss 0.5"]


def test_what_takes_long_is_said_and_what_is_quick_is_not(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_QUICK", 0.02)
    screen = terminal.Screen()
    with screen.working("loading torch"):
        time.sleep(0.2)
    with screen.working("reading"):
        pass
    time.sleep(0.05)
    assert capsys.readouterr().err == "loading torch ...\n"


def test_a_log_gets_a_line_where_it_was_silent_for_long(capsys, monkeypatch):
    clock = iter([0.0, 4.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock, 13.0))
    with terminal.Screen().track("test", 100, "examples") as tick:
        for completed in (10, 20, 100):
            tick(completed)
    assert capsys.readouterr().err == "test: 20 of 100 examples\n"


def test_a_table_keeps_markup_as_text(capsys):
    terminal.show(["name", "n"], [["[red]x[/red]", "1"], [""], ["y", "22"]])
    out = capsys.readouterr().out
    assert "[red]x[/red]" in out
    assert " 22" in out


@pytest.mark.parametrize(
    "rows",
    [
        [["a", "1.5", "x y"], ["bcd", "12", "zz"], ["e", "", "q"]],
        [["a", "mean", "1"], ["bcd", "12"], ["e"]],
        [["a name", "x", "-0.5"]] * 3,
    ],
)
def test_a_table_of_plain_lines_is_set_as_rich_sets_it(rows, capsys, monkeypatch):
    terminal.show(["run", "n", "what"], rows, title="runs")
    plain = capsys.readouterr().out
    monkeypatch.setattr(terminal, "_line_widths", lambda cells, width: [])
    terminal.show(["run", "n", "what"], rows, title="runs")
    assert plain == capsys.readouterr().out


ODD = ["é", "\U0001f600", "\x7f", "\x1b[31m", "\u2028", "\ud800", '"\\', "a\nb", "\u202e", "plain"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16", None])
@pytest.mark.parametrize("text", ODD)
def test_a_line_of_json_is_json_whatever_the_stream_can_show(text, encoding, monkeypatch):
    """As the command line writes it: what the stream lacks would become a Python escape, which JSON has no word for."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding or "utf-8", errors="backslashreplace", newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.write_json({"answer": text, text: [text]})
    stream.flush()
    said = written.getvalue().decode(encoding or "utf-8")
    assert said.count("\n") == 1
    assert said[:-1].isprintable()
    assert json.loads(said) == {"answer": text, text: [text]}


def test_what_the_stream_can_show_is_not_escaped():
    assert terminal.json_line({"a": "größer"}, "utf-8") == '{"a": "größer"}'
    assert terminal.json_line({"a": "größer"}, "latin-1") == '{"a": "größer"}'
    assert terminal.json_line({"a": "größer"}) == '{"a": "gr\\u00f6\\u00dfer"}'


def test_numbers_for_which_json_has_no_word_are_null():
    facts = {
        "a": [float("nan"), (float("inf"), 1.5)],
        "b": np.float32("nan"),
        "c": np.int64(3),
        "d": np.float64("-inf"),
    }
    line = terminal.json_line(facts)
    assert json.loads(line, parse_constant=pytest.fail) == {"a": [None, [None, 1.5]], "b": None, "c": 3, "d": None}


WIDE = (
    ["name", "value [95 % interval]", "n", "what it is"],
    [["some-long-name", "0.123 [0.100, 0.200]", "12", "a b " * 20]],
)


@pytest.mark.parametrize("width", [160, 80, 60, 55, 40, 20])
def test_a_narrow_terminal_gets_fewer_columns_and_no_number_cut(width, monkeypatch, capsys):
    monkeypatch.setattr(terminal, "_PLAIN_WIDTH", width)
    terminal.show(*WIDE, least=["n"])
    out = capsys.readouterr().out
    *table, last = out.splitlines()
    assert max(map(len, table)) <= width
    assert "…" not in out
    left_out = last.partition(" wide: ")[2].split(", ") if "left out" in last else []
    assert left_out == {160: [], 80: [], 60: [], 55: ["n"], 40: ["n", "what it is"]}.get(
        width, ["value [95 % interval]", "n", "what it is"]
    )
    assert ("0.123 [0.100, 0.200]" in out) == ("value [95 % interval]" not in left_out)


def test_a_notebook_gets_a_bar_of_tqdm_with_the_note_behind_it(capsys):
    screen = terminal.Screen()
    screen.console.is_jupyter = True
    with screen.track("round 1", 4) as tick:
        for completed in (1, 4):
            tick(completed, "loss 0.500, at most 2 min left")
    said = capsys.readouterr().err
    assert "round 1: 100%" in said
    assert "4/4" in said
    assert "loss 0.500, at most 2 min left" in said
