"""Code blocks of README and the documentation: found, run in order, what they print compared with what stands there.

A comment above a block says what it is; a Python or shell block without one is run:

    <!-- output -->         what the block before it prints
    <!-- file: NAME -->     a file that later blocks of the page read
    <!-- slow -->           run in the slow tests alone (with `needs`, where the folders of real models and data are)
    <!-- parsed: REASON --> cannot run here; its commands are checked against the command line
    <!-- copy -->           runs in a copy of the package that the page has changed, whose flags only the copy knows

`python tests/docs_blocks.py PAGE...` runs pages and writes what was printed into them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("python", "bash")
#: The torch and the kind of processor that printed the numbers on the pages; makers round sums in their own ways.
MADE_ON = "2.13.0+cpu AVX512 GenuineIntel"
_DECIMAL = re.compile(r"-?\d+\.\d+")
_MARK = re.compile(r"<!--\s*(\w+)(?::\s*(.*?))?\s*-->")
_TIMED = re.compile(r"(?<!\S)s( +ex/s)?$|minutes at most$|\bseconds$")
_PLAIN = re.compile(r"[|<>&;$`]")  # without these a line is one command
# what two sound runs may differ in: the ids of runs and stages, times, and the room that a table gives them
_VARIES = (
    (re.compile(r"(?<=[a-z]-)[0-9a-f]{4,8}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "DATE"),
    (re.compile(r"\b\d+(\.\d+)? ?(s|ms|seconds?|(worker )?minutes?|min|MiB|MB|kB)\b"), "SOME"),
    (re.compile(r"\d+\.\d+(?= where every ticket stops)|(?<=updates of )\d+(?= rows at once)"), "SOME"),
    (re.compile(r"[ ─]+"), " "),
)


@dataclass
class Block:
    """A fenced block: its language, text, marks, first line (from 0) and the line behind its last."""

    page: Path
    language: str
    text: str
    first: int
    end: int
    marks: dict[str, str]
    output: Block | None = None
    printed: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.first + 1}"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order; an output is joined to the block before it."""
    tokens = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    assert not [one for one in tokens if one.type == "code_block"], f"{page}: fence its indented code"
    found: list[Block] = []
    marks: dict[str, str] = {}
    for token in tokens:
        if token.type == "html_block":
            marks |= {name: value or "" for name, value in _MARK.findall(token.content)}
            continue
        if token.type == "fence":
            block = Block(page, token.info.split(" ")[0], token.content, *token.map, marks)
            if "output" in marks:
                assert found and found[-1].output is None, f"{block}: output of nothing"
                found[-1].output = block
            else:
                found.append(block)
        marks = {}
    return found


def run_page(page: Path, folder: Path, slow: bool) -> Iterator[Block]:
    """Run a page's blocks in a folder of its own, one after another; yields each that ran."""
    names: dict = {"__name__": "__main__"}
    with contextlib.chdir(folder):
        for block in blocks(page):
            if "file" in block.marks:
                target = Path(block.marks["file"])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, encoding="utf-8")
            elif block.language in RUN and "parsed" not in block.marks and (slow or "slow" not in block.marks):
                block.printed = run_python(block, names) if block.language == "python" else run_shell(block.text)
                yield block


def run_python(block: Block, names: dict) -> str:
    said = io.StringIO()
    code = compile("\n" * (block.first + 1) + block.text, str(block.page), "exec")
    with contextlib.redirect_stdout(said):
        exec(code, names)
    return said.getvalue()


def run_shell(text: str) -> str:
    return "".join(run_line(line) for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip())


def run_line(line: str) -> str:
    """A command's standard output; ours are called in this process, which has what they import."""
    words = shlex.split(line, comments=True)
    if not words:
        return ""
    if words[0] == "prunekit" and not _PLAIN.search(line):
        return call(words[1:])
    places = [os.environ.get("PRUNEKIT_COMMANDS"), str(Path(sys.executable).parent), os.environ["PATH"]]
    path = os.pathsep.join(filter(None, places))
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def call(words: list[str]) -> str:
    """Run a command of prunekit, given without its first word; names with a star are those of files."""
    words = [one for word in words for one in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
    said, noise = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(noise):
        try:
            from prunekit.cli import main

            main.main(words)
        except SystemExit as ended:
            assert not ended.code, f"{shlex.join(words)}\n{noise.getvalue()}"
    return said.getvalue()


def alike(shown: str, printed: str) -> bool:
    """Whether two outputs say the same: every word and number, but on another kind of machine decimals within 0.15.

    Training makes large differences of small ones in the rounding, and processors round sums in their own ways.
    """
    first, second = settled(shown), settled(printed)
    if run_on() == MADE_ON:
        return first == second
    pairs = list(zip(_DECIMAL.findall(" ".join(first)), _DECIMAL.findall(" ".join(second)), strict=False))
    words = [[_DECIMAL.sub("#", line) for line in lines] for lines in (first, second)]
    return words[0] == words[1] and all(abs(float(one) - float(other)) <= 0.15 for one, other in pairs)


def run_on() -> str:
    """This machine's torch, and its processor's instructions and maker, as far as the system names it."""
    facts = Path("/proc/cpuinfo")
    maker = re.search(r"vendor_id\s*:\s*(\S+)", facts.read_text() if facts.exists() else "")
    return f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()} {maker[1] if maker else ''}"


def settled(text: str) -> list[str]:
    """Lines without what may vary between two sound runs on one machine: ids, times, the room that these take."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" ─")]
    timed = 0  # the last columns of a table that hold times
    for place, line in enumerate(lines):
        if head := _TIMED.search(line):
            # a table of costs says minutes by what they are spent on
            timed = 2 if "ex/s" in head[0] else 4 if re.search(r"training +evaluation +scoring", line) else 1
        elif ": " in line:  # a sentence behind the table
            timed = 0
        elif timed and len(line.split()) > timed and re.fullmatch(r"[\d.]+", line.split()[-1]):
            lines[place] = " ".join(line.split()[:-timed])
        for pattern, plain in _VARIES:
            lines[place] = pattern.sub(plain, lines[place]).strip()
    return lines


def write(page: Path, ran: list[Block]) -> None:
    """Put what was printed where the page has an output."""
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    for block in reversed([one for one in ran if one.output is not None]):
        text = "".join(f"{line.rstrip()}\n" for line in block.printed.splitlines() if line.strip())
        lines[block.output.first + 1 : block.output.end - 1] = [text]
    page.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as made:
            shared = ROOT.parent / "shared"
            for one in ("models", "data"):
                if shared.is_dir():
                    (Path(made) / one).symlink_to(shared / one)
            ran: list[Block] = []
            try:
                ran.extend(run_page(Path(name).resolve(), Path(made), slow=True))
            finally:  # what ran before a failure is worth keeping
                write(Path(name).resolve(), ran)
