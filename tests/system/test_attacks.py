"""The attack list through the command line: one line at once, nothing of the user's touched, no memory taken."""

import json
import os
import resource
import shutil
import time

import pytest
import tiny
from test_reading import packed
from tiny import call

GB = 2**30
PEFT = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run, its ticket's round, a task's folder and rows to predict."""
    folder = tmp_path_factory.mktemp("attacked")
    flags = tiny.arguments("gpt2", folder, train_steps=2, rounds=1)
    assert call("prune", *flags, f"--out={folder / 'runs'}") == 0
    (run,) = (folder / "runs").iterdir()
    rows = folder / "rows.jsonl"
    rows.write_text('{"sentence": "w1 w7"}\n{"sentence": "w0"}\n')
    return {"folder": folder, "flags": flags, "run": run, "rows": rows}


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made["run"], tmp_path / made["run"].name)


def pipe(path):
    os.mkfifo(path)


def sparse(path):
    with path.open("wb") as file:
        file.truncate(10 * GB)


def device(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


ODD = [pipe, sparse, device, folder]
READ = ["experiment", "grid", "task", "data", "rows", "ticket", "adapter", "model"]
OF_A_ROUND = [f"seed=0/round=00/{name}" for name in ("MANIFEST.json", "ticket.safetensors")]
OF_A_RUN = ["experiment.toml", "journal.json", *OF_A_ROUND, "results.parquet"]


def refused(capsys, *words):
    """The one line of a command that ends at once and takes no memory."""
    capsys.readouterr()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    code = call(*words)
    assert time.perf_counter() - began < 20  # a model may have been loaded; a pipe would hold it for ever
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prunekit: ")]
    assert len(said) == 1
    assert code in (1, 2)
    assert "should not happen" not in said[0]
    return said[0]


@pytest.mark.parametrize(("what", "make"), tiny.in_turn(READ, ODD))
@pytest.mark.timeout(60)
def test_what_is_no_file_is_refused_wherever_a_file_is_read(what, make, made, tmp_path, capsys):
    flags = made["flags"]
    path, data, adapter, model = (tmp_path / name for name in ("odd.toml", "data", "adapter", "model"))
    words = {
        "experiment": ["prune", f"--experiment={path}"],
        "grid": ["sweep", path, f"--out={tmp_path / 'runs'}"],
        "task": ["prune", *flags, f"--task={path}"],
        "data": ["prune", *flags, f"--data={data}", f"--out={tmp_path / 'runs'}"],
        "rows": ["predict", made["run"] / "seed=0" / "round=00", path],
        "ticket": ["eval", path],
        "adapter": ["import", adapter, f"--out={tmp_path / 'x.ticket'}"],
        "model": ["prune", *flags, f"--model={model}", f"--out={tmp_path / 'runs'}"],
    }
    if what == "data":
        shutil.copytree(made["folder"] / "toy", data)
        path = data / "train.jsonl"
    elif what == "adapter":
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text(json.dumps(PEFT | {"num_virtual_tokens": 2}))
        path = adapter / "adapter_model.safetensors"
    elif what == "model":
        shutil.copytree(made["folder"] / "model-gpt2", model)
        path = model / "config.json"
    path.unlink(missing_ok=True)
    make(path)
    assert refused(capsys, *words[what])
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/experiment.toml"))


@pytest.mark.parametrize(("name", "make"), tiny.in_turn(OF_A_RUN, ODD))
def test_what_is_no_file_in_a_run_is_one_line_of_verify(name, make, run, capsys):
    (run / name).unlink()
    make(run / name)
    assert call("runs", "verify", run) == 1
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{run / name}: ") for line in said)


@pytest.mark.parametrize(
    "tensors",
    [
        {"prompt_embeddings": [10**8, 0]},
        {"prompt_embeddings": [0, 10**8]},
        {"prompt_embeddings": [10**9, 10**9]},
        {"state.values": [10**8, 0], "mask.token": [10**8], "mask.piece": [10**8, 0]},
        {"state.values": [10**8, 0], "mask.token": [0], "mask.piece": [0, 10**8]},
    ],
)
def test_a_claim_of_a_large_shape_takes_no_memory(tensors, made, tmp_path, capsys):
    content = packed(
        {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in tensors.items()}
    )
    (tmp_path / "adapter_model.safetensors").write_bytes(content)
    (tmp_path / "adapter_config.json").write_text(json.dumps(PEFT | {"num_virtual_tokens": 10**8}))
    refused(capsys, "import", tmp_path, f"--out={tmp_path / 'x.ticket'}")
    refused(capsys, "eval", tmp_path / "adapter_model.safetensors", "--model=x", "--task=sst2")


def test_a_run_whose_results_lead_elsewhere_is_not_resumed_and_what_they_lead_to_stays(made, tmp_path, capsys):
    runs = tmp_path / "runs"
    shutil.copytree(made["folder"] / "runs", runs)
    (path,) = runs.iterdir()
    elsewhere = tmp_path / "thesis.parquet"
    elsewhere.write_text("years of work")
    (path / "results.parquet").unlink()
    (path / "results.parquet").symlink_to(elsewhere)
    line = refused(capsys, "prune", *made["flags"], f"--out={runs}")
    assert f"{path / 'results.parquet'}: a link, and inside a run none is followed" in line
    assert elsewhere.read_text() == "years of work"


def test_a_round_that_is_a_link_is_refused_by_name(run, tmp_path, capsys):
    (run / "seed=0" / "round=00").rename(tmp_path / "elsewhere")
    (run / "seed=0" / "round=00").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    for words in (["runs", "show", run], ["report", run, f"--out={tmp_path / 'x.html'}"]):
        assert f"{run / 'seed=0' / 'round=00'}: a link" in refused(capsys, *words)


# what is written, and onto what
OVER = {
    "report onto the results": "report {run} --out={run}/results.parquet",
    "report onto a user's page": "report {run} --out={notes}/README.md",
    "predict onto its rows": "predict {ticket} {rows} --out={rows}",
    "predict onto a link to its rows": "predict {ticket} {rows} --out={link}",
    "predict onto a user's file": "predict {ticket} {rows} --out={notes}/README.md",
    "export beside a user's README": "export {ticket} --out={notes}",
    "export into a round": "export {ticket} --out={ticket}",
}


@pytest.mark.parametrize("case", OVER)
def test_nothing_of_the_users_or_of_a_run_is_written_over(case, made, run, tmp_path, capsys):
    own = {name: tmp_path / name for name in ("rows", "link", "notes")}
    shutil.copyfile(made["rows"], own["rows"])
    own["link"].symlink_to(own["rows"])
    own["notes"].mkdir()
    (own["notes"] / "README.md").write_text("# mine\n")
    before = tiny.contents(tmp_path)
    line = refused(capsys, *OVER[case].format(run=run, ticket=run / "seed=0" / "round=00", **own).split())
    assert "--out" in line
    assert tiny.contents(tmp_path) == before


def test_what_prunekit_wrote_is_written_again_without_asking(few, made, run, tmp_path):
    ticket, page, answers = run / "seed=0" / "round=00", tmp_path / "page.html", tmp_path / "answers.jsonl"
    assert call("report", run, f"--out={page}") == 0
    for _ in range(2):
        assert call("predict", ticket, made["rows"], f"--out={answers}") == 0
        assert call("export", ticket, f"--out={tmp_path / 'adapter'}", "--no-verify") == 0
    notes = tmp_path / "adapter" / "README.md"
    notes.write_text(notes.read_text() + "and what I think of it\n")
    assert call("export", ticket, f"--out={tmp_path / 'adapter'}", "--no-verify") == 2
    assert call("export", ticket, f"--out={tmp_path / 'adapter'}", "--no-verify", "--overwrite") == 0
    assert "what I think" not in notes.read_text()
    page.write_text("mine")
    assert call("report", run, f"--out={page}") == 2
    assert call("report", run, f"--out={page}", "--overwrite") == 0
