"""The testbed's few lines of choice scoring, against one forward pass per choice."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

from benchmarks.testbed.measure import accuracy, choice_scores, quick_accuracies, with_instruction
from prunekit.tasks.testbed import MODEL_PATH
from prunekit.tasks.testbed.grammar import examples, find_task


@pytest.fixture(scope="module")
def shipped():
    model = T5ForConditionalGeneration.from_pretrained(MODEL_PATH).eval()
    return model, PreTrainedTokenizerFast.from_pretrained(MODEL_PATH)


TASK = find_task("first-animal")
ROWS = examples("first-animal", "test", 24)


def test_the_instruction_stands_before_each_passage():
    assert with_instruction("copy it", [{"text": "a b"}]) == ["copy it a b"]
    assert with_instruction("", [{"text": "a b"}]) == ["a b"]


def test_scores_are_the_summed_log_probabilities_of_word_and_end(shipped):
    model, tokenizer = shipped
    texts = with_instruction(TASK.instructions[0], ROWS[:6])
    found = choice_scores(model, tokenizer, texts, TASK.choices)
    for row, text in enumerate(texts):
        for column, choice in enumerate(TASK.choices):
            ids, answer = (tokenizer(words, return_tensors="pt").input_ids for words in (text, choice))
            with torch.no_grad():
                logits = model(input_ids=ids, labels=answer).logits[0].log_softmax(-1)
            alone = sum(float(logits[place, token]) for place, token in enumerate(answer[0].tolist()))
            assert float(found[row, column]) == pytest.approx(alone, abs=1e-4)


def test_accuracy_does_not_depend_on_how_rows_are_cut(shipped):
    found = {accuracy(*shipped, ROWS, TASK.choices, TASK.instructions[0], batch=size) for size in (1, 7, 24)}
    assert len(found) == 1
    assert found.pop() >= 0.9


def test_the_quick_way_ranks_as_the_whole_way(shipped):
    instructions = ["first animal", "last animal", "copy colour"]
    quick = list(quick_accuracies(*shipped, ROWS, TASK.choices, instructions, batch=48))
    slow = [accuracy(*shipped, ROWS, TASK.choices, words) for words in instructions]
    assert quick == pytest.approx(slow, abs=1 / len(ROWS) + 1e-9)
