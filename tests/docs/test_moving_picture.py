"""The moving picture of a terminal: what a terminal shows, the times of its lines, and the committed recording."""

import re
from xml.etree import ElementTree

import pytest

from figures import terminal
from figures.screen import Screen

SVG = "{http://www.w3.org/2000/svg}"


def text(screen, height=9):
    return ["".join(character for character, _ in line) for line in screen.rows(height)]


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ("one\r\ntwo", ["one", "two"]),
        ("one two\rsix", ["six two"]),
        ("one\r\x1b[Ktwo", ["two"]),
        ("one\r\ntwo\r\n\x1b[2A\x1b[2Kup", ["up", "two", ""]),
        ("\x1b]0;title\x07a\x1b[?25lb", ["ab"]),
        ("abcdefghijkl", ["abcdefghij", "kl"]),
        ("\x1b[5;3Hx", ["x"]),
    ],
)
def test_a_screen_shows_what_a_terminal_would(output, lines):
    screen = Screen(10)
    screen.write(output)
    assert text(screen) == lines


def test_a_screen_keeps_colours_and_shows_its_lowest_lines():
    screen = Screen(10)
    screen.write("1\r\n2\r\n\x1b[1m\x1b[31mx\x1b[0my")
    assert text(screen, height=2) == ["2", "xy"]
    assert screen.rows(1) == [(("x", "1;31"), ("y", ""))]


def test_a_line_that_stays_is_drawn_once_and_seen_from_its_first_to_its_last_moment():
    plain, other = (("a", ""),), (("b", ""),)
    frames = [(0.0, [plain]), (1.0, [plain, plain]), (2.0, [plain, other])]
    assert terminal.stays(frames, 4.0) == [
        terminal.Stay(0, plain, 0.0, 4.0),
        terminal.Stay(1, plain, 1.0, 2.0),
        terminal.Stay(1, other, 2.0, 4.0),
    ]


def test_a_program_is_recorded_with_its_colours_and_times(tmp_path):
    command = r"printf '\033[32mgreen\033[0m <&>\n'; test -t 1 && tput cols"
    output = list(terminal.run(command, tmp_path))
    assert output == sorted(output)
    screen = Screen(terminal.WIDTH)
    frames = list(terminal.played(screen, output))
    assert text(screen)[:2] == ["green <&>", str(terminal.WIDTH)]
    drawing = ElementTree.fromstring(terminal.picture(frames, 2.0))
    first = next(line for line in drawing.iter(f"{SVG}text") if "green" in "".join(line.itertext()))
    assert first.find(f"{SVG}tspan").get("fill").startswith("#")
    assert "".join(first.itertext()) == "green <&>"


def test_the_committed_recording_ends_in_a_smaller_prompt_and_needs_nothing_from_elsewhere():
    content = terminal.PICTURE.read_text(encoding="utf-8")
    assert len(content) < 150_000
    assert re.findall(r"<script|href|url\(|@import", content) == []
    last = [
        "".join(line.itertext())
        for line in ElementTree.fromstring(content).iter(f"{SVG}text")
        if line.get("class") == "last"
    ]
    assert "adapter_config.json" in "".join(last)
    assert "Smallest ticket" in content
    assert "prefers-reduced-motion" in content
