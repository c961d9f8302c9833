"""Tasks whose answers the model writes: their files, their references, and what is wrong with them."""

import json

import pytest
import tiny

from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks import Columns, InMemory, load_splits, parse_task, read_rows
from prunekit.tasks.decoding import Decoding
from prunekit.tasks.open_task import open_task

SWAP = dict(
    name="swap", template="{text}", target="{first} {answers}", metrics=["squad_f1", "bleu"], max_target_tokens=4,
    stop=["\n"], decoding={"beams": 2},
)  # fmt: skip
ROW = {"text": "a b", "first": "so", "answers": ["b a", "b", "b a"]}


def test_a_field_with_a_list_gives_a_reference_each_and_the_first_is_trained_on():
    task = parse_task(SWAP)
    (example,) = task.examples(ROW, 7)
    assert example.references == ("so b a", "so b")
    assert (example.choices, example.gold, example.target_tokens) == (("so b a",), (0,), 4)
    assert task.open
    assert task.decoding == Decoding(4, ("\n",), beams=2)
    assert task.chosen_by == "loss"


@pytest.mark.parametrize(
    "answers", [{"text": ["b", "c"], "answer_start": [0, 1]}, [{"text": "b"}, {"text": "c"}], ["b", "c"]]
)
def test_references_are_read_in_each_form_that_squad_has(answers):
    task = parse_task({**SWAP, "target": "{answers}", "transform": "squad_answers"})
    (example,) = task.examples({**ROW, "answers": answers}, 0)
    assert example.references == ("b", "c")


def test_a_row_without_references_is_a_question_and_an_empty_one_is_a_mistake():
    task = parse_task(SWAP)
    for row in ({"text": "a"}, {**ROW, "answers": None}, {**ROW, "answers": []}):
        (example,) = task.examples(row, 0)
        assert (example.choices, example.gold, example.references, example.open) == ((), (), (), True)
    with pytest.raises(DataError, match="row: a reference is empty; leave it out"):
        parse_task({**SWAP, "target": "{answers}"}).examples({**ROW, "answers": ["b", " "]}, 0)
    with pytest.raises(DataError, match='"first" and "answers" both hold lists'):
        task.examples({**ROW, "first": ["x"]}, 0)
    assert read_rows([{"text": "a b"}], task)[0].open


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": ["squad_g1"]}, 'unknown metric "squad_g1"; did you mean "squad_f1"'),
        ({"metrics": ["accuracy"]}, 'the metric "accuracy" judges chosen answers'),
        ({"target": "{a.b}"}, "only plain {name} placeholders"),
        ({"choices": {"0": "no", "1": "yes"}}, "give the answers by exactly one of"),
        ({"stop": [""]}, "an empty text stops every answer"),
        ({"max_target_tokens": 0}, '"max_target_tokens"'),
        ({"decoding": {"beam": 2}}, "beam"),
        ({"decoding": {"beams": 2, "temperature": 1.0}}, "beams search and temperature draws; set one of them"),
        ({"target": "", "choices": {"0": "no", "1": "yes"}, "metrics": ["accuracy"]}, "decoding is for answers"),
        ({"target": "", "choices": {"0": "no", "1": "yes"}}, 'the metric "squad_f1" judges written answers'),
    ],
)
def test_mistakes_in_a_task_file_are_one_clear_line(changes, words):
    with pytest.raises(ConfigError) as caught:
        parse_task({**SWAP, **changes}, "mine.toml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_answers_are_judged_by_every_reference_and_constant_ones_are_a_base_line():
    task = parse_task({**SWAP, "target": "{answers}", "metrics": ["exact_string"]})
    examples = [task.examples({**ROW, "answers": answers}, 0)[0] for answers in (["b", "c"], ["c"], ["b"])]
    assert task.score(examples, ["c", "c", "x"]) == {"exact_string": pytest.approx(2 / 3)}
    assert task.majority(examples) == pytest.approx(2 / 3)  # always "b"
    assert task.row_statistics(examples, ["c", "c", "x"])["exact_string"].tolist() == [[1.0], [1.0], [0.0]]
    with pytest.raises(DataError, match="example 0 has no reference"):
        task.score(task.examples({"text": "a"}, 0), ["x"])


@pytest.fixture
def data(tmp_path):
    for split, count in (("train", 20), ("validation", 4), ("test", 4)):
        rows = [{"text": f"{split} {row}", "first": "so", "answers": [f"a{row}", f"b{row}"]} for row in range(count)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def splits(task, data, **more):
    return load_splits(task, data=str(data), train_examples=None, validation_examples=None, **more)


def test_a_reference_is_drawn_by_the_data_seed_for_training_alone(data):
    task = parse_task({**SWAP, "reference": "seed"})
    drawn = [splits(task, data, data_seed=seed) for seed in (0, 0, 1)]
    targets = [[example.choices[0] for example in parts.train] for parts in drawn]
    assert targets[0] == targets[1] != targets[2]
    assert {target.split()[1][0] for target in targets[0]} == {"a", "b"}
    assert all(example.choices == example.references[:1] for example in drawn[0].test)
    assert drawn[0].digest != drawn[2].digest


def test_shuffled_answers_are_other_texts_answers(data):
    given, dealt = (splits(parse_task(SWAP), data, labels=labels) for labels in ("given", "shuffled"))
    pairs = [(example.choices, example.references) for example in given.train]
    shuffled = [(example.choices, example.references) for example in dealt.train]
    assert sorted(shuffled) == sorted(pairs)
    assert sum(one != other for one, other in zip(pairs, shuffled, strict=True)) > 10
    assert dealt.test == given.test


def test_a_split_without_a_reference_in_some_rows_is_refused_by_name(data):
    with (data / "test.jsonl").open("a") as file:
        file.write('\n{"text": "x", "first": "so"}')
    with pytest.raises(DataError, match="1 of 5 examples have no reference"):
        splits(parse_task(SWAP), data)


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_a_target_ends_where_the_model_ends_and_is_cut_where_it_is_too_long(kind):
    bone = tiny.frozen(kind)
    examples = tiny.open_examples(3)
    rows = bone.encode(examples, own_choices=True, prompt_tokens=4)
    for example, row in zip(examples, rows, strict=True):
        whole = [*example.choices[0].split(), "</s>"]
        assert bone.tokenizer.convert_ids_to_tokens(list(row.choices[0])) == whole[: example.target_tokens]
        assert row.target_cut == (len(whole) > example.target_tokens)
    assert {row.target_cut for row in rows} == {True, False}


def test_questions_of_own_data_have_no_column_of_answers(tmp_path):
    rows = [{"question": f"w{n} w2", "answer": "w2"} for n in range(8)]
    task, _ = open_task("own/rows", InMemory(rows), columns=Columns(("question",), target="answer"))
    for asked in (["w1 w2"], [{"question": "w1 w2"}], rows):
        assert read_rows(asked, task)[0].fields["question"].endswith("w2")
