import dataclasses

import pytest

from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks import Hub, Task, load_task, parse_task

TASK = parse_task({"name": "t", "template": "{x} =", "choices": {"bad": "terrible", "good": "great"}})


def gold(task, label, **more):
    return task.examples({"x": "text", "label": label, **more}, 0)[0].gold


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("boolq", [("false", 0, False, "False"), ("true", 1, True, "True")]),
        ("wic", [("false", 0, False), ("true", 1, True)]),
        ("wsc", [("false", 0, False), ("true", 1, True)]),
        ("multirc", [("false", 0, False), ("true", 1, True)]),
        ("cb", [("entailment", 0), ("contradiction", 1), ("neutral", 2)]),
        ("rte", [("entailment", 0), ("not_entailment", 1)]),
        ("sst2", [("negative", 0), ("positive", 1)]),
        ("agnews", [("World", 0), ("Sports", 1), ("Business", 2), ("Sci/Tech", 3)]),
    ],
)
def test_labels_come_as_text_number_or_bool(name, forms):
    task = dataclasses.replace(load_task(name), template="{x}", transform="none", group=None)
    for index, values in enumerate(forms):
        assert [gold(task, value) for value in values] == [(index,)] * len(values)


def test_an_unknown_label_names_place_value_and_known_labels():
    task = load_task("rte")
    row = {"premise": "p", "hypothesis": "h", "label": "entails"}
    message = (
        r"^train.jsonl:7: the label 'entails' is not one of task \"superglue/rte\": "
        r"'entailment' or 0; 'not_entailment' or 1$"
    )
    with pytest.raises(DataError, match=message):
        task.examples(row, 0, "train.jsonl:7")
    for label in (True, 2, 0.5, float("inf"), ["entailment"]):  # True is not the number 1
        with pytest.raises(DataError, match="is not one of task"):
            task.examples({**row, "label": label}, 0)


@pytest.mark.parametrize("label", [None, -1])
def test_a_hidden_label_gives_no_gold(label):
    assert gold(TASK, label) == ()


def test_labels_are_not_read_when_told_so():
    assert TASK.examples({"x": "t", "label": "nonsense"}, 0, labelled=False)[0].gold == ()


def test_a_label_written_as_a_number_in_the_table_is_a_number_in_the_data():
    task = parse_task({"name": "t", "template": "{x}", "choices": {"0": "no", "1": "yes"}})
    assert gold(task, 1) == gold(task, "1") == (1,)
    with pytest.raises(DataError):
        gold(task, True)


def test_fields_may_be_numbers_but_neither_missing_nor_lists():
    assert TASK.examples({"x": 3.5}, 0)[0].text == "3.5 ="
    with pytest.raises(DataError, match=r'^row: no field "x"; did you mean "xs"\?$'):
        TASK.examples({"xs": "t"}, 0)
    for value in ([1], True):
        with pytest.raises(DataError, match=r'the field "x" holds .* not a text'):
            TASK.examples({"x": value}, 0)


def test_the_group_is_a_field():
    task = dataclasses.replace(TASK, group="question")
    assert task.examples({"x": "t", "question": 7}, 0)[0].group == "7"


def test_choices_of_a_list_take_text_texts_or_index():
    task = parse_task({"name": "t", "template": "{x}", "choice_list": "options"})
    options = {"options": ["a", "b", "c"]}
    assert gold(task, "b", **options) == gold(task, 1, **options) == (1,)
    assert gold(task, ["c", "a"], **options) == (0, 2)
    assert gold(task, -1, **options) == gold(task, None, **options) == gold(task, [], **options) == ()
    for label in (3, "d", True):
        with pytest.raises(DataError, match=r"^row: the answer .* is not among the choices \['a', 'b', 'c'\]$"):
            gold(task, label, **options)
    for bad in ([], ["a", "a"]):
        with pytest.raises(DataError, match="at least one answer and none twice"):
            gold(task, "a", options=bad)


