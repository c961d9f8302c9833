"""What stands on a terminal after some output: enough of one for progress bars, tables and colours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# escape sequences (parameters and letter), titles of windows, which are dropped, and single characters
_PARTS = re.compile(r"\x1b\[([?\d;]*)([a-zA-Z])|\x1b\].*?(?:\x07|\x1b\\)|(\r|\n|[^\x00-\x1f])", re.DOTALL)

#: A character, and the numbers of the escape sequence that colours it ("" is plain).
Cell = tuple[str, str]


@dataclass
class Screen:
    """A terminal without an end to its height.

    Attributes:
        width: characters across; a longer line goes on in the next.
        lines: of cells, from the top.
        row: of the cursor, from 0.
        column: of the cursor, from 0.
    """

    width: int
    lines: list[list[Cell]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    style: str = ""

    def write(self, output: str) -> None:
        """Show output as a program wrote it."""
        for match in _PARTS.finditer(output):
            numbers, letter, character = match.groups()
            if letter:
                self._move(numbers, letter)
            elif character == "\r":
                self.column = 0
            elif character == "\n":
                self._next_line()
            elif character:
                self._put(character)

    def rows(self, height: int) -> list[tuple[Cell, ...]]:
        """The lowest lines that fit, without blanks at their ends."""
        return [_stripped(line) for line in self.lines[-height:]]

    def _move(self, numbers: str, letter: str) -> None:
        """A colour, one or more lines up, or a line that is wiped; other sequences change nothing that is seen here."""
        if letter == "m":
            self.style = "" if numbers in ("", "0") else numbers if numbers.startswith("0;") else self._joined(numbers)
        elif letter == "A":
            self.row = max(0, self.row - int(numbers or 1))
        elif letter == "K":
            del self.lines[self.row][0 if numbers == "2" else self.column :]

    def _joined(self, numbers: str) -> str:
        return f"{self.style};{numbers}" if self.style else numbers

    def _next_line(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.lines):
            self.lines.append([])

    def _put(self, character: str) -> None:
        if self.column == self.width:
            self._next_line()
        line = self.lines[self.row]
        line += [(" ", "")] * (self.column + 1 - len(line))
        line[self.column] = (character, self.style)
        self.column += 1


def _stripped(line: list[Cell]) -> tuple[Cell, ...]:
    ends = [place for place, (character, _) in enumerate(line, start=1) if character != " "]
    return tuple(line[: ends[-1] if ends else 0])
