"""Nothing that is read is ever run, nothing leaves its folder or the machine, and no name steers a terminal."""

import ast
import io
import json
import os
import pickle
import random
import re
import socket
import string
import subprocess
import sys
import unicodedata
from pathlib import Path

import conftest
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from roots import ROOT
from tiny import call

from prunekit.cli import main
from prunekit.experiment import prepare, settings_io
from prunekit.experiment.settings import Experiment
from prunekit.models import load
from prunekit.support import terminal as console
from prunekit.support.errors import ConfigError, DataError, PrunekitError
from prunekit.tasks.spec import read_task

FILES = sorted(path for room in ("prunekit", "analyses", "figures") for path in (ROOT / room).rglob("*.py"))


# ---- nothing is unpickled, nothing from a checkpoint is run


def told_to_trust(tree):
    """What is given for trust_remote_code anywhere in a file, as a keyword or in a table of keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
            yield node.value
        if isinstance(node, ast.Dict):
            words = zip(node.keys, node.values, strict=True)
            yield from (
                value for key, value in words if isinstance(key, ast.Constant) and key.value == "trust_remote_code"
            )


def test_trust_remote_code_is_always_false():
    texts = (path.read_text(encoding="utf-8") for path in FILES)
    found = [value for text in texts if "trust_remote_code" in text for value in told_to_trust(ast.parse(text))]
    assert found
    assert all(isinstance(value, ast.Constant) and value.value is False for value in found)


def keys(model, name=""):
    for key, field in model.model_fields.items():
        yield key
        if hasattr(field.annotation, "model_fields"):
            yield from keys(field.annotation)


@pytest.mark.parametrize("section", ["", "model", "task", "machine", "training"])
def test_trust_remote_code_cannot_be_set_from_a_file(section, tmp_path):
    assert not any("trust" in key or "code" in key for key in keys(Experiment))
    path = tmp_path / "mine.toml"
    path.write_text((f"[{section}]\n" if section else "") + "trust_remote_code = true\n")
    with pytest.raises(ConfigError, match=r'unknown key ".*trust_remote_code"'):
        settings_io.experiment(path, {})
    path.write_text(f"{tiny.TASK}\n[hub]\npath = 'x'\ntrust_remote_code = true\n")
    with pytest.raises(ConfigError, match="trust_remote_code"):
        read_task(path)


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


CODE = "import pathlib; pathlib.Path({!r}).touch()\nclass Own: pass\n"


@pytest.fixture
def malicious(tmp_path):
    """A model folder with everything in it that careless readers run, and the file that would then be made."""
    folder, mark = tmp_path / "model", tmp_path / "was-run"
    tiny.save_model("gpt2", folder)
    bomb = pickle.dumps(Bomb(mark))
    for name in ("adapter_model.bin", "pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth"):
        (folder / name).write_bytes(bomb)
    (folder / "modeling_own.py").write_text(CODE.format(str(mark)))
    (folder / "__init__.py").write_text(CODE.format(str(mark)))
    settings = json.loads((folder / "config.json").read_text())
    settings["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM", "AutoModel"), "modeling_own.Own")
    settings["trust_remote_code"] = True
    (folder / "config.json").write_text(json.dumps(settings))
    path, own = folder / "tokenizer_config.json", {"AutoTokenizer": [None, "modeling_own.Own"]}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"trust_remote_code": True, "auto_map": own}))
    return folder, mark


OPENED: list[str] = []
_WATCHING = [False]


def _watch(event, facts):
    if _WATCHING[0] and event in ("open", "pickle.find_class", "compile"):
        OPENED.append(f"{event} {facts[0]}" if event != "pickle.find_class" else f"{event} {facts[0]}.{facts[1]}")


sys.addaudithook(_watch)


@pytest.fixture
def opened():
    """Everything that is opened or unpickled meanwhile."""
    OPENED.clear()
    _WATCHING[0] = True
    yield OPENED
    _WATCHING[0] = False


def test_a_folder_of_malicious_files_is_loaded_without_opening_one_of_them(malicious, opened):
    folder, mark = malicious
    load(str(folder))
    assert any("model.safetensors" in one or "config.json" in one for one in opened)
    odd = (".bin", ".pt", ".pth", "modeling_own.py", "__init__.py")
    assert [one for one in opened if one.endswith(odd) and str(folder) in one] == []
    assert not [one for one in opened if one.startswith("pickle.find_class")]
    assert not mark.exists()


def test_weights_that_are_only_there_as_a_pickle_are_refused_and_not_opened(malicious, opened):
    folder, mark = malicious
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=re.escape(str(folder))):
        load(str(folder))
    assert not [one for one in opened if one.endswith(".bin")]
    assert not mark.exists()


def test_a_whole_run_unpickles_nothing(malicious, tmp_path, opened):
    folder, mark = malicious
    arguments = tiny.arguments("gpt2", tmp_path / "tiny", model=folder, train_steps=2, rounds=1)
    assert call("prune", *arguments, f"--out={tmp_path / 'runs'}") == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert call("runs", "show", made) == 0
    assert call("eval", made / "seed=0" / "round=00") == 0
    assert not [one for one in opened if one.startswith("pickle.find_class")]
    assert not mark.exists()


@pytest.mark.parametrize("name", ["ticket.safetensors", "adapter_model.bin", "x.pkl"])
def test_a_pickle_offered_as_a_ticket_is_refused(name, tmp_path, opened, capsys):
    mark = tmp_path / "was-run"
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(mark)))
    assert call("eval", tmp_path / name, "--model=x", "--task=sst2") == 1
    assert name in capsys.readouterr().err
    assert not mark.exists()
    assert not [one for one in opened if one.startswith("pickle.find_class")]


# ---- no network


def test_an_attempt_to_connect_would_be_seen():
    before = len(conftest.connections)
    with socket.socket() as one, pytest.raises(OSError):
        one.settimeout(0.01)
        one.connect(("192.0.2.1", 9))  # an address that is nobody's
    assert [address for _, address in conftest.connections[before:]] == [("192.0.2.1", 9)]
    del conftest.connections[before:]


# ---- hostile strings: the terminal

_CONTROLS = [chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))]
_HIDDEN = ["\u202e", "\u2066", "\u200b", "\u200f", "\ufeff", "\u2028", "\u2029", "\U000e0041", "\ud800", "\udfff"]
_SEQUENCES = [
    "\x1b[31m", "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]8;;http://x\x07y\x1b]8;;\x07", "\x1b[6n", "\x1bP$q\x1b\\",
    "\x9b31m", "\x1b]52;c;Zm9v\x07", "\r\x1b[K", "\x08\x08\x08rm", "\x1bc", "\x1b[?1049h", "\x1b_G\x1b\\",
]  # fmt: skip
_MARKUP = [
    "<script>alert(1)</script>", "</script><script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)",
    "{{7*7}}", "[red]x[/red]", "[/]", "[link=http://x]y[/link]", ":bomb:", "%s%n", "${HOME}", "`id`", "$(id)",
    "'; DROP TABLE", "\\x1b[31m",
]  # fmt: skip


def payloads(count=200):
    """Seeded texts that mix words with what terminals, pages and shells act on."""
    chance = random.Random("payloads")
    parts = _CONTROLS + _HIDDEN + _SEQUENCES * 4 + _MARKUP * 2
    made = [*_SEQUENCES, *_MARKUP]
    while len(made) < count:
        words = [
            chance.choice(parts) if chance.random() < 0.6 else chance.choice(["good", "ä", " ", "x"]) for _ in range(6)
        ]
        made.append("".join(words))
    return made


def harmless(text):
    """Whether a terminal only shows it: no control character but the end of a line, nothing that turns direction."""
    return all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in text)


def test_the_payloads_are_dangerous():
    assert sum(not harmless(one) for one in payloads()) > 150


def test_two_hundred_payloads_are_harmless_wherever_they_are_shown(capsys):
    screen, made = console.Screen(), payloads()
    for text in made:
        screen.say(text)
        console.write(text)
        console.show([text, "n"], [[text, "1"], [""], ["x", text]], title=text)
        with screen.track(text, 2) as tick:
            tick(2)
        for error in (ConfigError(text), OSError(28, text, text), ValueError(text), KeyError(text)):
            main._report(error)
    said = capsys.readouterr()
    assert harmless(said.out)
    assert harmless(said.err)
    assert len(made) == 200


def test_markup_and_emoji_names_are_shown_as_they_are(capsys):
    console.Screen().say("[red]x[/red] :bomb: [/]")
    console.show([":bomb:"], [["[/]"]], title="[b]t")
    said = capsys.readouterr()
    assert "[red]x[/red] :bomb: [/]" in said.err
    assert ":bomb:" in said.out
    assert "[b]t" in said.out


def test_a_progress_bar_shows_its_title_as_it_is():
    from rich.console import Console

    screen, shown = console.Screen(), io.StringIO()
    screen.console = Console(file=shown, force_terminal=True, markup=False, emoji=False, width=100)
    for title in ("[red]x[/red]", "[/]", "a\x1b[31mb"):
        with screen.track(title, 2) as tick:
            tick(1)
    assert "\x1b[31mb" not in shown.getvalue()
    assert "[/]" in shown.getvalue()


@pytest.mark.parametrize(("debug", "every"), [(False, 40), (True, 80), pytest.param(False, 1, marks=pytest.mark.slow)])
def test_payloads_in_tasks_labels_names_and_errors_come_out_harmless(debug, every, tmp_path, capsys):
    """Through the command line: in a task's description, label words, aliases and data, as a task, model and run."""
    data = tiny.save_task(tmp_path / "toy").parent
    tiny.save_model("gpt2", tmp_path / "model")
    capsys.readouterr()
    for number, text in enumerate(payloads()[::every]):
        quoted = json.dumps(text.encode("utf-16", "ignore").decode("utf-16"))  # TOML reads JSON's escapes
        task = tmp_path / f"task-{number}.toml"
        task.write_text(
            f'name = "toy"\ndescription = {quoted}\ntemplate = "{{sentence}} :"\n'
            f'[choices]\ngood = {quoted}\nbad = "bad"\n[aliases]\nbad = ["b", {quoted}]\n'
        )
        name = f"x{text}".replace("\x00", "").replace("\ud800", "").replace("\udfff", "")
        common = [f"--data={data}", "--train-steps=1", "--dry-run", *(["--debug"] if debug else [])]
        call("prune", f"--task={task}", f"--model={tmp_path / 'model'}", "--pieces=4", "--prompt-tokens=4", *common)
        call("prune", f"--task={name}", "--model=x", *common)
        call("prune", f"--task={task}", f"--model={name}", *common)
        call("runs", "show", tmp_path / name)
        call("eval", tmp_path / name)
        row = {"sentence": text, "label": text}
        (data / "train.jsonl").write_text(json.dumps(row) + "\n")
        call("prune", f"--task={task}", f"--model={tmp_path / 'model'}", *common)
    said = capsys.readouterr()
    assert harmless(said.err), next(line for line in said.err.splitlines() if not harmless(line))
    assert harmless(said.out)
    assert ("Traceback" in said.err) == debug


