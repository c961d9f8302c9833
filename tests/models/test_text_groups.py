"""Texts read in groups: who asks for them, in what order and beside whom must change no byte of what is kept."""

from dataclasses import replace

import pytest
import tiny
import torch
from naive import close

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.models import text_groups
from prunekit.models.batch import Encoded
from prunekit.models.text_cache import TextCache
from prunekit.models.text_groups import TextKey, grouped, whole_groups


def examples(*lengths):
    """Texts of these lengths, no two alike, every one of an answer."""
    texts = [tuple(1 + (11 * number + 3 * place) % 48 for place in range(size)) for number, size in enumerate(lengths)]
    return [Encoded(number, text, ((5,), (6,)), 0) for number, text in enumerate(texts)]


@pytest.fixture
def few_tokens(monkeypatch):
    monkeypatch.setattr(text_groups, "_TOKENS", 12)


@pytest.fixture(params=("gpt2", "llama"))
def bone(request):
    return tiny.frozen(request.param, position="suffix")


def read(bone, rows):
    """The rows' texts looked up side by side, as training does."""
    prompts = prompt_batch([Member(tiny.ticket(bone))])
    with torch.no_grad():
        bone.losses(prompts, bone.batch([rows], every_choice=False))


@torch.no_grad()
def alone(bone, ids):
    """Keys and values [layers, 2, heads, T, d] of one text by the Hugging Face model, and its last state."""
    outputs = bone.model.base_model(input_ids=torch.tensor([ids]), use_cache=True)
    layers = [torch.stack([layer.keys[0], layer.values[0]]) for layer in outputs.past_key_values.layers]
    return torch.stack(layers), outputs.last_hidden_state[0, -1]


@pytest.mark.usefixtures("few_tokens")
def test_what_is_kept_depends_on_the_data_alone(bone):
    rows = grouped(examples(3, 4, 5, 3, 6, 4, 9, 3, 5))
    sizes = {len(row.group.texts) for row in rows}
    assert len(sizes) > 1
    read(bone, rows)
    together, bone.texts = bone.texts, TextCache(2**20)
    for row in rows[::-1]:
        read(bone, [row])
    assert len(bone.texts) == len(together) == len(rows)
    for row in rows:
        key = TextKey(row.text, row.group)
        kept, other = together._kept[key], bone.texts._kept[key]
        assert torch.equal(kept.keys_values, other.keys_values)
        assert torch.equal(kept.state, other.state)
        wanted = alone(bone, row.text)
        close(kept.keys_values, wanted[0])
        close(kept.state, wanted[1])


@pytest.mark.usefixtures("few_tokens")
def test_one_text_brings_its_whole_group_and_no_other(bone, monkeypatch):
    passes, inner = [], bone._read_together
    monkeypatch.setattr(bone, "_read_together", lambda texts: passes.append(texts) or inner(texts))
    rows = grouped(examples(4, 4, 4, 4, 6, 6))
    read(bone, rows[:1])
    assert passes == [sorted(row.text for row in rows if row.group == rows[0].group)]
    assert len(passes[0]) == 3
    read(bone, rows)
    assert sorted(text for texts in passes for text in texts) == sorted(row.text for row in rows)


@pytest.mark.usefixtures("few_tokens")
def test_groups_do_not_follow_the_order_of_the_examples_and_hold_no_text_twice():
    rows = examples(3, 8, 4, 5, 3)
    again = [*rows, replace(rows[2], index=9), Encoded(10, (), ((5,),), 0)]
    groups = {row.text: row.group for row in grouped(again)}
    assert groups == {row.text: row.group for row in grouped(again[::-1])}
    assert groups.pop(()) is None
    by_name = {group.name: group for group in groups.values()}
    texts = [text for group in by_name.values() for text in group.texts]
    assert sorted(texts) == sorted(row.text for row in rows)
    assert sorted([len(text) for text in group.texts] for group in by_name.values()) == [[3, 3, 4], [5], [8]]
    for group in by_name.values():
        assert len(group.texts) * max(map(len, group.texts)) <= 12


def test_the_same_text_of_another_data_set_is_read_anew(bone):
    rows = examples(3, 4, 5)
    whole, part = grouped(rows), grouped(rows[:2])
    read(bone, whole)
    read(bone, part)
    assert len(bone.texts) == 5
    assert whole[0].group != part[0].group
    assert whole[0] == part[0]  # as an example it is the same


def test_a_text_that_was_changed_since_leaves_its_group(bone):
    row = grouped(examples(3, 4))[0]
    read(bone, [replace(row, text=(9, 8, 7))])
    assert list(bone.texts._kept) == [TextKey((9, 8, 7))]


@pytest.mark.usefixtures("few_tokens")
def test_where_nothing_can_be_kept_a_text_is_the_same_each_time(bone, monkeypatch):
    rows = grouped(examples(4, 4, 4, 5))
    prompts = prompt_batch([Member(tiny.ticket(bone))])
    batches = [bone.batch([part], every_choice=False) for part in (rows, rows[1:2])]
    wanted = [bone.losses(prompts, batch) for batch in batches]
    bone.texts = TextCache(0)
    monkeypatch.setattr(bone.texts, "_disk_full", True)
    for batch, losses in [*zip(batches, wanted, strict=True)] * 2:
        assert torch.equal(bone.losses(prompts, batch), losses)
    assert len(bone.texts) == 0


def test_encoding_groups_the_texts_of_a_suffix_alone(bone):
    for model, has_groups in ((bone, True), (tiny.frozen("gpt2"), False)):
        encoded = tiny.encoded(model, tiny.examples(4))
        assert all((row.group is not None) is has_groups for row in encoded)


@pytest.mark.parametrize("together", ["lengths", "alone"])
def test_a_model_that_shares_no_padded_pass_reads_text_by_text(bone, together, monkeypatch):
    passes, inner = [], bone._read_together
    monkeypatch.setattr(bone, "_read_together", lambda texts: passes.append(texts) or inner(texts))
    monkeypatch.setattr(bone, "traits", replace(bone.traits, together=together))
    read(bone, grouped(examples(3, 4, 5)))
    assert [len(texts) for texts in passes] == [1, 1, 1]


def test_missing_texts_of_one_group_are_read_in_one_pass():
    rows = grouped(examples(3, 4, 5))
    keys = [TextKey(row.text, row.group) for row in rows]
    assert [*whole_groups([keys[2], TextKey((1,)), keys[0]])] == [keys[0].company, [TextKey((1,))]]
