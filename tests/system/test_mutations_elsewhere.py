"""Damage by the thousand outside run directories: exports, receipts of sweeps, what others hand over."""

import hashlib
import json
import resource
import struct

import architectures as arch
import pytest
import sweeps
import tiny
import torch
from mutate import refuses_without_memory
from safetensors.torch import load, save
from test_mutations import FEW, STRANGE_FACTS, counts, damage_all, damaged, mutate_read, refuses, told
from test_mutations import read_kinds as inputs
from tiny import call

from prunekit import export
from prunekit.experiment import settings_io
from prunekit.experiment.sweep import grid, jobs
from prunekit.experiment.sweep.jobs import Outcome
from prunekit.export import TicketInfo
from prunekit.export.side_file import FORMAT
from prunekit.runs.checksums import stamped
from prunekit.runs.ticket_file import load_ticket, save_ticket
from prunekit.support.errors import ArtifactError, ConfigError, PrunekitError

SIDE, TENSORS, CONFIG = "prunekit.json", "adapter_model.safetensors", "adapter_config.json"


def adapter(folder, kind="gpt2", seed=0, mask="pieces"):
    """An adapter as prunekit exports it."""
    bone = arch.frozen(kind)
    ticket = arch.ticket(bone, mask=arch.MASKS[mask], seed=seed)
    folder.mkdir(parents=True)
    for name, content in export.adapter_files(ticket, bone, TicketInfo(model="some/model", task="toy")).items():
        (folder / name).write_bytes(content)
    return folder


def swept(out):
    """The receipts of two experiments that lie in one run."""
    for place in ("seed=0/round=00", "seed=1/round=00"):
        (out / "run" / place).mkdir(parents=True)
        (out / "run" / place / "MANIFEST.json").write_text("{}")
    (out / "run" / "experiment.toml").write_text("")
    for number in range(2):
        jobs.write_receipt(out, Outcome(f"key-{number}", "one, 0.1", "run", "", (f"seed={number}/round=00",), 2, 1.5))
    return out


def noticing(found, path):
    """A reader that gives nothing for a damaged file, made one that raises: nothing means that it was noticed."""
    if not found:
        raise ArtifactError(path)


def written(folder):
    """Kind -> [(file, others of its kind, how it is loaded)] of everything that is written outside runs and read."""
    kinds = {}
    first, second = adapter(folder / "first"), adapter(folder / "second", seed=1, mask="dense")
    encoders = adapter(folder / "bert", "bert"), adapter(folder / "other-bert", "bert", seed=1, mask="dense")
    for one, other in ((first, second), encoders):
        for name in (SIDE, TENSORS, CONFIG):
            kinds.setdefault(f"exported {name}", []).append(
                (one / name, [other / name], lambda one=one: export.read_adapter(str(one)))
            )
    out = swept(folder / "runs")
    file, other = (out / jobs.LEDGER / f"key-{number}.json" for number in range(2))
    kinds["receipt"] = [(file, [other], lambda: noticing(jobs.receipt(out, "key-0"), file))]
    return kinds


@counts
def test_no_damaged_export_or_receipt_is_loaded(count, tmp_path, capsys):
    noticed = damage_all(written(tmp_path), count)
    assert len(noticed) == 4
    assert sum(noticed.values()) > 4_500 or count == FEW
    told(capsys, noticed, "mutations noticed, none loaded")


def test_a_file_of_another_export_is_noticed_whichever_it_is(tmp_path):
    one, other = adapter(tmp_path / "one"), adapter(tmp_path / "other", seed=1, mask="dense")
    whole = {name: (one / name).read_bytes() for name in (SIDE, TENSORS, CONFIG)}
    for name, content in whole.items():
        damaged(one / name, (other / name).read_bytes(), lambda: export.read_adapter(str(one)))
        assert (one / name).read_bytes() == content
    assert export.read_adapter(str(one)).mask == arch.MASKS["pieces"]


def test_half_an_export_is_noticed_and_exporting_again_is_not_refused(tmp_path):
    """Files are written in this order; whatever is there when it stops, nothing but the whole is loaded."""
    from contextlib import nullcontext

    from prunekit.experiment.export import ExportRequest

    bone = arch.frozen("gpt2")
    files = export.adapter_files(arch.ticket(bone, mask=arch.MASKS["pieces"]), bone, TicketInfo())
    older = export.adapter_files(arch.ticket(bone, seed=1), bone, TicketInfo())
    for before in ({}, older):
        folder = tmp_path / f"over-{len(before)}"
        folder.mkdir()
        for name, content in before.items():
            (folder / name).write_bytes(content)
        for name in [*files][:-2]:  # with the third the adapter is whole; the last is the card
            (folder / name).write_bytes(files[name])
            with pytest.raises(PrunekitError, match=str(folder)):
                export.read_adapter(str(folder))
            with nullcontext() if not before else pytest.raises(ConfigError, match="say --overwrite"):
                ExportRequest("peft", folder)  # what the new side file does not name may be anybody's
            ExportRequest("peft", folder, overwrite=True)
        (folder / CONFIG).write_bytes(files[CONFIG])
        assert export.read_adapter(str(folder)).mask == arch.MASKS["pieces"]