@pytest.mark.parametrize(
    ("text", "encoding"), tiny.in_turn(["a\x9b31m\u202eb", "größer \U0001f600", "\x7f"], ["utf-8", "ascii"])
)
def test_predicted_labels_stay_json_and_harmless_on_every_terminal(text, encoding, tmp_path, monkeypatch):
    from prunekit.cli.predict import predict
    from prunekit.experiment.api import predict as library

    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding=encoding, errors="backslashreplace")  # as the command line sets it
    monkeypatch.setattr(sys, "stdout", terminal)
    answers = [{"index": 0, "answer": text, "choice": 0, "score": 0.5}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "predict", lambda *given, **more: answers)
        predict(tmp_path, tmp_path)
    terminal.flush()
    out = written.getvalue().decode(encoding)
    assert harmless(out)
    assert json.loads(out)["answer"] == text


def test_output_that_the_terminal_cannot_show_is_no_reason_to_fail():
    code = "from prunekit.cli import main\nfrom prunekit.support import terminal\n"
    code += "class C: main = lambda self, *a, **k: terminal.write('ä ✓')\n"
    code += "main.typer.main.get_command = lambda app: C()\nmain.main([])\n"
    own = os.environ | {"PYTHONIOENCODING": "ascii"}
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=own)
    assert made.stdout == b"\\xe4 \\u2713\n"


