from dataclasses import replace

import pytest
import tiny

from prunekit.experiment.prepare import prepare
from prunekit.experiment.suffix_hint import suffix_hint
from prunekit.models import base


@pytest.fixture
def ready(tmp_path):
    return lambda kind, **settings: prepare(tiny.experiment(kind, tmp_path, **settings))


def test_it_says_how_many_tokens_an_update_would_take(ready):
    prepared = ready("gpt2")
    rows = prepared.training_data.train
    longer = [replace(row, text=row.text * 9) for row in rows]
    long = replace(prepared, training_data=replace(prepared.training_data, train=longer))
    whole = sum(9 * len(row.text) + len(row.choices[0]) + 4 for row in rows) / len(rows)
    assert suffix_hint(long) == (
        f"--position suffix would take {4 * (4 + 1):.0f} tokens through the layers in an update, in place of "
        f"{4 * whole:.0f}: texts are read once and kept; only --position first can become a PEFT adapter"
    )
    shorter = [replace(row, text=row.text[:2]) for row in rows]
    assert suffix_hint(replace(prepared, training_data=replace(prepared.training_data, train=shorter))) is None


def test_a_prompt_that_is_read_once_leaves_less_to_save(ready, monkeypatch):
    prepared = ready("gpt2")
    longer = [replace(row, text=row.text * 9) for row in prepared.training_data.train]
    prepared = replace(prepared, training_data=replace(prepared.training_data, train=longer))
    whole = suffix_hint(prepared)
    monkeypatch.setattr(base, "_READING", 1)
    monkeypatch.setattr(base, "_STARTING", 0)
    once = suffix_hint(prepared)
    before, fewer = (int(line.split("in place of ")[1].split(":")[0]) for line in (whole, once))
    assert before - fewer == 3 * 4 - 1


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("gpt2", dict(position="suffix")),
        ("gpt2", dict(position="prefix-kv")),
        ("bert", {}),
        ("t5", {}),
        ("gpt2", dict(method="dept")),
        ("gpt2", dict(model_dropout=True)),
    ],
)
def test_it_is_silent_where_no_text_would_be_kept(ready, kind, settings):
    prepared = ready(kind, **settings)
    longer = [replace(row, text=row.text * 9) for row in prepared.training_data.train]
    assert suffix_hint(replace(prepared, training_data=replace(prepared.training_data, train=longer))) is None
