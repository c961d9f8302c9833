"""Models and data sets of the Hub, really downloaded: from a server on this machine that speaks its protocol.

Every command runs in a process that knows no other Hub, with a cache of its own; tests use repositories of their own
where they change or break something.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from forks import Forks
from guard import sitecustomize as guard
from hub_server import Hub
from safetensors.torch import save

from prunekit.experiment import settings_io
from prunekit.experiment.prepare import prepare
from prunekit.runs.round_files import open_ticket
from prunekit.runs.run import Run

pytestmark = pytest.mark.slow

FEW = ["--prompt-tokens=4", "--pieces=4", "--train-steps=4", "--evaluate-every=2", "--batch-size=4", "--threads=1"]
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A Hub with a model and two data sets of two revisions each, and a process that is pointed at it."""
    folder, before = tmp_path_factory.mktemp("hub"), len(guard.lines())
    first, second = (tiny.save_model("llama", folder / str(seed), seed) for seed in range(2))
    tiny.save_task(folder / "toy")
    with Hub() as hub:
        model = hub.new("models/maker/tiny")
        model.commit_folder(first, "v1", "main")
        model.commit_folder(second, "main")
        for name, form in (("moods", parquet), ("lines", jsonl)):
            data = hub.new(f"datasets/maker/{name}")
            data.commit("v1", "main", **form(folder / "toy"))
            data.commit("main", **form(folder / "toy", left_out=4))
            save_hub_task(folder, name)
        (folder / "commands").mkdir()
        where = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "cache"), "HF_TOKEN": ""}
        with Forks(folder / "commands", **where, HF_HUB_DOWNLOAD_TIMEOUT="1") as forks:
            yield SimpleNamespace(hub=hub, forks=forks, folder=folder, first=first, second=second, environment=where)
        shutil.rmtree(folder / "commands")  # which ends the process
        assert hub.unknown == []
    assert set(guard.lines()[before:]) <= {"process"}


def save_hub_task(folder: Path, name: str) -> None:
    """A task file whose data set is on the Hub."""
    hub = f'hub = {{ path = "maker/{name}", rename = {{ text = "sentence" }} }}'
    (folder / f"{name}.toml").write_text(tiny.TASK.replace("[choices]", f"{hub}\n[choices]"))


def parquet(folder: Path, left_out: int = 0) -> dict[str, bytes]:
    """The rows as a data set that was pushed, with a column of another name; fewer of them in each split."""
    files = {"README.md": b"---\nlicense: mit\n---\nMoods\n"}
    for name, lines in jsonl(folder, left_out).items():
        table = pa.Table.from_pylist([json.loads(line) for line in lines.splitlines()])
        sink = pa.BufferOutputStream()
        pq.write_table(table.rename_columns(["text", "label"]), sink)
        files[f"data/{Path(name).stem}-00000-of-00001.parquet"] = sink.getvalue().to_pybytes()
    return files


def jsonl(folder: Path, left_out: int = 0) -> dict[str, bytes]:
    """The rows as lines, without a card."""
    lines = {name: (folder / f"{name}.jsonl").read_bytes().splitlines() for name in SPLITS}
    return {f"{name}.jsonl": b"\n".join(lines[name][: len(lines[name]) - left_out]) for name in lines}


def tune(place, out, words=(), *, model="maker/tiny", task="moods", **how):
    command = ["tune", f"--model={model}", f"--task={place.folder / task}.toml", *FEW, *words]
    return place.forks.run(command, out / "process", cwd=str(out), **how)


def refused(place, out, *, waits=False, **how) -> str:
    """The one line of an attempt that is refused, and nothing written; waits: for so long that it says what for."""
    ended = tune(place, out, **how)
    assert ended.code == 2, ended.said
    assert not (out / "runs").exists()
    *waiting, line = ended.said.splitlines()
    assert waits or not waiting, ended.said
    assert all(re.fullmatch(r"(tune .*: )?loading .* \.\.\.", said) for said in waiting), ended.said
    return line


def settings_of(words) -> dict[str, str]:
    """Flags of the command line as they are called in Python."""
    return {name.replace("-", "_"): value for name, _, value in (word[2:].partition("=") for word in words)}


def the_run(out: Path) -> Run:
    (path,) = (out / "runs").iterdir()
    return Run(path)


V1 = ("--model-revision=v1", "--data-revision=v1")