# ---- what others wrote

GRID = """
seeds = 2
[task]
name = ["testbed/first-animal", "testbed/alike-mood"]
[prompt]
method = ["direct", "dpt"]
tokens = 10
[training]
learning_rate = [0.1, 0.2]
[sweep]
verb = "prune"
retries = 2
[[sweep.exclude]]
prompt.method = "dpt"
training.learning_rate = [0.2, 0.3]
[[sweep.include]]
prompt.method = "residual"
training.learning_rate = 0.4
[sweep.slurm]
timeout_min = 60
"""


def foreign(folder, kind):
    """An adapter as PEFT writes one: no side file."""
    adapter(folder, kind)
    for name in (SIDE, "README.md"):
        (folder / name).unlink()
    return folder


def read_kinds(folder):
    """Kind -> (file, how it is loaded)."""
    folder.mkdir()
    file = folder / "grid.toml"
    file.write_text(GRID)
    kinds = {"grid": (file, lambda: grid.read(file, lambda settings: settings_io.experiment(None, {}, settings)))}
    for kind in ("gpt2", "bert"):
        own = foreign(folder / kind, kind)
        for name in (CONFIG, TENSORS):
            kinds[f"{name} of {kind}"] = own / name, lambda own=own: import_of(own)
    return kinds


def import_of(folder):
    """What comes of an adapter can be written and read again."""
    ticket = export.read_adapter(str(folder), pieces=4)
    path = folder.parent / "some.ticket"
    save_ticket(ticket, path)
    assert load_ticket(path) == ticket


@counts
def test_grids_and_foreign_adapters_are_refused_in_one_line_or_used(count, tmp_path, capsys):
    refused = mutate_read(read_kinds(tmp_path / "kinds"), count)
    told(capsys, refused, f"of {5 * count} mutated files refused in one line, the others are sound")


STRANGE = [None, [], {}, "", "x", "a\nb\x1b[31m", -1, 0, 1.5, 2**70, True, ["PROMPT_TUNING"], "x" * 10_000]


def test_whatever_an_adapters_settings_claim_is_refused_in_one_line_or_used(tmp_path):
    folder = foreign(tmp_path / "a", "gpt2")
    path = folder / CONFIG
    plain = json.loads(path.read_bytes())
    for name in ("peft_type", "task_type", "num_virtual_tokens", "base_model_name_or_path", "revision"):
        for value in STRANGE:
            path.write_text(json.dumps(plain | {name: value}))
            refuses(lambda: import_of(folder), path, f"{name} = {value!r}")
    for text in ("[" * 100_000, '{"a":' * 100_000, "null", "3", '"PROMPT_TUNING"', "[]"):
        path.write_text(text)
        assert refuses(lambda: import_of(folder), path, text[:20])


STRANGE_MASKS = [
    [], [""], "", "1111", None, 5, {}, [[]], ["1", "11"], [1, 2], ["1111"], ["0000"] * 6, [None], ["1111"] * 4,
    ["1" * 7] * 6, ["1" * 2**16] * 6,
]  # fmt: skip


def test_a_side_file_with_a_right_sum_that_does_not_fit_is_refused_in_one_line(tmp_path):
    folder = adapter(tmp_path / "a")
    path = folder / SIDE
    plain = json.loads(path.read_bytes())
    claims = [{"mask": mask} for mask in STRANGE_MASKS] + [{"ticket": value} for value in (None, [], 3, "x", [[1, 2]])]
    strange = [(name, value) for name, values in STRANGE_FACTS.items() if name != "method" for value in values]
    claims += [{"ticket": plain["ticket"] | {name: value}} for name, value in [*strange, ("dropped_as", "zero")]]
    claims += [{"format": value} for value in (None, "1", FORMAT + 1)]
    for claim in claims:
        path.write_bytes(stamped(plain | claim))
        with pytest.raises(ArtifactError, match=r"a/prunekit\.json: ") as caught:
            export.read_adapter(str(folder))
            raise AssertionError(claim)
        assert "\n" not in str(caught.value)


def test_an_adapter_of_nan_is_refused(tmp_path):
    folder = foreign(tmp_path / "a", "bert")
    tensors = load((folder / TENSORS).read_bytes())
    for name in tensors:
        harmed = {other: one.clone() for other, one in tensors.items()}
        harmed[name].view(-1)[0] = float("nan")
        (folder / TENSORS).write_bytes(save(harmed))
        with pytest.raises(ArtifactError, match="NaN"):
            export.read_adapter(str(folder), pieces=4)


def test_a_grid_that_names_a_section_as_a_value_is_refused(tmp_path):
    path = tmp_path / "grid.toml"
    for text in (
        'prompt = 3\n[[sweep.include]]\nprompt.method = "dpt"\n',
        '"prompt.method" = "dpt"\n[prompt.method]\nx = 1\n',
        "sweep = 3\n", "sweep = []\n", "[sweep]\ninclude = 3\n", "[sweep]\nexclude = [[]]\n", "[[seeds]]\nx = 1\n",
    ):  # fmt: skip
        path.write_text(text)
        assert refuses(lambda: grid.read(path, lambda table: settings_io.experiment(None, {}, table)), path, text)


