"""Every code block of README and the documentation runs, and prints what stands beside it."""

import csv
import json
import re
import shlex
import tomllib
from functools import cache
from itertools import takewhile
from pathlib import Path

import docs_blocks
import pytest
import tiny
import typer
from docs_blocks import PAGES, ROOT, blocks, run_page

from prunekit.cli.app import build_app
from prunekit.experiment import settings_io

# what a block may be; a text is always the output of another
LANGUAGES = ("python", "bash", "toml", "json", "jsonl", "csv", "text", "bibtex")
EVERY = [block for page in PAGES for block in blocks(page)]
#: Blocks that no machine without a network or a cluster can run. One more needs a reason here, and a larger number.
CANNOT_RUN = 24


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def with_blocks(slow: bool) -> list[Path]:
    """The pages that have something to run, in the quick tests or in the slow ones alone."""
    runs = [block for block in EVERY if block.language in docs_blocks.RUN and "parsed" not in block.marks]
    return sorted({block.page for block in runs if ("slow" in block.marks) == slow})


def compared(page: Path, folder: Path, slow: bool) -> None:
    for block in run_page(page, folder, slow):
        if block.output is not None:
            shown = block.output.text
            assert docs_blocks.alike(shown, block.printed), f"{block} printed\n{block.printed}\nand not\n{shown}"


QUICK = with_blocks(slow=False)
BY_DAY = [page for page in QUICK if page.parent.name != "how-to"]  # whose flags the gate checks all the same


@pytest.mark.gate
@pytest.mark.parametrize("page", tiny.by_day(QUICK, BY_DAY), ids=named)
def test_the_blocks_of_a_page_run_and_print_what_it_says(page, forks, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNEKIT_COMMANDS", str(forks.commands))  # a shell's `prunekit` starts in milliseconds too
    compared(page, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PEFT's and transformers' own, others in every version
@pytest.mark.parametrize("page", with_blocks(slow=True), ids=named)
def test_the_long_blocks_of_a_page_run_too(page, tmp_path, request):
    if any("needs" in block.marks for block in blocks(page)):
        shared = request.getfixturevalue("shared")
        for name in ("models", "data"):
            (tmp_path / name).symlink_to(shared / name)
    compared(page, tmp_path, slow=True)


@pytest.mark.parametrize("page", sorted({block.page for block in EVERY}), ids=named)
def test_blocks_are_of_kinds_that_are_checked(page):
    for block in blocks(page):
        check_form(block)


def check_form(block):
    assert block.language in LANGUAGES, f"{block}: its language is {block.language!r}"
    assert block.language != "text", f"{block}: a text is an output, and says so"
    assert block.output is None or block.language in docs_blocks.RUN
    match block.language:
        case "python":
            compile(block.text, str(block), "exec")
        case "toml":
            tomllib.loads(block.text)
        case "json":
            json.loads(block.text)
        case "csv":
            assert len({len(row) for row in csv.reader(block.text.splitlines(), strict=True)}) == 1
        case "jsonl":
            assert all(isinstance(json.loads(line), dict) for line in block.text.splitlines())


def test_few_blocks_cannot_run_and_each_says_why():
    unrun = [block for block in EVERY if "parsed" in block.marks]
    assert all(len(block.marks["parsed"].split()) >= 3 for block in unrun), "say why it cannot run"
    assert len(unrun) == CANNOT_RUN, [str(block) for block in unrun]


def ours(block) -> list[list[str]]:
    """The words behind `prunekit` of every command of a block that is ours."""
    found = []
    for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
        words = shlex.split(line, comments=True)
        for place, word in enumerate(words):
            if word.rpartition("/")[2] in ("prunekit", "prunekit.cli.main"):
                found.append(list(takewhile(lambda one: one not in (">", "2>&1", "|", "&&", ";"), words[place + 1 :])))
    return found


@cache
def command_line():
    return typer.main.get_command(build_app())


SHELL = [block for block in EVERY if block.language == "bash" and "copy" not in block.marks and ours(block)]


@pytest.mark.parametrize("page", sorted({block.page for block in SHELL}), ids=named)
def test_the_command_line_knows_every_verb_and_flag_that_is_shown(page):
    for words in [words for block in SHELL if block.page == page for words in ours(block)]:
        check_words(words)


def check_words(words):
    command, name = command_line(), "prunekit"
    while words and words[0] in getattr(command, "commands", {}):
        name = words[0]
        command, words = command.commands[name], words[1:]
    if words in (["--help"], []):
        return
    assert not getattr(command, "commands", {}), f"{name} has no {words[0]}"
    given = command.make_context(name, list(words)).params  # raises at a flag that is not there
    if name in ("prune", "search", "tune", "compare"):
        known = settings_io.names()
        given.pop("score" if ":" in str(given.get("score")) else "", None)  # of a file that the page has, not we
        settings_io.experiments(None, {key: value for key, value in given.items() if key in known})


def test_two_outputs_are_alike_up_to_times_and_ids():
    shown = "round  report   s  ex/s\n─────\n 0  0.705  17  210\nwritten to runs/toy-direct-c8a633e5 in 2.5 seconds"
    other = "round report s ex/s\n 0  0.705 9 98\nwritten to runs/toy-direct-00a633e5 in 31 seconds"
    assert docs_blocks.alike(shown, other)
    assert not docs_blocks.alike(shown, other.replace("0.705", "0.905"))
    assert not docs_blocks.alike(shown, other.replace("report", "reports"))


def test_a_missing_or_wrong_output_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(docs_blocks, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n<!-- output -->\n```text\n3\n```\n")
    (block,) = run_page(page, tmp_path, slow=False)
    assert (block.printed, block.output.text) == ("2\n", "3\n")
    with pytest.raises(AssertionError, match="printed"):
        compared(page, tmp_path, slow=False)
    docs_blocks.write(page, [block])
    compared(page, tmp_path, slow=False)