@pytest.mark.parametrize("task", ["moods", "lines"])
def test_the_commit_of_a_revision_is_used_and_remembered(place, tmp_path, task):
    ended = tune(place, tmp_path, V1, task=task)
    assert ended.code == 0, ended.said
    assert "train 24, validation 12, test 12 examples" in ended.said
    settings, of = the_run(tmp_path).settings(), place.hub.repositories
    commits = {"model": of["models/maker/tiny"].sha("v1"), "data": of[f"datasets/maker/{task}"].sha("v1")}
    assert settings["commits"] == commits
    assert settings["model"]["revision"] == settings["task"]["revision"] == "v1"
    origin = open_ticket(the_run(tmp_path).path / "seed=0" / "round=00").origin
    assert {name: origin[f"{name}_revision"] for name in ("model", "data")} == commits
    names = {"model": place.first, "task": place.folder / "toy" / "toy.toml", "data": place.folder / "toy"}
    local = settings_io.experiment(None, {name: str(path) for name, path in names.items()} | settings_of(FEW))
    assert prepare(local).id == settings["id"]  # the same files in a folder are the same run


@pytest.mark.parametrize("task", ["moods", "lines"])
def test_with_no_network_the_cache_gives_the_same_run_of_an_earlier_revision(place, tmp_path, task):
    """`datasets` itself would take the version that it read last."""
    outs = {name: tmp_path / name for name in ("earlier", "latest", "offline")}
    for out in outs.values():
        out.mkdir()
    earlier = tune(place, outs["earlier"], V1, task=task)
    latest = tune(place, outs["latest"], task=task)
    with place.hub.down():
        offline = tune(place, outs["offline"], V1, task=task)
    assert (earlier.code, latest.code, offline.code) == (0, 0, 0), offline.said
    assert "train 20, validation 8, test 8 examples" in latest.said
    runs = {name: the_run(out) for name, out in outs.items()}
    assert runs["latest"].settings()["id"] != runs["earlier"].settings()["id"]
    assert tiny.contents(runs["offline"].path) == tiny.contents(runs["earlier"].path)


NO_REVISION = "no such branch, tag or commit;"
# how an attempt is made, and what is said of it
REFUSALS = {
    "gated": (
        {"model": "maker/gated"},
        'model "maker/gated": accept its conditions at {url}/maker/gated and give a token',
    ),
    "no access": (
        {"model": "maker/gated", "environment": {"HF_TOKEN": "hf_no"}},
        "the token has no access to it; accept",
    ),
    "missing": ({"model": "maker/none"}, 'model "maker/none": not on the Hub ({url}/maker/none), or private; check'),
    "revision": ({"words": ["--model-revision=v2"]}, f'"maker/tiny", revision "v2": {NO_REVISION} known: main, v1'),
    "pickled": (
        {"model": "maker/pickled"},
        'model "maker/pickled": it cannot be loaded as a model: it has no safetensors',
    ),
    "no name": ({"model": "no/such/folder"}, "no such folder, and not a name of the Hub, which has the form org/name"),
    "no network": (
        {"model": "maker/new"},
        "the Hub ({url}) is not to be reached: download it where there is a network",
    ),
    "gated data": ({"task": "gated"}, 'data set "maker/gated": accept its conditions at {url}/datasets/maker/gated'),
    "missing data": ({"task": "none"}, 'data set "maker/none": not on the Hub ({url}/datasets/maker/none), or private'),
    "revision of data": ({"words": ["--data-revision=v11"]}, f'revision "v11": {NO_REVISION} did you mean "v1"?'),
    "other splits": ({"task": "untrained"}, "has none of the splits train, validation and test; it has extra"),
}