def test_score_gives_every_metric_the_primary_first():
    task = load_task("cb")
    row = {"premise": "p", "hypothesis": "h"}
    examples = [task.examples({**row, "label": label}, 0)[0] for label in ("entailment", "neutral")]
    assert task.score(examples, [0, 0]) == {"accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    assert list(task.score(examples, [0, 0])) == ["accuracy", "macro_f1"]


def test_score_refuses_what_it_cannot_judge():
    one = TASK.examples({"x": "t", "label": "bad"}, 4)
    for examples, chosen, words in (
        (one, [], "0 answers cannot be scored against 1 examples"),
        ([], [], "0 answers cannot be scored against 0 examples"),
        (one, [2], "example 4 has 2 choices, not one number 2"),
        (TASK.examples({"x": "t"}, 9), [0], "example 9 has no label"),
    ):
        with pytest.raises(DataError, match=words):
            TASK.score(examples, chosen)


def test_majority_of_fixed_labels_and_of_choice_fields_is_the_most_common_one():
    examples = [TASK.examples({"x": "t", "label": label}, 0)[0] for label in ("good", "bad", "good")]
    assert TASK.majority(examples) == pytest.approx(2 / 3)
    copa = load_task("copa")
    row = {"premise": "P.", "choice1": "A.", "choice2": "B.", "question": "cause"}
    assert copa.majority([copa.examples({**row, "label": n}, 0)[0] for n in (0, 1, 1, 1)]) == 3 / 4


def test_majority_of_own_choices_is_the_expectation_of_a_uniform_choice():
    task = parse_task({"name": "t", "template": "{x}", "choice_list": "options"})
    rows = [
        {"x": "t", "options": ["a", "b"], "label": "a"},
        {"x": "t", "options": ["a", "b", "c", "d"], "label": ["a"]},
    ]
    assert task.majority([task.examples(row, 0)[0] for row in rows]) == pytest.approx((1 / 2 + 1 / 4) / 2)


def test_the_digest_is_of_what_decides_examples_and_scores():
    assert TASK.digest() == dataclasses.replace(TASK, description="other", data="x", hub=Hub("a/b")).digest()
    changes = [
        {"template": "{x}"},
        {"choices": ("great", "terrible")},
        {"labels": ("good", "bad")},
        {"metrics": ("macro_f1",)},
        {"aliases": {"bad": (0,)}},
        {"label": "y"},
        {"group": "x"},
        {"separator": "\n"},
        {"separator": ""},
    ]
    digests = {dataclasses.replace(TASK, **change).digest() for change in changes} | {TASK.digest()}
    assert len(digests) == len(changes) + 1
    assert all(len(digest) == 64 for digest in digests)
    used = dataclasses.replace(TASK)
    used.examples({"x": "t", "label": "bad"}, 0)
    assert used.digest() == TASK.digest(), "caches are no part of it"


def test_a_task_waits_for_its_label_words(tmp_path):
    task = load_task("single")
    assert task.choices is None
    with pytest.raises(ConfigError, match='"single" has no label words yet: write them into'):
        task.examples({"sentence": "s", "label": 0}, 0)
    (tmp_path / "labels.json").write_text('{"1": "good", "0": "bad"}')
    ready = load_task("single", str(tmp_path))
    assert (ready.labels, ready.choices) == (("1", "0"), ("good", "bad"))
    assert ready.examples({"sentence": "s", "label": 0}, 0)[0].gold == (1,)
    assert ready.digest() != task.digest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read as JSON"),
        ('["a", "b"]', "must map at least two labels"),
        ('{"0": "a"}', "must map at least two labels"),
        ('{"0": "a", "1": "a"}', "different words"),
        ('{"0": "a", "1": 2}', "different words"),
    ],
)
def test_bad_label_words_are_one_line(tmp_path, text, words):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        load_task("pair", str(tmp_path))
    assert "\n" not in str(caught.value)
    assert "labels.json" in str(caught.value)


def test_a_task_can_be_made_directly():
    task = Task("mine", "{x}", choices=("no", "yes"), labels=("0", "1"))
    assert gold(task, 1) == (1,)
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.name = "other"


# ---- labels that are numbers


def numbered(labels, aliases=None):
    table = {"name": "t", "template": "{x} =", "choices": {label: f"word {label}" for label in labels}}
    return parse_task(table | ({"aliases": aliases} if aliases else {}))


@pytest.mark.parametrize(
    ("labels", "aliases", "forms"),
    [
        (["0", "1"], None, [("0", 0, 0.0), ("1", 1, 1.0)]),
        (["0.5", "1.5"], None, [("0.5", 0.5), ("1.5", 1.5)]),
        (["-1", "0", "1"], None, [("-1", -1, -1.0), (0,), (1,)]),
        (["low", "high"], {"low": [0.25], "high": [0.75, 2]}, [(0.25,), (0.75, 2, 2.0)]),
        (["1", "2"], {"1": [0], "2": [1]}, [("1", 0, 0.0), ("2", 1, 1.0)]),  # what the file says goes first
        (["1.0", "2.0"], None, [(1.0, 1), (2.0, 2)]),
    ],
)
def test_a_label_is_the_same_number_with_a_point_and_without(labels, aliases, forms):
    task = numbered(labels, aliases)
    for index, values in enumerate(forms):
        assert [task.examples({"x": "a", "label": value}, 0)[0].gold for value in values] == [(index,)] * len(values)


def test_one_number_cannot_stand_for_two_labels():
    with pytest.raises(ConfigError, match='the alias 1 of "b" already means another label'):
        numbered(["a", "b"], {"a": [1.0], "b": [1]})


@pytest.mark.parametrize("given", ["nan", "inf"])
def test_an_alias_that_is_no_number_is_refused(given):
    with pytest.raises(ConfigError, match="finite"):
        numbered(["a", "b"], {"a": [float(given)]})


def test_a_label_that_pandas_left_out_is_missing():
    assert numbered(["0", "1"]).examples({"x": "a", "label": float("nan")}, 0)[0].gold == ()


def test_groups_of_whole_numbers_are_one_with_a_point_and_without():
    task = dataclasses.replace(numbered(["0", "1"]), group="g")
    assert [task.examples({"x": "a", "label": 0, "g": value}, 0)[0].group for value in (7, 7.0, "7")] == ["7"] * 3
    with pytest.raises(DataError, match='"g" holds NaN'):
        task.examples({"x": "a", "label": 0, "g": float("nan")}, 0)
