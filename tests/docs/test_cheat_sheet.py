"""The cheat sheet: what a stranger wants is one line each; that the lines run is shown with all other pages' blocks."""

import ast

import pytest
from docs_blocks import ROOT, blocks

from prunekit.cli.app import VERBS

PAGE = ROOT / "docs" / "cheat-sheet.md"
SHELL = "\n".join(block.text for block in blocks(PAGE) if block.language == "bash")
#: The first block makes what the others need: a model, its tokenizer and a text.
_, *PYTHON = [block for block in blocks(PAGE) if block.language == "python"]
LINES = [line for block in PYTHON for line in block.text.splitlines()]
WISHES = {
    "load a run": "pk.load(",
    "best ticket": "run.best)",
    "its mask": "run.best.mask",
    "scores as a table": "run.scores",
    "curve picture": "run.plot.curves()",
    "compare two runs": "run.compare(",
    "attach and generate": "run.best.attach(model).generate(",
    "export": "run.best.export(",
}


@pytest.mark.parametrize("wish", WISHES)
def test_what_a_stranger_wants_is_one_line(wish):
    (line, *_) = [line for line in LINES if WISHES[wish] in line]
    assert len(ast.parse(line).body) == 1
    assert len(line) <= 100


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_the_command_line_has_a_line_with_its_purpose(verb):
    lines = [line for line in SHELL.splitlines() if line.startswith(f"prunekit {verb} ") or line == f"prunekit {verb}"]
    assert lines != []
    assert all(line.partition("# ")[2] for line in lines)
