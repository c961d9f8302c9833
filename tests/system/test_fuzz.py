"""Readers against generated input: a value or a typed error, never anything else.

PRUNEKIT_FUZZ_MINUTES sets how long the long ones take in all (half a second each, where it is not set).
"""

import json
import os
import random
import struct
import time

import pytest
import tiny
import tomli_w
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mutate import KINDS, STRANGE, mutated
from roots import ROOT

from prunekit.experiment import settings_io
from prunekit.experiment.settings import Experiment
from prunekit.prompts import METHODS
from prunekit.prompts.mask import Mask
from prunekit.runs.ticket_file import load_ticket, pack, ticket_bytes
from prunekit.support import toml
from prunekit.support.errors import ArtifactError, ConfigError, DataError, PrunekitError
from prunekit.tasks import Example
from prunekit.tasks.example import placeholders
from prunekit.tasks.rows import read_jsonl
from prunekit.tasks.spec import TaskFile, parse_task, read_task

pytestmark = pytest.mark.gate

MINUTES = float(os.environ.get("PRUNEKIT_FUZZ_MINUTES", "0.033"))
quick = settings(deadline=None, suppress_health_check=list(HealthCheck))

FIELDS = "{ } {a} {a.b} {a[0]} {0} {} {a!r} {a:>9} {{a}} text accuracy f1 none"
VALUES = "auto first direct trained nan 1e400 -1 0 \x00 \u202e x.toml"
words = st.one_of(
    st.text(max_size=30), st.sampled_from(FIELDS.split()), st.sampled_from([*VALUES.split(" "), "9" * 4400])
)
scalars = st.one_of(
    words, st.integers(), st.floats(), st.booleans(), st.none(), st.integers(-(2**70), 2**70), st.dates(), st.just("")
)
task_keys = st.sampled_from([*TaskFile.model_fields, "path", "rename", "good", "bad"])
SECTIONS = [field.annotation for field in Experiment.model_fields.values() if hasattr(field.annotation, "model_fields")]
setting_keys = st.sampled_from([*Experiment.model_fields, *(key for part in SECTIONS for key in part.model_fields)])
keys = st.one_of(task_keys, setting_keys)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(words, keys), inner, max_size=4)),
    max_leaves=8,
)


def one_line(error, *names):
    text = str(error)
    assert all(name in text for name in names), text
    return True


# ---- task files


@quick
@given(table=st.dictionaries(task_keys, values, max_size=8))
def test_any_table_is_a_task_or_a_config_error(table):
    try:
        task = parse_task(table, "some.toml")
    except ConfigError as error:
        assert one_line(error, "some.toml")
        return
    assert task.digest()


@quick
@given(change=st.dictionaries(task_keys, values, max_size=3), row=st.dictionaries(words, values, max_size=4))
def test_a_task_that_is_almost_right_reads_any_row_or_says_why_not(change, row):
    table = {"name": "t", "template": "{text}", "choices": {"good": "good", "bad": "bad"}} | change
    try:
        task = parse_task(table, "some.toml")
    except ConfigError:
        return
    for labelled in (True, False):
        try:
            for example in task.examples({"text": "x", "label": "good"} | row, 0, "row 7", labelled=labelled):
                assert isinstance(example.text, str)
        except (DataError, ConfigError):
            pass


# ---- settings


@quick
@given(table=st.dictionaries(st.one_of(setting_keys, words), values, max_size=6))
def test_any_table_is_an_experiment_or_a_config_error(table):
    try:
        made = toml.parse(table, Experiment, "mine.toml")
    except ConfigError as error:
        assert one_line(error, "mine.toml")
        return
    assert toml.parse(made.model_dump(mode="json", exclude_none=True), Experiment, "again") == made


@quick
@given(
    given_flags=st.dictionaries(
        st.sampled_from(sorted({name.replace("-", "_") for name in settings_io._flags_by_path().values()})),
        words,
        max_size=6,
    )
)
def test_any_flags_are_experiments_or_a_config_error(given_flags):
    try:
        assert settings_io.experiments(None, given_flags)
    except ConfigError as error:
        assert "\n" not in repr(str(error))


# ---- templates


@quick
@given(template=words | st.lists(words, max_size=4).map("".join), text=words)
def test_any_template_is_filled_with_its_fields_alone_or_refused(template, text):
    try:
        names = placeholders(template)
    except ValueError:
        return
    shown = Example(0, template, dict.fromkeys(names, text), ("a", "b")).text
    assert names
    marked = Example(0, template, {name: f"<{place}>" for place, name in enumerate(names)}, ("a", "b")).text
    assert all(f"<{place}>" in marked for place in range(len(names)))
    assert text in shown


# ---- data