@pytest.fixture(scope="module")
def closed(place):
    """Repositories that cannot be used."""
    place.hub.new("models/maker/gated", gated=("hf_yes",)).commit_folder(place.first, "main")
    pickled = {"config.json": (place.first / "config.json").read_bytes(), "pytorch_model.bin": b"x"}
    pickled |= {name: (place.first / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}
    place.hub.new("models/maker/pickled").commit("main", **pickled)
    place.hub.new("datasets/maker/gated", gated=("hf_yes",)).commit("main", **parquet(place.folder / "toy"))
    card = b"---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: extra, path: extra.jsonl}\n---\n"
    other_splits = {"README.md": card, "extra.jsonl": b'{"sentence": "w1", "label": "good"}'}
    place.hub.new("datasets/maker/untrained").commit("main", **other_splits)
    for name in ("gated", "none", "untrained"):
        save_hub_task(place.folder, name)
    return place


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_had_is_one_line_that_says_what_to_do(closed, tmp_path, case):
    how, line = REFUSALS[case]
    with closed.hub.down() if case == "no network" else nullcontext():
        said = refused(closed, tmp_path, **how)
    assert line.format(url=closed.hub.url) in said


def test_a_token_opens_what_is_gated_and_goes_to_the_hub_alone(closed, tmp_path):
    """The server refuses a token at the address that large files are kept at, as storage does."""
    ended = tune(closed, tmp_path, model="maker/gated", task="gated", environment={"HF_TOKEN": "hf_yes"})
    assert ended.code == 0, ended.said


def test_a_download_that_is_cut_once_is_made_again(place, tmp_path):
    repository = place.hub.new("models/maker/cut", cuts=1)
    repository.commit_folder(place.first, "main")
    ended = tune(place, tmp_path, model="maker/cut")
    assert ended.code == 0, ended.said
    assert repository.cuts == 0


def test_a_download_that_is_always_cut_is_refused_and_goes_on_when_it_is_not(place, tmp_path):
    repository = place.hub.new("models/maker/torn", cuts=1000)
    repository.commit_folder(place.first, "main")
    said = refused(place, tmp_path, waits=True, model="maker/torn")
    assert 'model "maker/torn": the connection to the Hub was lost (' in said
    repository.cuts = 0
    assert tune(place, tmp_path, model="maker/torn").code == 0


def test_a_hub_that_does_not_answer_is_waited_for_some_seconds(place, tmp_path):
    place.hub.new("models/maker/slow", seconds=60).commit_folder(place.first, "main")
    assert "is not to be reached" in refused(place, tmp_path, waits=True, model="maker/slow")


def test_a_branch_that_moved_is_said_and_the_run_stays_with_its_commit(place, tmp_path):
    repository = place.hub.new("models/maker/moving")
    first = repository.commit_folder(place.first, "main")
    assert tune(place, tmp_path, model="maker/moving").code == 0
    run = the_run(tmp_path)
    second = repository.commit_folder(place.second, "main")
    ticket, how = run.path / "seed=0" / "round=00", {"out": tmp_path / "process", "cwd": str(tmp_path)}
    used = place.forks.run(["eval", ticket, "--json"], **how)
    assert used.code == 0, used.said
    assert (
        f"maker/moving has changed on the Hub: main is now {second[:7]}, and this run stays with {first[:7]}"
        in used.said
    )
    assert json.loads(used.wrote)["accuracy"] == run.results().query("arm == ''").iloc[0]["test_accuracy"]
    other = place.forks.run(["eval", ticket, "--model-revision=main"], **how)
    assert other.code == 2
    assert "not what it was made with: model weights" in other.said
    again = tune(place, tmp_path, model="maker/moving")
    assert f"note: a new run, since {run.path.name} was made with another: model weights" in again.said
    assert f"(--model-revision {first} goes on with it)" in again.said
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_an_adapter_is_imported_of_the_commit_of_its_revision(place, tmp_path):
    settings = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 2, "token_dim": 32}
    values = {revision: torch.full((2, 32), number) for number, revision in ((1.0, "v1"), (2.0, "main"))}
    repository = place.hub.new("models/maker/adapter")
    for revision, prompt in values.items():
        tensors = save({"prompt_embeddings": prompt})
        files = {"adapter_config.json": json.dumps(settings).encode(), "adapter_model.safetensors": tensors}
        repository.commit(revision, "main", **files)
    command = ["import", "maker/adapter", "--revision=v1", "--out=v1.ticket"]
    for down in (nullcontext(), place.hub.down()):
        with down:
            ended = place.forks.run([*command, "--overwrite"], tmp_path / "process", cwd=str(tmp_path))
        assert ended.code == 0, ended.said
        assert torch.equal(open_ticket(tmp_path / "v1.ticket").state["values"], values["v1"])
    gone = place.forks.run(["import", "maker/none"], tmp_path / "process", cwd=str(tmp_path))
    assert (gone.code, gone.said.count("\n")) == (2, 1)
    assert 'adapter "maker/none": not on the Hub' in gone.said


def test_downloads_that_are_off_by_a_setting_give_the_same_from_the_cache(place, tmp_path):
    """In a fresh process, since the setting is read when the libraries are imported."""
    assert tune(place, tmp_path, V1).code == 0
    online, asked = the_run(tmp_path), len(place.hub.requests)
    task = f"--task={place.folder / 'moods.toml'}"
    command = [sys.executable, "-m", "prunekit", "tune", "--model=maker/tiny", task, "--model-revision=v1"]
    environment = os.environ | place.environment | {"HF_HUB_OFFLINE": "1"}
    for words, code in ((["--data-revision=v1"], 0), (["--data-revision=v2"], 2)):
        ended = subprocess.run(
            [*command, *FEW, *words, "--out=offline"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ended.returncode == code, ended.stderr
    assert "downloads are off (HF_HUB_OFFLINE is set)" in ended.stderr
    (offline,) = (tmp_path / "offline").iterdir()
    assert tiny.contents(offline) == tiny.contents(online.path)
    assert len(place.hub.requests) == asked
