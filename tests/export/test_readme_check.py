"""The lines of an export's README answer what `eval` answers, or nothing is exported."""

from dataclasses import replace

import architectures as arch
import pytest
import tiny
import torch
from transformers import AutoModel

from prunekit import export
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import choice_scores, evaluate
from prunekit.export import TicketInfo, readme_check
from prunekit.export.verify import models
from prunekit.models import wrap
from prunekit.support.errors import ArtifactError, ConfigError
from prunekit.support.seeding import generator
from prunekit.tasks import Example

pytest.importorskip("peft")
# PEFT's and transformers' own warnings are others in every version
pytestmark = pytest.mark.filterwarnings("ignore")

TEMPLATE, FIELDS = "w1 {first} w2 {second} w3 :", ("first", "second")
CHOICES = ("good very", "bad")
# two fields of unequal length: within max_input_tokens, over it, and over the model's 80 positions
LENGTHS = [(3, 1), (4, 7), (2, 9), (30, 2), (5, 41), (60, 61), (150, 3)]


def rows(choices=CHOICES, template=TEMPLATE, separator=" "):
    """Examples of every length, with the same choices or with some of their own."""
    made = []
    for index, lengths in enumerate(LENGTHS):
        draw = generator("lines", index)
        words = [" ".join(f"w{word}" for word in torch.randint(40, (count,), generator=draw)) for count in lengths]
        own = choices or (f"w{index} very", "bad", f"w{index + 1}")[: 2 + index % 2]
        made.append(Example(index, template, dict(zip(FIELDS, words, strict=True)), own, (0,), separator=separator))
    return made


def compared(bone, ticket, folder, choices=CHOICES, template=TEMPLATE, separator=" "):
    """What is found where an export of a model in memory is tried, and what `eval` chooses."""
    examples = rows(choices, template, separator)
    with torch.no_grad():
        prompt = prompt_batch([Member(ticket)])
    encoded = bone.encode(examples, own_choices=choices is None, prompt_tokens=len(ticket.mask.token))
    expected = [scores[0] for scores in choice_scores(prompt, bone, encoded)]
    chosen = evaluate(prompt, bone, encoded).chosen[0].tolist()
    assert [int(scores.argmax()) for scores in expected] == chosen
    story = TicketInfo(template=template, choices=choices, separator=separator)
    for name, content in export.adapter_files(ticket, bone, story).items():
        (folder / name).write_bytes(content)
    given = {"tokenizer": bone.tokenizer, "base": models(bone, ticket)[1]}
    return readme_check.compare(folder, examples, expected, **given)


def agrees(found):
    assert (found.rows, found.different) == (len(LENGTHS), 0)
    assert found.difference <= 1e-5 * found.largest
    assert found.largest > 0.1
    readme_check.check(found, torch.float32)


@pytest.mark.gate
@pytest.mark.parametrize(("kind", "most"), tiny.in_turn(arch.KINDS, (12, 256), day=arch.BY_DAY))
def test_they_answer_as_eval_does_however_long_a_text_is(kind, most, tmp_path):
    bone = arch.frozen(kind, max_input_tokens=most)
    agrees(compared(bone, arch.ticket(bone, "dpt", arch.MASKS["pieces"]), tmp_path))


@pytest.mark.gate
@pytest.mark.parametrize("kind", tiny.by_day(arch.KINDS, ("gpt2", "bloom", "t5", "roberta")))
def test_they_answer_rows_that_bring_their_own_choices(kind, tmp_path):
    bone = arch.frozen(kind, max_input_tokens=20)
    ticket = arch.ticket(bone)
    if ticket.head is not None:  # one number for a text and a choice
        ticket = replace(ticket, head={name: value[:1] for name, value in ticket.head.items()})
    agrees(compared(bone, ticket, tmp_path, choices=None))


@pytest.mark.parametrize("kind", ["gpt2", "bart"])
def test_they_rank_by_the_mean_where_the_run_did(kind, tmp_path):
    bone = arch.frozen(kind, ranking="mean")
    agrees(compared(bone, arch.ticket(bone), tmp_path))


ENDS = ["w3 :", "w3 : ", "w3 :\n", "w3"]


@pytest.mark.parametrize(("end", "separator"), tiny.in_turn(ENDS, [" ", "\n"]))
def test_they_join_text_and_answer_as_the_run_did(separator, end, tmp_path):
    bone = wrap(arch.model("gpt2"), tiny.tokenizer("t5"), max_input_tokens=20)  # which closes each text by </s>
    assert bone.reader.closing
    agrees(compared(bone, arch.ticket(bone), tmp_path, template=f"w1 {{first}} {{second}} {end}", separator=separator))


@pytest.mark.parametrize(
    ("end", "others"),
    tiny.in_turn(
        ("Answer:", "Answer: ", "Answer:\n", "Answer"), tiny.pairs((("yes", "no, it is not"), None), (" ", "\n"))
    ),
)
def test_a_real_tokenizer_joins_alike(end, others, shared, tmp_path):
    from prunekit.models import load

    choices, separator = others
    bone = load(str(shared / "models" / "stories260k"), max_input_tokens=40)
    more = dict(choices=choices, template=f"{{first}} or {{second}}? {end}", separator=separator)
    agrees(compared(bone, arch.ticket(bone), tmp_path, **more))