# ---- memory


def forged(folder):
    """Adapters and grids that claim far more than they hold."""
    for number, length in enumerate((2**63, 2**40, 100_000_001)):
        own = foreign(folder / f"length-{number}", "gpt2")
        (own / TENSORS).write_bytes(struct.pack("<Q", length) + b'{"a":{}}' * 9)
    for number, shape in enumerate(([2**40, 32], [2**62, 4], [6, 2**40])):
        own = foreign(folder / f"shape-{number}", "gpt2")
        header = {"prompt_embeddings": {"dtype": "F32", "shape": shape, "data_offsets": [0, 16]}}
        text = json.dumps(header).encode()
        (own / TENSORS).write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    for number, count in enumerate((2**40, 2**70)):
        own = foreign(folder / f"count-{number}", "gpt2")
        settings = json.loads((own / CONFIG).read_bytes())
        (own / CONFIG).write_text(json.dumps(settings | {"num_virtual_tokens": count}))
    own = adapter(folder / "mask")  # half a megabyte that would be two gigabytes
    tensors = save({"prompt_embeddings": torch.ones(1, 4096)})
    facts = json.loads((own / SIDE).read_bytes())
    config = json.dumps(json.loads((own / CONFIG).read_bytes()) | {"num_virtual_tokens": 1}).encode()
    sums = {"tensors_sha256": tensors, "config_sha256": config}
    facts |= {name: hashlib.sha256(content).hexdigest() for name, content in sums.items()}
    (own / TENSORS).write_bytes(tensors)
    (own / CONFIG).write_bytes(config)
    (own / SIDE).write_bytes(stamped(facts | {"mask": ["1"] + ["0"] * 2**17}))
    (folder / "many").mkdir()
    lists = "\n".join(f"{name} = {list(range(1, 60))}" for name in ("train_steps", "batch_size", "patience"))
    lists += "\nlearning_rate = " + str([place / 100 for place in range(1, 60)])
    (folder / "many" / "grid.toml").write_text(f"[training]\n{lists}\n[prompt]\ntokens = {list(range(1, 60))}\n")


READER = """
from prunekit import export
from prunekit.experiment import settings_io
from prunekit.experiment.sweep import grid

def read(own):
    if (own / "grid.toml").exists():
        return grid.read(own / "grid.toml", lambda table: settings_io.experiment(None, {}, table))
    return export.read_adapter(str(own), pieces=4)
"""


@pytest.mark.gate
def test_no_memory_is_taken_for_what_an_adapter_or_a_grid_claims(forks, tmp_path, capsys):
    forged(tmp_path)
    refuses_without_memory(forks, READER, tmp_path, "length-0", capsys)


@pytest.mark.slow
def test_reading_whatever_is_damaged_takes_no_more_memory_than_reading_what_is_sound(tmp_path, capsys):
    """Over all kinds that are only read, those of a run's own inputs among them."""
    mutate_read(inputs(tmp_path / "inputs-0"), 2)
    mutate_read(read_kinds(tmp_path / "others-0"), 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mutate_read(inputs(tmp_path / "inputs"), 4 * FEW)
    mutate_read(read_kinds(tmp_path / "others"), 4 * FEW)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    with capsys.disabled():
        print(f"\n{15 * 4 * FEW} mutated inputs read, {grown} MB more memory")
    assert grown < 100


# ---- what is written for people alone

NEVER_READ = ("results.parquet", "comparison.toml", "report.html")


@pytest.mark.slow
def test_tables_and_pages_are_made_anew_and_never_read(tmp_path, capsys):
    """Damaged every one of them, whatever is shown is the same, and they come back byte for byte."""
    out = tmp_path / "runs"
    file = sweeps.written(tmp_path, methods='"direct"')
    small = dict(train_steps=2, evaluate_every=1, rounds=None, keep_tokens=None, rank=2)
    compare = [
        "compare",
        *tiny.arguments("gpt2", tmp_path, **small),
        "--methods=direct,dpt",
        f"--out={tmp_path / 'compared'}",
    ]
    asked = [["sweep", file, f"--out={out}", "--workers=1", "--threads=1", "--json"], [*compare, "--json"]]

    def said():
        capsys.readouterr()
        for words in asked:
            assert call(*words) == 0
        for run in sorted(out.glob("*/experiment.toml")):
            assert call("runs", "show", run.parent) == 0
        (run, *_) = sorted(out.glob("*/experiment.toml"))
        assert call("report", run.parent, "-o", tmp_path / "report.html") == 0
        return capsys.readouterr().out

    first = said()
    found = {path: path.read_bytes() for name in NEVER_READ for path in sorted(tmp_path.rglob(name))}
    assert {path.name for path in found} == set(NEVER_READ)
    for path in found:
        path.write_bytes(b"damaged")
    assert said() == first
    own = {path for path in found if not (path.parent / "experiment.toml").exists()}
    assert {path: path.read_bytes() for path in own} == {path: found[path] for path in own}
