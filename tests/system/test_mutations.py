"""Damage by the thousand: no damaged file that prunekit wrote is loaded, none that it reads ends in a traceback."""

import json
import random
import shutil
import struct
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch
from mutate import KINDS, mutated, refuses_without_memory

from prunekit.experiment import settings_io
from prunekit.experiment.environment import environments
from prunekit.models import load
from prunekit.runs import round_files
from prunekit.runs.paths import FACTS, IMPORTANCE, RunKey
from prunekit.runs.run import Files, Run
from prunekit.runs.ticket_file import load_ticket, pack, save_ticket, unpack
from prunekit.support.atomic import as_json, as_parquet
from prunekit.support.errors import ArtifactError, PrunekitError
from prunekit.tasks import load_splits, load_task, read_rows
from prunekit.tasks.spec import read_task

FULL, FEW = 1000, 12  # mutations of every kind of file


@pytest.fixture(scope="module")
def made(folder):
    """Runs that are told apart in every way: another experiment, the same on another machine, and one by itself."""
    ways = {"run": {}, "other": dict(learning_rate=0.04), "machine": dict(width=1)}
    runs = {}
    for name, way in ways.items():
        runs[name], _ = tiny.finished("gpt2", folder, folder / name, **(dict(seeds=2, width=2, train_steps=4) | way))
        score(runs[name])
    assert runs["run"].id == runs["machine"].id
    save_ticket(round_files.finished_ticket(runs["run"], RunKey("", 0, 0)), folder / "alone.safetensors")
    save_ticket(round_files.finished_ticket(runs["run"], RunKey("", 1, 0)), folder / "other.safetensors")
    return runs | {"folder": folder}


def score(run):
    """What `prunekit score` leaves."""
    run.write_stage("score-ab12", {"kind": "magnitude"})
    table = as_parquet(pd.DataFrame({"token": [0, 1], "score": [0.5, float("nan")]}))
    run.commit([Files(RunKey("score-ab12", 0, 0), {IMPORTANCE: table, FACTS: as_json({"kind": run.path.name})}, {})])


# ---- what prunekit writes


def written(run):
    """Name of every kind of file -> paths of all of that kind."""
    kinds = {}
    for path in sorted(run.path.rglob("*")):
        if path.is_file() and path.name not in ("results.parquet", ".lock"):
            kinds.setdefault(path.name, []).append(path)
    return kinds


def read(run, path):
    """Read a file of a run as every verb does."""
    run = Run.open(run.path)
    inside = path.relative_to(run.path)
    outside_rounds = {
        "experiment.toml": lambda: (run.settings(), run.tickets()),
        "stage.toml": lambda: run.stage_settings(str(inside.parent)),
        "journal.json": run.journal,
        "environment.json": lambda: environments(run),
    }
    if path.name in outside_rounds:
        return outside_rounds[path.name]()
    load_round = partial(round_files.load, run, kind="absolute", chosen_by="accuracy")
    readers = {
        "MANIFEST.json": run.manifest, "timing.json": run.timing, "result.json": run.result,
        "trained.safetensors": partial(round_files.kept_values, run),
        "scores.safetensors": partial(round_files.load_scores, run),
        "ticket.safetensors": load_round, "snapshots.safetensors": load_round,
    }  # fmt: skip
    return readers.get(path.name, lambda key: run.content(key, path.name))(RunKey.parse(inside.parent))