@pytest.mark.parametrize("pad", [0, 1, 5])
def test_a_roberta_whose_tokenizer_pads_otherwise_counts_positions_alike(pad, tmp_path):
    model = tiny.built(AutoModel, "roberta", tiny.COMMON | dict(pad_token_id=pad))
    bone = wrap(model, tiny.tokenizer("roberta"), position="first")
    assert bone.tokenizer.pad_token_id == 0
    agrees(compared(bone, arch.ticket(bone), tmp_path))


def test_a_marian_model_that_scales_nothing_answers_alike(tmp_path):
    agrees(compared(*marian(scale=False), tmp_path))


def test_a_marian_model_that_scales_where_it_reads_ids_is_refused(tmp_path, monkeypatch):
    bone, ticket = marian(scale=True)
    with pytest.raises(ConfigError, match="PEFT feeds it embeddings without that factor"):
        compared(bone, ticket, tmp_path)
    monkeypatch.setattr(export.peft, "_reason", lambda *asked: None)  # nor does it pass where nobody knew
    refused(bone, ticket, tmp_path)


def marian(scale):
    """A tiny Marian with a ticket; scaled ones multiply embeddings inside the branch that reads ids."""
    loader, _, settings = tiny.MODELS["bart"]
    settings = settings | dict(decoder_start_token_id=0, scale_embedding=scale)
    bone = wrap(tiny.built(loader, "marian", settings), tiny.tokenizer("t5"))
    return bone, arch.ticket(bone)


# ---- faults of the code that trains and evaluates


def refused(bone, ticket, folder):
    with pytest.raises(ArtifactError, match=r"not exported: its README's code against eval: \d+ of 7 answers differ"):
        readme_check.check(compared(bone, ticket, folder), torch.float32)


@pytest.mark.parametrize("kind", ["gpt2", "roberta"])
def test_positions_that_are_off_by_one_are_noticed(kind, tmp_path):
    bone = arch.frozen(kind, max_input_tokens=20)
    bone.traits = replace(bone.traits, first_position=bone.traits.first_position + 1)
    refused(bone, arch.ticket(bone), tmp_path)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_embeddings_that_are_scaled_behind_peft_are_noticed(kind, tmp_path, monkeypatch):
    bone = arch.frozen(kind, max_input_tokens=20)
    plain = bone.embed
    monkeypatch.setattr(bone, "embed", lambda ids: plain(ids) * 2)
    refused(bone, arch.ticket(bone), tmp_path)


def test_another_cut_of_long_texts_is_noticed(tmp_path, monkeypatch):
    bone = arch.frozen("gpt2")
    ticket = arch.ticket(bone)
    agrees(compared(bone, ticket, tmp_path))
    as_read = export.peft.as_read
    monkeypatch.setattr(export.peft, "as_read", lambda *told: replace(as_read(*told), max_input_tokens=9))
    refused(bone, ticket, tmp_path)


def test_lines_that_fail_end_in_one_line(tmp_path):
    bone = arch.frozen("gpt2")
    files = export.adapter_files(arch.ticket(bone), bone, TicketInfo(template=TEMPLATE, choices=CHOICES))
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="the code of its README fails") as failed:
        readme_check.compare(tmp_path, rows()[:1], [torch.zeros(2)], tokenizer=bone.tokenizer, base=None)
    assert "\n" not in str(failed.value)


# ---- which rows, and what is too much


def test_the_longest_rows_and_some_others_are_compared_the_same_each_time():
    many = [Example(number, "{text}", {"text": "w" * (number % 97)}, CHOICES, (0,)) for number in range(500)]
    chosen = readme_check.sample(many)
    assert len(chosen) == 32
    assert [len(row.text) for row in chosen[:8]] == [96] * 5 + [95] * 3
    assert len({row.index for row in chosen}) == 32
    assert readme_check.sample(many) == chosen
    assert readme_check.sample(many[:3]) == sorted(many[:3], key=lambda row: -len(row.text))
    wide = [replace(row, choices=tuple(f"w{number}" for number in range(200))) for row in many]
    assert len(readme_check.sample(wide)) == 2
    assert len(readme_check.sample([replace(wide[0], choices=("a",) * 1000)])) == 1


def test_one_other_answer_or_a_large_difference_is_too_much():
    readme_check.check(readme_check.Agreement(32, 0, 1e-4, 5.0), torch.float32)
    readme_check.check(readme_check.Agreement(32, 0, 0.2, 5.0), torch.bfloat16)
    for found, dtype in [
        (readme_check.Agreement(32, 1, 0.0, 5.0), torch.float32),
        (readme_check.Agreement(32, 1, 0.0, 5.0), torch.bfloat16),
        (readme_check.Agreement(32, 0, 1e-3, 5.0), torch.float32),
        (readme_check.Agreement(32, 0, 0.5, 5.0), torch.bfloat16),
        (readme_check.Agreement(32, 0, float("inf"), 5.0), torch.float32),
    ]:
        with pytest.raises(ArtifactError, match=f"{found.different} of 32 answers differ"):
            readme_check.check(found, dtype)
