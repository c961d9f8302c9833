"""Runs and tickets that earlier versions wrote load in this one, and say what they said then."""

import hashlib
import json
import math
import re

import pytest
import tiny
import torch
from roots import TESTS

from prunekit.runs import checksums, round_files
from prunekit.runs.run import Run
from prunekit.runs.ticket_file import load_ticket
from prunekit.support.digest import identity

GOLDEN = TESTS / "golden"
VERSIONS = sorted(path for path in GOLDEN.iterdir() if path.is_dir() and (path / "findings.json").exists())
versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)


def of(tensors):
    """What identifies tensors, whatever holds them."""
    plain = {
        name: (str(one.dtype), list(one.shape), one.numpy().tobytes().hex()) for name, one in sorted(tensors.items())
    }
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def ticket_facts(ticket):
    with torch.no_grad():
        values, present = ticket.prompt()()
    # as long as all the rest, and the same in every ticket of a run
    origin = {**ticket.origin, "content": identity(ticket.origin.get("content"), 16)}
    return {
        "values": of(ticket.state), "head": ticket.head and of(ticket.head), "mask": ticket.mask.piece.int().tolist(),
        "rewind": ticket.rewind, "round": ticket.round, "seed": ticket.seed, "dropped_as": ticket.dropped_as,
        "position": ticket.position, "method": ticket.method, "origin": origin, "present": present.tolist(),
        "sum": round(float(values.double().sum()), 4),
    }  # fmt: skip


def plain(value):
    """A cell of a table as JSON has it."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.item() if hasattr(value, "item") else value


def findings(folder):
    """Everything that readers make of the golden files of a version."""
    run = Run.open(folder / "run")
    table = run.results()
    rounds = {}
    for place in run.rounds():
        names = sorted(run.manifest(place)["files"])
        found = {"files": names}
        if "ticket.safetensors" in names:
            ticket, learned = round_files.load(run, place, "absolute", run.settings()["metric"])
            found |= {"start": of(ticket.state), "finished": ticket_facts(round_files.finished_ticket(run, place))}
            found |= {"validation": learned.validation, "snapshots": sorted(learned.snapshots)}
        if "scores.safetensors" in names:
            scores = round_files.load_scores(run, place)
            found["scores"] = {kind: of({"token": one.token, "piece": one.piece}) for kind, one in scores.items()}
        for name in names:
            if name.endswith(".parquet"):
                read = run.table(place, name)
                found[name] = [len(read), *read.columns]
        found["seconds"] = sorted(run.timing(place))
        rounds[str(place)] = found
    return {
        "settings": run.settings(),
        "stages": {stage: run.stage_settings(stage) for stage in run.stages() if stage},
        "rounds": rounds,
        "verified": run.verify(),
        "results": [{name: plain(value) for name, value in row.items()} for row in table.to_dict("records")],
        "tickets": {path.name: ticket_facts(load_ticket(path)) for path in sorted(folder.glob("*.safetensors"))},
    }


def test_there_are_golden_files_and_they_are_small():
    assert [path.name for path in VERSIONS][:1] == ["0.1.0"]
    for version in VERSIONS:
        size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
        assert size < 240_000, f"{version.name} takes {size} bytes"


@versions
def test_golden_files_say_what_they_said_when_they_were_written(version):
    wanted = json.loads((version / "findings.json").read_text())
    found = json.loads(json.dumps(findings(version)))
    for part in wanted:
        if isinstance(wanted[part], dict):
            for name, value in wanted[part].items():
                assert found[part][name] == value, f"{part} {name}"
        elif part == "results":  # a later version may know more columns
            rows = [{name: new[name] for name in old} for old, new in zip(wanted[part], found[part], strict=True)]
            assert rows == wanted[part]
        else:
            assert found[part] == wanted[part]


@versions
def test_golden_runs_are_shown_and_compared(version, capsys):
    path = version / "run"
    for words in (["show", path], ["verify", path], ["compare", path, path, "--json"]):
        assert tiny.call("runs", *words) == 0
    said = capsys.readouterr().out
    assert "files match their manifests" in said
    assert "round" in said


@versions
def test_golden_files_name_no_machine(version):
    for path in version.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not re.search(rb"(?<![\w.])/(home|tmp|root|mnt|var|opt|Users)/", content), path


def test_seals_are_still_made_as_they_are_checked(tmp_path):
    """The bytes that this version writes are those that it reads, for every golden settings file."""
    for version in VERSIONS:
        for path in version.rglob("experiment.toml"):
            assert checksums.sealed(checksums.read_sealed(path)) == path.read_bytes()
