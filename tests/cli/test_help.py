"""Help fits a screen and says everything when it is asked to; a wrong verb is answered by a right one."""

import os
import re
import subprocess
import sys

import pytest
import typer
from tiny import call

from prunekit import __version__
from prunekit.cli.app import VERBS, build_app
from prunekit.cli.usual import MEANT, USUAL
from prunekit.prompts import METHODS

SHORT = [name for name in USUAL if USUAL[name].flags]


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def shown(capsys):
    """What a command prints, its lines."""

    def of(*words):
        capsys.readouterr()
        assert call(*words) == 0
        return capsys.readouterr().out.splitlines()

    return of


@pytest.fixture(scope="module")
def commands():
    return typer.main.get_command(build_app()).commands


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_fits_a_screen(verb, shown):
    lines = shown(verb, "--help")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert lines == shown(verb, "-h")


def test_the_list_of_verbs_fits_a_screen_and_a_bare_call_shows_it(shown):
    lines = shown("--help")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert shown() == lines
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(VERBS)


@pytest.mark.parametrize("verb", SHORT)
def test_what_the_short_help_names_is_a_flag_with_that_default(verb, commands):
    options = {option.name: option for option in commands[verb].params}
    for name, (flag, text) in USUAL[verb].flags.items():
        assert flag.split()[0] in options[name].opts
        if default := re.search(r"\(default: .*\)$", text):
            assert (options[name].help or "").endswith(default.group())


@pytest.mark.parametrize("verb", SHORT)
def test_the_whole_help_has_every_flag_and_breaks_no_word(verb, shown, commands):
    text = "\n".join(shown(verb, "--help-all"))
    assert all(option.opts[0] in text for option in commands[verb].params)
    words = set(re.findall(r"[\w-]+", text))
    assert set(METHODS) <= words or verb == "compare"
    assert max(map(len, text.splitlines())) <= 80


def test_verbs_that_use_a_ticket_show_no_setting_until_they_are_asked(shown):
    for verb in ("eval", "predict", "score", "export"):
        assert "--max-input-tokens" not in "\n".join(shown(verb, "--help"))
        assert "--max-input-tokens" in "\n".join(shown(verb, "--help-all"))


@pytest.mark.parametrize("word", MEANT)
def test_what_others_call_a_verb_is_answered_by_its_name(word, capsys, commands):
    assert call(word) == 2
    said = capsys.readouterr().err
    verb = MEANT[word][0]
    assert f"`prunekit {verb}`" in said
    assert verb.split()[0] in commands
    assert said.count("\n") == 1


def test_a_slip_is_answered_by_the_nearest_verb(capsys):
    assert call("runs", "lst") == 2
    assert 'there is no "prunekit runs lst"; did you mean "list"?' in capsys.readouterr().err


@pytest.mark.parametrize(("words", "line"), [
    (("predict", "a", "b", "--ot", "x"), "No such option: --ot (Possible options: --out, --task, --text); see"),
    (("predict",), "Missing argument 'ticket'; see"),
])  # fmt: skip
def test_wrong_words_are_answered_with_the_help_of_their_verb(words, line, capsys):
    assert call(*words) == 2
    assert capsys.readouterr().err == f"prunekit: {line} `prunekit {words[0]} --help`\n"


def test_every_verb_takes_where_it_writes_by_one_letter_too(commands):
    options = [option for command in commands.values() for option in command.params if "--out" in option.opts]
    assert len(options) >= 10
    assert all("-o" in option.opts for option in options)


def test_the_version_is_told(shown):
    assert shown("--version") == [f"prunekit {__version__}"]


def test_a_shell_completes_verbs_and_flags():
    def completed(line):
        words = line.split()
        asked = dict(_PRUNEKIT_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
        command = [sys.executable, "-m", "prunekit"]
        result = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
        return result.stdout.split()

    assert completed("prunekit pr") == ["prune", "predict", "presets"]
    assert "--keep-tokens" in completed("prunekit prune --keep")
