"""`python -m figures.terminal`: record commands in a terminal, as the moving picture on the first page of the docs.

The commands really run, in a terminal of its own size; what they write is played again faster. The picture is an SVG
that moves by its own style sheet: no script, nothing from elsewhere, and still where a reader wants no motion.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fcntl import ioctl
from html import escape
from itertools import groupby
from pathlib import Path
from termios import TIOCSWINSZ

import typer
from rich.ansi import AnsiDecoder
from rich.terminal_theme import DIMMED_MONOKAI

from figures.screen import Cell, Screen
from prunekit.support import atomic

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "terminal.svg"
COMMANDS = ("prunekit prune --rounds 3", "prunekit export runs/testbed-* --out adapter")
WIDTH, HEIGHT = 84, 26
_PROMPT = "$ "
# seconds of the picture: for a letter that is typed, for the program of a command, and for reading what it wrote
_LETTER, _PROGRAM, _READING = 0.05, 7.0, 4.0
# pictures a second
_RATE = 12
# pixels of a letter, and around the text
_ACROSS, _DOWN, _MARGIN = 8.4, 19, 16
_GROUND, _INK = "#16191d", "#d8dce1"
_FONT = "14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
# a line is unseen but for its times; what stands at the end is what is seen where nothing moves
_LOOK = f"text{{font:{_FONT};fill:{_INK};white-space:pre;opacity:0}}.last{{opacity:1}}"
_STILL = "@media(prefers-reduced-motion:reduce){text{animation:none!important}}"

Rows = list[tuple[Cell, ...]]
#: When it began, in seconds, and what it showed.
Frame = tuple[float, Rows]


def record() -> None:
    """Run the commands in an empty folder, and write the picture."""
    screen, frames, now = Screen(WIDTH), list[Frame](), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            typed = [(now + _LETTER * place, letter) for place, letter in enumerate(_PROMPT + command, start=1)]
            output = list(run(command, Path(folder)))
            began, ended = typed[-1][0] + 0.4, output[-1][0]
            speed = _PROGRAM / ended
            written = [(began + speed * seconds, text) for seconds, text in output]
            frames += played(screen, [*typed, (began, "\r\n"), *written])
            now = began + _PROGRAM + _READING
    atomic.replace(PICTURE, picture(frames, now).encode())


def run(command: str, folder: Path) -> Iterator[tuple[float, str]]:
    """What a command writes to a terminal, with the seconds since it began."""
    started, (reader, writer) = time.monotonic(), os.openpty()
    ioctl(writer, TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": str(HEIGHT)}
    program = subprocess.Popen(
        ["bash", "-c", command],  # noqa: S607  # as a reader would type it
        stdin=writer, stdout=writer, stderr=writer, cwd=folder, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(writer)
    while part := _read(reader):
        yield time.monotonic() - started, part.decode(errors="ignore")
    os.close(reader)
    if program.wait():
        sys.exit(f"figures.terminal: {command} failed")


def _read(terminal: int) -> bytes:
    """Output, or nothing once the program has ended."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # how a terminal says that nobody writes to it any more
        return b""


def played(screen: Screen, output: Sequence[tuple[float, str]]) -> Iterator[Frame]:
    """What the screen shows, at most `_RATE` times a second; after the last output surely."""
    latest, last = -1.0, output[-1][0]
    for seconds, text in output:
        screen.write(text)
        if seconds - latest >= 1 / _RATE or seconds == last:
            latest = seconds
            yield seconds, screen.rows(HEIGHT)


@dataclass(frozen=True)
class Stay:
    """A line that stands somewhere for a while: its place from the top, its cells, the seconds from and to."""

    row: int
    cells: tuple[Cell, ...]
    start: float
    end: float


def stays(frames: Sequence[Frame], seconds: float) -> list[Stay]:
    """Each line of the frames once, for as long as it stands in one place without a change."""
    ends = [start for start, _ in frames[1:]] + [seconds]
    everything = list[Stay]()
    for row in range(HEIGHT):
        every = (
            Stay(row, rows[row] if row < len(rows) else (), start, end)
            for (start, rows), end in zip(frames, ends, strict=True)
        )
        for cells, group in groupby(every, key=lambda stay: stay.cells):
            first, *others = group
            if cells:
                everything.append(Stay(row, cells, first.start, others[-1].end if others else first.end))
    return everything


def picture(frames: Sequence[Frame], seconds: float) -> str:
    """The SVG: every line with the times at which it is seen, over and over. It begins with what stands at the end."""
    lines = stays(frames, seconds)
    width, height = round(2 * _MARGIN + _ACROSS * WIDTH), 2 * _MARGIN + _DOWN * HEIGHT
    rules = "".join(_rule(number, line, seconds) for number, line in enumerate(lines))
    texts = "".join(_text(number, line, line.end == seconds) for number, line in enumerate(lines))
    times = f"{seconds:.1f}s step-end {_READING - seconds:.1f}s infinite"
    label = f"A recorded terminal: {' and then '.join(COMMANDS)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{escape(label)}</title>"
        f"<style>{_LOOK}text{{animation:{times}}}{rules}{_STILL}</style>"
        f'<rect width="{width}" height="{height}" rx="8" fill="{_GROUND}"/>{texts}</svg>\n'
    )


def _rule(number: int, line: Stay, seconds: float) -> str:
    """The times of a line, as a rule of the style sheet."""
    start, end = (100 * moment / seconds for moment in (line.start, line.end))
    last = "" if end >= 100 else f"{end:.2f}%{{opacity:0}}"
    frames = f"0%{{opacity:0}}{start:.2f}%{{opacity:1}}{last}"
    return f"#t{number}{{animation-name:k{number}}}@keyframes k{number}{{{frames}}}"


def _text(number: int, line: Stay, is_last: bool) -> str:
    """A line; its width is set, so that columns stand under each other in any font."""
    parts = "".join(
        _coloured("".join(character for character, _ in group), style)
        for style, group in groupby(line.cells, key=lambda cell: cell[1])
    )
    y = _MARGIN + _DOWN * (line.row + 0.75)
    kind = ' class="last"' if is_last else ""
    return (
        f'<text id="t{number}"{kind} x="{_MARGIN}" y="{y:.0f}" textLength="{_ACROSS * len(line.cells):.1f}" '
        f'xml:space="preserve">{parts}</text>'
    )


def _coloured(text: str, style: str) -> str:
    """Text in the colour of an escape sequence."""
    if not style:
        return escape(text)
    (span, *_) = AnsiDecoder().decode_line(f"\x1b[{style}mx").spans or [None]
    colour = span and span.style.color
    if not colour:
        return escape(text)
    red, green, blue = colour.get_truecolor(DIMMED_MONOKAI)
    return f'<tspan fill="#{red:02x}{green:02x}{blue:02x}">{escape(text)}</tspan>'


if __name__ == "__main__":
    typer.run(record)