# ---- hostile strings: names of runs


_NAMES = st.one_of(
    st.text(max_size=300),
    st.lists(
        st.sampled_from(["..", "/", "\\", ".", "~", "\x00", "a", "%2e", "\u2024", "C:", "\n", " ", "-"]), max_size=12
    ).map("".join),
    st.sampled_from(
        ["../" * 40 + "etc/passwd", "/etc/passwd", "..", ".", "", "-rf", "~root", "con", "a" * 5000, "\u0661"]
    ),
)


@settings(max_examples=10 * settings().max_examples, deadline=None, derandomize=True)
@given(task=_NAMES, model=_NAMES)
def test_names_of_runs_never_leave_their_folder(task, model):
    """Each of hundreds of generated names (a thousand at night) is one plain, visible part of a path, and short."""
    slugs = [prepare._slug(one) for one in (task, model.rstrip("/").rsplit("/", 1)[-1], "direct")]
    name = "-".join((*slugs, "0123abcd"))
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name)
    assert len(name) <= 200
    folder = Path("/some/runs")
    assert (folder / name).resolve().parent == folder
    assert not name.startswith(("-", "."))


def test_task_names_of_files_are_plain(tmp_path):
    path = tmp_path / "t.toml"
    names = [
        "../up",
        "/abs",
        "a/../b",
        "a//b",
        ".hidden",
        "a\n",
        "a b",
        "ä",
        "",
        "-rf",
        "a/",
        "a\\b",
        "x" * 20 + "\x00",
    ]
    for name in names:
        path.write_text(tiny.TASK.replace('name = "toy"', f"name = {json.dumps(name)}"))
        with pytest.raises(PrunekitError, match=r"t\.toml"):
            read_task(path)


def test_the_alphabet_of_names_is_plain():
    assert prepare._slug(string.printable) == prepare._slug(string.printable).strip(".-")
