"""What strangers hand over: run directories, adapters, grids and names. None of it is run, none of it believed."""

import ast
import json
import pickle
import shutil

import architectures as arch
import chromium
import pandas as pd
import pytest
import tiny
from sweeps import of_text
from test_html import PAYLOADS, Reader
from test_mutations_elsewhere import CONFIG, SIDE, TENSORS, foreign
from test_report_browser import silent
from test_security import Bomb, harmless, malicious, opened, payloads  # noqa: F401 (two fixtures)
from tiny import call

from prunekit import export
from prunekit.experiment.sweep.jobs import Outcome
from prunekit.experiment.sweep.sweep import SweepResult
from prunekit.export import TicketInfo
from prunekit.export.card import card
from prunekit.plots.report import sweep_page
from prunekit.runs.run import Run
from prunekit.support.errors import ConfigError

# ---- code


def nothing_ran(opened, mark):  # noqa: F811 (the fixture's value)
    assert not [one for one in opened if one.startswith("pickle.find_class")]
    assert not [one for one in opened if one.endswith((".bin", ".pt", ".pth", ".pkl", "modeling_own.py"))]
    assert not mark.exists()


def plant(opened, mark, folder, *names):  # noqa: F811
    """Pickles that would tell; that they are written here does not count as opened."""
    before = len(opened)
    for name in names:
        (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    del opened[before:]


def verbs(finished, folder):
    """Every verb that reads a finished round or a run, with what it needs."""
    rows = folder / "rows.jsonl"
    rows.write_text('{"sentence": "w1 w7"}\n')
    run = finished.parents[1]
    yield "eval", finished
    yield "predict", finished, rows
    yield "score", finished, "--kind=leave-one-out"
    yield "runs", "show", run
    yield "runs", "verify", run
    yield "export", finished, "--no-verify", f"--out={folder / 'adapter'}"
    yield "import", folder / "adapter", "--pieces=4", f"--out={folder / 'a.ticket'}"
    yield "eval", folder / "a.ticket", f"--data={folder / 'tiny' / 'toy'}"


def test_no_verb_unpickles_or_runs_what_lies_beside_a_model_or_an_adapter(malicious, tmp_path, opened):  # noqa: F811
    model, mark = malicious
    arguments = tiny.arguments("gpt2", tmp_path / "tiny", model=model, train_steps=2, rounds=1)
    assert call("prune", *arguments, f"--out={tmp_path / 'runs'}") == 0
    (run,) = (tmp_path / "runs").iterdir()
    finished = run / "seed=0" / "round=00"
    for place in (run, finished):
        plant(opened, mark, place, "adapter_model.bin", "rng_state.pth", "optimizer.pt", "x.pkl")
    for verb in verbs(finished, tmp_path):
        if verb[0] == "import":
            plant(opened, mark, verb[1], "adapter_model.bin", "pytorch_model.bin", "x.pkl")
        # what was planted is no part of the run, which verify says
        assert call(*verb) == (1 if verb[:2] == ("runs", "verify") else 0), verb
    nothing_ran(opened, mark)


@pytest.mark.slow
def test_no_longer_verb_unpickles_or_runs_what_lies_beside_a_model(malicious, tmp_path, opened):  # noqa: F811
    model, mark = malicious
    flags = dict(model=model, train_steps=2, evaluate_every=1, rounds=None, keep_tokens=None, grid="token")
    search = tiny.arguments("gpt2", tmp_path / "tiny", **flags)
    assert call("search", *search, f"--out={tmp_path / 'runs'}") == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert call("report", run, "-o", tmp_path / "report.html") == 0
    compare = tiny.arguments("gpt2", tmp_path / "tiny", **(flags | dict(grid=None, rank=2)))
    assert call("compare", *compare, "--methods=direct,dpt", f"--out={tmp_path / 'compared'}") == 0
    nothing_ran(opened, mark)


def test_a_foreign_adapters_pickle_is_not_opened_though_it_lies_beside_its_tensors(tmp_path, opened):  # noqa: F811
    folder, mark = foreign(tmp_path / "a", "gpt2"), tmp_path / "was-run"
    plant(opened, mark, folder, "adapter_model.bin", "training_args.bin", "scheduler.pt")
    export.read_adapter(str(folder), pieces=4)
    nothing_ran(opened, mark)
    assert any(one.endswith(TENSORS) for one in opened)


# ---- trust


@pytest.mark.parametrize(
    "text",
    [
        "[model]\ntrust_remote_code = true\n",
        "[model]\ntrust_remote_code = [true, false]\n",
        "[[model]]\nname = 'testbed'\ntrust_remote_code = true\n",
        "[sweep]\ntrust_remote_code = true\n",
        "[[sweep.include]]\nmodel.trust_remote_code = true\n",
        "trust_remote_code = true\n",
    ],
)
def test_no_grid_sets_trust(text, tmp_path):
    with pytest.raises(ConfigError, match="trust_remote_code"):
        of_text(tmp_path, text)


def test_no_run_directory_sets_trust(malicious, tmp_path, capsys):  # noqa: F811
    """Its settings are sealed by whoever made it, so that a stranger's may hold anything."""
    model, mark = malicious
    arguments = tiny.arguments("gpt2", tmp_path / "tiny", model=model, train_steps=2, rounds=1)
    assert call("prune", *arguments, f"--out={tmp_path / 'runs'}") == 0
    (made,) = (tmp_path / "runs").iterdir()
    run = Run.open(made)
    settings = run.settings()
    for place in ("model", "task", "machine"):
        settings[place] |= {"trust_remote_code": True, "code_revision": "main"}
    run.write_settings(settings | {"trust_remote_code": True})
    call("eval", made / "seed=0" / "round=00")
    assert not mark.exists()
    assert "Traceback" not in capsys.readouterr().err


def test_no_adapter_sets_trust(malicious, tmp_path):  # noqa: F811
    model, mark = malicious
    folder = foreign(tmp_path / "a", "gpt2")
    settings = json.loads((folder / CONFIG).read_bytes())
    own = {"parent_library": "modeling_own", "base_model_class": "Own"}
    trust = {"tokenizer_kwargs": {"trust_remote_code": True}, "auto_mapping": own}
    settings |= trust | {"base_model_name_or_path": str(model)}
    out = tmp_path / "a.ticket"
    (folder / CONFIG).write_text(json.dumps(settings | {"trust_remote_code": True}))
    assert call("import", folder, "--pieces=4", f"--out={out}") == 2
    (folder / CONFIG).write_text(json.dumps(settings))
    assert call("import", folder, "--pieces=4", f"--out={out}") == 0
    task = tiny.save_task(tmp_path / "toy")
    assert call("eval", out, f"--model={model}", f"--task={task}", f"--data={task.parent}") == 0
    assert not mark.exists()


# ---- names and texts, in what is written for people

HOSTILE = [
    'x"); import os; os.system("touch was-run"); ("', "x'''\n```\n\n```python\nimport os\n", '"""', "\\", '\\"', "`",
    "``` \n```python\nopen('was-run', 'w')\n```", "</code><script>alert(1)</script>", "{0.__class__}", "{{7*7}}",
    "a\rb", "\n---\nlicense: evil\n---\n", "[x](javascript:alert(1))", "\x1b[2J", "\u202e", "\u2028import os",
]  # fmt: skip


def shape(python):
    """A program with every text in it left out."""
    tree = ast.parse(python)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def fenced(markdown):
    """The blocks of code of a card, as CommonMark has them."""
    blocks, inside = [], None
    for line in markdown.split("\n"):
        if line.startswith("```"):
            blocks, inside = (blocks, []) if inside is None else ([*blocks, "\n".join(inside)], None)
        elif inside is not None:
            inside.append(line)
    assert inside is None
    return blocks


@pytest.mark.parametrize("kind", ["CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS"])
def test_a_cards_code_is_the_same_program_whatever_names_it_holds(kind):
    ticket = arch.ticket(arch.frozen("bert" if kind == "SEQ_CLS" else "gpt2"))

    def made(text):
        template = text.replace("{", "{{").replace("}", "}}") + "{field}"  # a task file's is checked to be one
        story = TicketInfo(text, text, text, template, (text, "b"), (text, "c"), metrics={text: 0.5})
        return card(kind, ticket, story)

    (plain,) = fenced(made("x"))
    lines = len(made("x").split("\n"))
    for text in HOSTILE + PAYLOADS[:15]:
        found = made(text)
        (code,) = fenced(found)
        assert shape(code) == shape(plain), text
        assert len(found.split("\n")) == lines, text
        assert [line for line in found.split("\n") if line == "---"] == ["---", "---"], text


def hostile_sweep(folder, text):
    """The page of a sweep whose names, labels, numbers and failures are a stranger's."""
    names = json.dumps([f"{text} 1", f"{text} 2"])
    found = of_text(folder, f"[model]\nname = {names}\n[task]\nname = {json.dumps(text)}\n")
    short = [found.values(one) | {"metric": text, "seeds": 1, "stopped": 0} for one in found.experiments]
    table = pd.DataFrame([{"directory": text, "stage": text, "arm": text, "status": text, f"test_{text}": 0.5}])
    failed = [Outcome("k", text, failed=f"ValueError: {text}")]
    return sweep_page.html(SweepResult(text, found, tuple(short), table, tuple(failed), folder))


def test_a_hostile_sweep_stays_text(tmp_path):
    tags = [tag for tag, _ in Reader(hostile_sweep(tmp_path, "x")).found]
    for text in PAYLOADS[::5]:
        if "\x00" not in text:  # no TOML holds one
            assert [tag for tag, _ in Reader(hostile_sweep(tmp_path, text)).found] == tags, text


@pytest.mark.slow
@pytest.mark.skipif(chromium.program() is None, reason="no chromium is installed: apt-get install chromium")
def test_a_hostile_sweep_is_inert_in_a_browser(tab, tmp_path):
    for place, payload in enumerate(PAYLOADS[::10]):
        text = payload.replace("alert(1)", "document.title='run'").replace("\x00", "")
        file = tmp_path / f"{place}.html"
        file.write_text(hostile_sweep(tmp_path, text), encoding="utf-8")
        tab.open(file)
        assert tab.run("document.title") != "run"
        silent(tab)


@pytest.mark.parametrize("every", tiny.at_night(80, 20))
def test_a_strangers_run_is_harmless_in_the_terminal_whatever_verb_reads_it(every, folder, tmp_path, capsys):
    """Names of its model, task, stage and reasons, sealed as a stranger would."""
    arguments = tiny.arguments("gpt2", folder, train_steps=2, rounds=1)
    assert call("prune", *arguments, f"--out={tmp_path / 'runs'}") == 0
    (plain,) = (tmp_path / "runs").iterdir()
    capsys.readouterr()
    for number, text in enumerate(payloads()[::every]):
        shown = text.encode("utf-16", "ignore").decode("utf-16").replace("\x00", "")
        made = tmp_path / f"run-{number}"
        shutil.copytree(plain, made)
        run = Run.open(made)
        settings = run.settings()
        settings["model"]["name"] = settings["task"]["name"] = settings["metric"] = shown
        settings["task"]["data"] = settings["prompt"]["init_text"] = shown
        run.write_settings(settings)
        for verb in (("runs", "show", made), ("runs", "compare", made, plain), ("eval", made / "seed=0" / "round=00")):
            call(*verb)
        call("export", made / "seed=0" / "round=00", f"--out={tmp_path / 'adapter'}", "--no-verify")
        call("runs", "list", f"--out={tmp_path}")
    said = capsys.readouterr()
    assert harmless(said.out)
    assert harmless(said.err), next(line for line in said.err.splitlines() if not harmless(line))
    assert "Traceback" not in said.err


def test_a_side_files_words_are_data(tmp_path):
    bone = arch.frozen("gpt2")
    for text in HOSTILE:
        files = export.adapter_files(arch.ticket(bone), bone, TicketInfo(text, text, text, "{a}", (text, "b")))
        told = json.loads(files[SIDE])["about"]
        assert (told["model"], told["choices"]) == (text, [text, "b"])
        assert json.loads(files[CONFIG])["base_model_name_or_path"] == text