def damaged(path, content, load):
    """Put the content there, load it, put the old back; the error's text."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        load()
    except ArtifactError as error:
        # a whole settings file of another run shows in the first round
        assert str(path.parent) in str(error), error
        assert "\n" not in str(error)
        return
    finally:
        path.write_bytes(before)
    raise AssertionError(f"{path} was loaded damaged")


def damage_all(kinds, count):
    """Mutations of files, kind -> [(file, others of its kind, how it is loaded)]: how many were noticed, by kind."""
    noticed = Counter()
    for name, files in kinds.items():
        chance = random.Random(name)
        for _, _, reads in files:
            reads()  # as it is, it loads
        for turn in range(count):
            path, others, reads = chance.choice(files)
            before = path.read_bytes()
            content = mutated(before, chance.choice(others).read_bytes(), KINDS[turn % len(KINDS)], chance)
            if content != before:
                damaged(path, content, reads)
                noticed[name] += 1
    return noticed


def told(capsys, noticed, what):
    with capsys.disabled():
        print(f"\n{sum(noticed.values())} {what}: {dict(noticed)}")


counts = pytest.mark.parametrize(
    "count", [FEW, pytest.param(FULL, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)


@counts
def test_no_damaged_file_is_loaded(count, made, capsys):
    run, alone = made["run"], made["folder"] / "alone.safetensors"
    files = [written(made[name]) for name in ("run", "other", "machine")]
    kinds = {"a ticket by itself": [(alone, [run.path / "experiment.toml"], partial(load_ticket, alone))]}
    for name, paths in files[0].items():
        every = [path for of_run in files for path in of_run[name]]
        kinds[name] = [(path, [one for one in every if one != path], partial(read, run, path)) for path in paths]
    noticed = damage_all(kinds, count)
    assert len(noticed) == 16
    assert sum(noticed.values()) >= 10_000 or count == FEW
    told(capsys, noticed, "mutations noticed, none loaded")


def rounds(run):
    return [path.parent for path in sorted(run.path.rglob("MANIFEST.json"))]


@pytest.mark.parametrize("apart", tiny.at_night(5, 1))  # of all pairs of rounds every fifth, or each
def test_no_round_directory_passes_for_another(apart, made, capsys):
    """Whole rounds, manifest and all, of another seed, round, stage, run, or of the same run on another machine."""
    run, swaps = made["run"], Counter()
    sources = [(name, source) for name in ("run", "other", "machine") for source in rounds(made[name])]
    for target, (name, source) in tiny.pairs(rounds(run), sources)[::apart]:
        if source != target:
            key, kept = RunKey.parse(target.relative_to(run.path)), target.with_name("kept")
            target.rename(kept)
            shutil.copytree(source, target)
            with pytest.raises(ArtifactError, match=r"MANIFEST\.json: (belongs to|made from another)"):
                Run.open(run.path).manifest(key)
            with pytest.raises(ArtifactError):
                Run.open(run.path).verify()
            shutil.rmtree(target)
            kept.rename(target)
            swaps[name] += 1
    Run.open(run.path).verify()
    told(capsys, swaps, "swapped rounds noticed")


def test_a_round_that_was_made_again_does_not_carry_those_that_followed_it(made, tmp_path):
    run = made["run"]
    copy = Run(tmp_path / "run")
    shutil.copytree(run.path, copy.path)
    key = RunKey("", 0, 0)
    files = {name: copy.content(key, name) for name in copy.manifest(key)["files"]}
    other = RunKey("", 1, 0)
    more = {name: copy.content(other, name) for name in copy.manifest(other)["files"]}
    result = as_json(copy.result(key) | {"reason": "made again"})
    copy.commit([Files(key, files | {"result.json": result}, {}), Files(other, more, {})])
    with pytest.raises(ArtifactError, match="made from another round 0"):
        copy.verify()


def test_what_lies_where_no_round_belongs_is_named(made, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(made["run"].path, copy)
    shutil.copytree(copy / "seed=0" / "round=00", copy / "seed=0" / "round=00 (copy)")
    with pytest.raises(ArtifactError, match=r"round=00 \(copy\)/MANIFEST\.json: .* is not the place of a round"):
        Run.open(copy).verify()


def test_files_outside_the_record_are_never_read(made, monkeypatch, capsys):
    """environment.json and results.parquet are written for people and rebuilt from the rounds."""
    opened = []
    sys.addaudithook(lambda event, facts: opened.append(str(facts[0])) if event == "open" and opened is not None else 0)
    assert tiny.call("runs", "show", made["run"].path) == 0
    assert tiny.call("runs", "compare", made["run"].path, made["other"].path, "--json") == 0
    names = {Path(one).name for one in opened}  # inside a run each folder is opened from the one above
    assert "MANIFEST.json" in names
    assert not names & {"environment.json", "results.parquet"}


# ---- what prunekit only reads

CONFIG = """
seeds = [3, 5]
[model]
name = "some/model"
max_input_tokens = 128
[task]
name = "sst2"
data = "data"
train_examples = 20
[prompt]
method = "residual"
rank = 4
tokens = 20
init = "text"
init_text = "it was"
[training]
train_steps = 100
learning_rate = 0.3
[pruning]
keep_tokens = 0.25
rewind = 10
[machine]
device = "cpu"
width = "auto"
"""
TASK = """
name = "mine/toy"
description = "ä test"
template = "{sentence} {{it}} was {other} :"
label = "label"
metrics = ["accuracy", "f1"]
transform = "none"
[choices]
good = "good"
bad = "bad"
[aliases]
good = [1, true, "yes"]
[hub]
path = "some/data"
rename = { text = "sentence" }
"""


def read_kinds(folder):
    """Kind -> (file, how it is loaded)."""
    folder.mkdir()
    tiny.save_task(folder / "toy")
    (folder / "config.toml").write_text(CONFIG)
    (folder / "task.toml").write_text(TASK)
    rows = [{"passage": {"text": "a b", "questions": [{"question": "q", "answers": [{"text": "a", "label": 1}]}]}}]
    (folder / "multirc.jsonl").write_text("\n".join(json.dumps(row) for row in rows * 4))
    (folder / "labels.json").write_text('{"good": "good", "bad": "bad"}')
    tiny.save_model("gpt2", folder / "model")
    toy = read_task(folder / "toy" / "toy.toml")
    write(folder / "listed.toml", 'name="x"\ntemplate="{sentence}"\nlabels_file="labels.json"\n')
    nested = read_task(
        write(
            folder / "nested.toml",
            'name="x"\ntemplate="{paragraph} {question} {answer}"\ntransform="flatten_multirc"\ngroup="group"\n'
            '[choices]\n0="no"\n1="yes"\n',
        )
    )
    data, rows_file = dict(train_examples=None, validation_examples=None), folder / "toy" / "validation.jsonl"
    return {
        "settings": (folder / "config.toml", lambda: settings_io.experiment(folder / "config.toml", {})),
        "task": (folder / "task.toml", lambda: read_task(folder / "task.toml")),
        "training data": (
            folder / "toy" / "train.jsonl", lambda: load_splits(toy, data=str(folder / "toy"), **data)
        ),
        "test data": (folder / "toy" / "test.jsonl", lambda: load_splits(toy, data=str(folder / "toy"), **data)),
        "rows to predict": (rows_file, lambda: read_rows(rows_file, toy)),
        "nested rows": (folder / "multirc.jsonl", lambda: read_rows(folder / "multirc.jsonl", nested)),
        "label words": (folder / "labels.json", lambda: load_task(str(folder / "listed.toml"), str(folder))),
        "model settings": (folder / "model" / "config.json", lambda: load(str(folder / "model"))),
        "tokenizer": (folder / "model" / "tokenizer.json", lambda: load(str(folder / "model"))),
        "weights": (folder / "model" / "model.safetensors", lambda: load(str(folder / "model"))),
    }  # fmt: skip


def write(path, text):
    path.write_text(text)
    return path


def mutate_read(kinds, count):
    """Mutations of every kind of file that is only read, kind -> (file, how it is loaded): how many were refused."""
    refused = Counter()
    for name, (path, load_it) in kinds.items():
        load_it()
        chance, before = random.Random(name), path.read_bytes()
        for turn in range(count):
            other = chance.choice(list(kinds.values()))[0].read_bytes()
            path.write_bytes(mutated(before, other, KINDS[turn % len(KINDS)], chance))
            refused[name] += refuses(load_it, path, f"{name}, turn {turn}")
        path.write_bytes(before)
    return refused


def refuses(load_it, path, where):
    """Whether it was refused, which must be in one line that names the file (or a model's folder)."""
    try:
        load_it()
    except PrunekitError as error:
        assert path.name in str(error) or str(path.parent) in str(error), (where, error)
        assert "\n" not in str(error).replace("\\n", ""), where
        return True
    except BaseException as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
    return False


@counts
def test_whatever_is_read_is_refused_in_one_line_or_used(count, tmp_path, capsys):
    refused = mutate_read(read_kinds(tmp_path / "kinds"), count)
    told(capsys, refused, f"of {10 * count} mutated files refused in one line, the others are sound")


# ---- tickets from elsewhere, whole and with a right sum, but not what they claim to be


STRANGE_FACTS = {
    "rewind": [None, [], {}, 1.5, True],
    "round": [-1, "1", None, 1.0, True, 2**70],
    "dropped_as": ["gone", "", None, 3, [], "\x1b[31m", "x" * 10_000],
    "position": ["last", None, 0, {}],
    "method": ["nope", None, [], "residual", "dept", "__init__"],
    "seed": [-1, "0", None, 0.5, 2**64],
    "origin": [None, [], "x", {"task": 3}, {"model": []}],
    "extra": [1],
}


def strange_tensors(tensors):
    long = {"mask.token": torch.ones(2**16, dtype=torch.bool), "mask.piece": torch.ones(2**16, 1, dtype=torch.bool)}
    head = {"head.weight": torch.zeros(2, 32), "head.bias": torch.zeros(3)}
    yield {name: one for name, one in tensors.items() if name != "state.values"}
    yield tensors | {"state.values": torch.zeros(3, 32)}
    yield tensors | {"state.values": torch.zeros(4, 30)}
    yield tensors | {"state.values": torch.zeros(1, 32)}
    yield tensors | {"state.values": torch.zeros(4, 0)}
    yield tensors | {"state.values": torch.zeros(4, 32, dtype=torch.long)}
    yield tensors | {"state.values": torch.zeros(4, 2, 16)}
    yield tensors | {"state.other": torch.zeros(4, 32)}
    yield tensors | {"mask.token": torch.zeros(4)}
    yield tensors | {"mask.token": torch.zeros(4, dtype=torch.bool)}
    yield tensors | {"mask.piece": torch.ones(4, 5, dtype=torch.bool)}
    yield tensors | long
    yield tensors | head
    yield tensors | {"head.weight": torch.zeros(2, 32)}
    yield tensors | {"head.weight": torch.zeros(2, 0), "head.bias": torch.zeros(2)}
    yield tensors | {"head.weight": torch.zeros(3, 32), "head.bias": torch.zeros(2)}
    yield tensors | {"head.weight": torch.zeros(2, 32, 1), "head.bias": torch.zeros(2)}


def test_a_ticket_that_is_not_what_it_claims_is_refused(made, tmp_path):
    tensors, facts = unpack(made["folder"] / "alone.safetensors")
    path = tmp_path / "elsewhere.safetensors"
    claims = [(tensors, facts | {name: value}) for name, values in STRANGE_FACTS.items() for value in values]
    claims += [(strange, facts) for strange in strange_tensors(tensors)]
    for number, (some, told_facts) in enumerate(claims):
        path.write_bytes(pack(some, told_facts))
        with pytest.raises(ArtifactError, match=r"elsewhere\.safetensors: not a ticket") as caught:
            load_ticket(path)
            raise AssertionError(f"claim {number}: {told_facts}, {[(n, t.shape) for n, t in some.items()]}")
        assert "\n" not in str(caught.value)


def test_a_ticket_of_nan_is_refused_where_it_is_used(made, tmp_path):
    tensors, facts = unpack(made["folder"] / "alone.safetensors")
    path = tmp_path / "nan.safetensors"
    for bad in (float("nan"), float("inf")):
        values = tensors["state.values"].clone()
        values[2, 3] = bad
        path.write_bytes(pack(tensors | {"state.values": values}, facts))
        with pytest.raises(ArtifactError, match=r"nan\.safetensors: its values holds NaN or infinite"):
            round_files.open_ticket(path)


def forged(folder):
    """Files that claim far more than they hold."""
    for number, length in enumerate((2**63, 2**40, 2**32, 100_000_001, 99_000_000)):
        (folder / f"length-{number}.safetensors").write_bytes(struct.pack("<Q", length) + b'{"a":{}}' * 9)
    for number, shape in enumerate(([2**40], [2**20, 2**20, 2**20], [2**62, 4], [2**31, 2**31])):
        count = 4
        for size in shape:
            count *= size
        for end in (count, count % 2**64, 16):
            header = {"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}
            text = json.dumps(header).encode()
            path = folder / f"shape-{number}-{end}.safetensors"
            path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    facts = {"rewind": "trained", "round": 1, "dropped_as": "remove", "position": "first", "seed": 0, "origin": {}}
    size = 2**17
    masks = {"mask.token": torch.ones(size, dtype=torch.bool), "mask.piece": torch.ones(size, 1, dtype=torch.bool)}
    factors = {"state.left": torch.ones(size, 1), "state.right": torch.ones(1, size)}  # 1 MB that would be 64 GB
    for method in ("dpt", "singular", "bilinear"):
        tensors = masks | factors | ({"state.sigma": torch.ones(1)} if method == "singular" else {})
        (folder / f"factors-{method}.safetensors").write_bytes(pack(tensors, facts | {"method": method}))


@pytest.mark.gate
def test_no_memory_is_taken_for_what_a_file_claims(forks, tmp_path, capsys):
    forged(tmp_path)
    reader = "from prunekit.runs.ticket_file import load_ticket as read"
    refuses_without_memory(forks, reader, tmp_path, "none.safetensors", capsys)