@quick
@given(lines=st.lists(st.one_of(values.map(lambda one: json.dumps(one, default=str)), words), max_size=5))
def test_any_lines_are_rows_or_a_data_error(lines, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "some.jsonl"
    path.write_text("\n".join(lines), errors="surrogatepass")
    try:
        assert read_jsonl(path).rows
    except DataError as error:
        assert one_line(error, "some.jsonl")


# ---- tickets

tensors = st.builds(
    lambda shape, kind: torch.zeros(shape).to(kind),
    st.lists(st.sampled_from([0, 1, 2, 3, 4, 8]), max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.bool, torch.int64, torch.bfloat16, torch.uint8]),
)
NAMES = "mask.token mask.piece state.values state.left state.right state.sigma head.weight head.bias state. x"
names = st.sampled_from(NAMES.split())
facts = st.fixed_dictionaries(
    {},
    optional={
        "rewind": values, "round": values, "dropped_as": values, "position": values, "seed": values, "origin": values,
        "method": st.one_of(st.sampled_from(list(METHODS)), values), "other": values,
    },
)  # fmt: skip
SOUND = dict(rewind="trained", round=1, dropped_as="remove", position="first", method="direct", seed=0, origin={})
MASKS = {"mask.token": Mask.full(4, 2).token, "mask.piece": Mask.full(4, 2).piece}


@quick
@example(some={"x": torch.tensor(0.0)}, told={}, sound=True)
@given(some=st.dictionaries(names, tensors, max_size=5), told=facts, sound=st.booleans())
def test_any_tensors_and_facts_are_a_ticket_or_an_artifact_error(some, told, sound, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "some.safetensors"
    base = MASKS | {"state.values": torch.ones(4, 8)} if sound else {}
    try:
        path.write_bytes(pack(base | some, (SOUND if sound else {}) | told))
    except (ValueError, TypeError):
        return  # not JSON
    loads(path)


def loads(path):
    try:
        use(path)
    except ArtifactError as error:
        assert one_line(error, path.name)


def use(path):
    ticket = load_ticket(path)
    with torch.no_grad():
        values, present = ticket.prompt()()
    assert len(values) == len(present)
    assert ticket_bytes(ticket) == path.read_bytes()


@quick
@given(header=values, length=st.one_of(st.integers(0, 2**64 - 1), st.none()), tail=st.binary(max_size=64))
def test_any_header_is_refused_by_name(header, length, tail, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "header.safetensors"
    text = json.dumps(header, default=str).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + tail)
    with pytest.raises(ArtifactError, match=r"header\.safetensors"):
        load_ticket(path)


# ---- long

TASKS = sorted((ROOT / "prunekit" / "tasks" / "library").rglob("*.toml"))


def seeds_of(kind, folder):
    """Sound files to start from, and how they are read."""
    if kind == "task":
        return [path.read_bytes() for path in TASKS] + [tiny.TASK.encode()], "t.toml", read_task
    if kind == "settings":
        plain = tomli_w.dumps(Experiment().model_dump(mode="json", exclude_none=True)).encode()
        short = b'seeds = [1]\n[model]\nname = "x"\n[task]\nname = "y"\n'
        return [plain, short], "c.toml", lambda path: settings_io.experiment(path, {})
    if kind == "ticket":
        bones = [tiny.frozen(name) for name in ("gpt2", "bert")]
        return [ticket_bytes(tiny.ticket(bone, tokens=3, pieces=2)) for bone in bones], "t.safetensors", use
    template = [b"{a} and {{b}} {c} :", b"{sentence1} Question: {sentence2} True or False? Answer:"]
    return template, "template", lambda path: fill(path.read_bytes().decode("utf-8", "surrogateescape"))


def fill(template):
    try:
        names = placeholders(template)
    except ValueError:
        return
    Example(0, template, dict.fromkeys(names, "x"), ("a", "b")).text  # noqa: B018 (that it can be filled)


LONG = ("task", "settings", "ticket", "template")


@pytest.mark.gate
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("kind", LONG)
def test_readers_stand_long_fuzzing(kind, tmp_path, capsys):
    """Mutations of mutations: what was accepted is mutated on, so that the search goes deeper than one step."""
    pool, name, reads = seeds_of(kind, tmp_path)
    path, chance = tmp_path / name, random.Random(f"{kind} {MINUTES}")
    count = accepted = 0
    end = time.monotonic() + 60 * MINUTES / len(LONG)
    while time.monotonic() < end:
        content = chance.choice(pool)
        for _ in range(chance.choice((1, 1, 2, 5))):
            other = chance.choice((*pool, *STRANGE))
            content = mutated(content, other, chance.choice(KINDS), chance)
        path.write_bytes(content)
        count += 1
        try:
            reads(path)
        except PrunekitError as error:
            assert name in str(error), (error, content)
        except BaseException:
            (tmp_path / "found").write_bytes(content)
            print(f"after {count}: {tmp_path / 'found'}")
            raise
        else:
            accepted += 1
            if len(pool) < 2000 and len(content) < 20_000:
                pool.append(content)
    with capsys.disabled():
        print(f"\n{kind}: {count} inputs in {15 * MINUTES:.0f} s, {accepted} accepted, the others refused in one line")


@pytest.mark.parametrize(
    "text", ["model = 3", 'task = "x"', "prompt = []", '[task]\nname = "sst2"', '[model]\nname = "x"']
)
def test_settings_that_fuzzing_found_are_refused_by_name(text, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    for given_flags in ({}, {"prompt_tokens": "4"}):
        with pytest.raises(ConfigError, match=r"mine\.toml"):
            settings_io.experiment(path, given_flags)
