"""Answers as text: where they end, in which order they come, whatever batches they were written in."""

from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.write import write
from prunekit.tasks.decoding import Decoding

DECODING = Decoding(max_tokens=6)


@pytest.fixture(scope="module")
def written():
    bone = tiny.frozen("llama")
    rows = tiny.encoded(bone, tiny.open_examples(11))
    ticks = []
    prompts = prompt_batch([Member(tiny.ticket(bone, seed=seed)) for seed in range(3)])
    return bone, prompts, rows, write(prompts, bone, rows, DECODING, ticks.append), ticks


def test_answers_are_those_of_single_rows_in_the_given_order(written, monkeypatch):
    bone, prompts, rows, answers, ticks = written
    monkeypatch.setattr("prunekit.engine.write._ROWS", 3)
    alone = write(prompts, bone, rows[::-1], DECODING)
    assert [[answer.ids for answer in member[::-1]] for member in alone] == [
        [answer.ids for answer in member] for member in answers
    ]
    assert ticks[-1] == 11
    assert ticks == sorted(ticks)


def test_an_answer_says_why_it_ends_and_is_text_without_its_end(written):
    bone, _, _, answers, _ = written
    endings = {answer.ended for member in answers for answer in member}
    assert {"end", "length"} == endings
    for answer in (answer for member in answers for answer in member):
        words = bone.tokenizer.convert_ids_to_tokens(list(answer.ids))
        assert (words[-1] == "</s>") == (answer.ended == "end")
        assert answer.ended == "end" or len(words) == 6
        assert answer.text == " ".join(word for word in words if word not in ("<pad>", "</s>", "<unk>"))


def test_a_stop_text_ends_an_answer_and_is_no_part_of_it(written):
    bone, prompts, rows, answers, _ = written
    longest = max((answer for answer in answers[0]), key=lambda answer: len(answer.text.split()))
    stop = longest.text.split()[-1]
    stopped = write(prompts, bone, rows, replace(DECODING, stop=(stop,)))[0]
    for before, after in zip(answers[0], stopped, strict=True):
        assert after.text == before.text.partition(stop)[0].strip()
        assert (after.ended == "stop") == (stop in before.text)
    assert "stop" in {answer.ended for answer in stopped}


@pytest.mark.parametrize(
    ("text", "answer", "stopped"),
    [("  a\nb", "a", True), ("\n a", "a", False), ("a", "a", False), ("", "", False), ("x;y\n", "x", True)],
)
def test_blanks_before_an_answer_stop_nothing(text, answer, stopped):
    assert Decoding(stop=("\n", ";")).cut(text) == (answer, stopped)


def test_a_model_whose_likeliest_first_token_is_its_end_writes_empty_answers():
    bone = tiny.frozen("gpt2")
    (end,) = bone.end_ids
    towards_end = bone.model.get_output_embeddings().weight[end]
    with torch.no_grad():
        bone.model.transformer.ln_f.bias.copy_(50 * towards_end / towards_end.norm())
    prompts = prompt_batch([Member(tiny.ticket(bone))])
    (answers,) = write(prompts, bone, tiny.encoded(bone, tiny.open_examples(5)), DECODING)
    assert {(answer.text, answer.ids, answer.ended) for answer in answers} == {("", (end,), "end")}
