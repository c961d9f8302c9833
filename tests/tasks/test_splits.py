import json

import pytest

from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks import load_splits, load_task, parse_task, read_rows

TASK = parse_task({"name": "t", "template": "{x} =", "choices": {"0": "no", "1": "yes"}})


def fill(folder, **splits):
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def rows(number, start=0):
    return [{"x": f"text {i}", "label": i % 2} for i in range(start, start + number)]


def load(folder, task=TASK, train=None, validation=None, **more):
    return load_splits(task, data=folder, train_examples=train, validation_examples=validation, **more)


def texts(examples):
    return [example.text for example in examples]


def test_test_is_the_report_and_validation_the_validation(tmp_path):
    splits = load(fill(tmp_path, train=rows(6), validation=rows(3, 10), test=rows(4, 20)))
    assert texts(splits.validation) == ["text 10 =", "text 11 =", "text 12 ="]
    assert len(splits.test) == 4
    assert splits.origin == {
        "train": "train.jsonl: 6 of 6 examples",
        "validation": "validation.jsonl: 3 of 3 examples",
        "test": "test.jsonl: 4 of 4 examples",
    }


@pytest.mark.parametrize(("trained", "chosen_by"), [(16, 128), (200, 200), (900, 512)])
def test_where_no_number_is_given_validation_is_as_large_as_train_within_bounds(tmp_path, trained, chosen_by):
    folder = fill(tmp_path, train=rows(900), validation=rows(600, 1000), test=rows(4, 2000))
    splits = load(folder, train=trained)
    assert splits.origin["validation"] == f"validation.jsonl: {chosen_by} of 600 examples"
    assert len(load(folder, train=trained, validation=10_000).validation) == 600


@pytest.mark.parametrize("hidden", [{"label": -1}, {"label": None}, {}])
def test_an_unlabelled_test_falls_back_to_validation(tmp_path, hidden):
    unlabelled = [{"x": f"hidden {i}", **hidden} for i in range(4)]
    splits = load(fill(tmp_path, train=rows(20), validation=rows(3, 30), test=unlabelled))
    assert splits.origin["test"] == "validation.jsonl: 3 of 3 examples"
    assert splits.origin["validation"] == "carved from train.jsonl by hash: 4 of 4 examples"
    assert splits.origin["train"] == "train.jsonl less those carved: 16 of 16 examples"


def test_carving_is_disjoint_deterministic_and_blind_to_row_order(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = load(fill(tmp_path / "a", train=rows(50), test=rows(5, 90)))
    two = load(fill(tmp_path / "b", train=rows(50)[::-1], test=rows(5, 90)))
    assert len(one.validation) == 10
    assert not set(texts(one.train)) & set(texts(one.validation))
    assert sorted(texts(one.train + one.validation)) == sorted(f"text {i} =" for i in range(50))
    assert set(texts(one.validation)) == set(texts(two.validation))
    assert one.train == load(str(tmp_path / "a")).train
    assert [example.index for example in one.train] == sorted(example.index for example in one.train)


@pytest.mark.parametrize("more", [{}, {"test": [{"x": "hidden"}]}])
def test_train_alone_gives_a_test_and_a_validation_split_and_says_so(tmp_path, more):
    splits = load(fill(tmp_path, train=rows(50), **more))
    assert splits.sizes == {"train": 32, "validation": 8, "test": 10}
    together = texts(splits.train) + texts(splits.validation) + texts(splits.test)
    assert sorted(together) == sorted(f"text {i} =" for i in range(50))
    assert splits.origin["test"] == "carved from train.jsonl by hash: 10 of 10 examples"
    assert splits.origin["validation"] == "carved from train.jsonl by hash: 8 of 8 examples"
    assert splits.notes == (
        "train.jsonl: 10 for test and 8 for validation set apart by a hash of the texts, "
        "32 of 50 examples left to train",
    )
    assert load(fill(tmp_path, train=rows(50)[::-1], **more)).sizes == splits.sizes


def test_equal_texts_stay_together_and_texts_of_the_report_stay_in_train(tmp_path):
    doubled = rows(10) + rows(10) + rows(10, 40)
    splits = load(fill(tmp_path, train=doubled, test=rows(10, 40)))
    assert len(splits.validation) == 6
    assert not set(texts(splits.train)) & set(texts(splits.validation))
    assert not set(texts(splits.test)) & set(texts(splits.validation))
    assert set(texts(splits.test)) < set(texts(splits.train))


def test_never_more_than_half_is_carved_and_at_least_one(tmp_path):
    splits = load(fill(tmp_path, train=rows(2), validation=rows(1, 9)))
    assert (len(splits.train), len(splits.validation)) == (1, 1)
    with pytest.raises(DataError, match=r"^train.jsonl: too few different rows \(1\) to carve a split from$"):
        load(fill(tmp_path, train=rows(1), validation=rows(1, 9)))


def multirc(questions, start=0):
    answers = [{"text": f"answer {i}", "idx": i, "label": i % 2} for i in range(3)]
    asked = [{"question": f"question {start + i}", "idx": start + i, "answers": answers} for i in range(questions)]
    return [{"idx": start, "passage": {"text": f"paragraph {start}", "questions": asked}}]


def test_groups_are_carved_and_drawn_whole(tmp_path):
    task = load_task("multirc")
    folder = fill(tmp_path, train=multirc(10), validation=multirc(4, 50))
    splits = load(folder, task, train=5, validation=4, test_examples=8)
    assert len(splits.validation) == 3
    assert splits.origin["validation"] == "carved from train.jsonl by hash: 3 of 6 examples (4 asked)"
    assert len({example.group for example in splits.validation}) == 1
    assert len(splits.test) == 6
    assert len({example.group for example in splits.test}) == 2
    assert len(splits.train) == 5, "training examples are drawn one by one"
    carved = load(folder, task)
    assert not {one.group for one in carved.train} & {one.group for one in carved.validation}
    with pytest.raises(ConfigError, match=r"^validation_examples = 2 is fewer than any group of .* has; ask for more$"):
        load(folder, task, validation=2)


def test_a_subset_depends_on_the_data_seed_alone_and_keeps_the_order(tmp_path):
    folder = fill(tmp_path, train=rows(100), validation=rows(30, 200), test=rows(30, 300))
    one, again = (load(folder, train=10, validation=7, test_examples=5, data_seed=1) for _ in range(2))
    other = load(folder, train=10, data_seed=2)
    larger = load(folder, train=20, data_seed=1)
    assert one == again
    assert (len(one.train), len(one.validation), len(one.test)) == (10, 7, 5)
    assert texts(one.train) != texts(other.train)
    assert set(texts(one.train)) < set(texts(larger.train))
    indices = [example.index for example in one.train]
    assert indices == sorted(indices)
    assert [f"text {index} =" for index in indices] == texts(one.train), "an index is the place in the whole split"
    assert one.origin["train"] == "train.jsonl: 10 of 100 examples"


def test_more_than_there_are_means_all(tmp_path):
    splits = load(fill(tmp_path, train=rows(6), validation=rows(3, 10), test=rows(4, 20)), train=256)
    assert len(splits.train) == 6
    assert splits.origin["train"] == "train.jsonl: 6 of 6 examples (256 asked)"


def test_the_digest_is_of_the_content(tmp_path):
    folder = fill(tmp_path, train=rows(6), validation=rows(3, 10), test=rows(4, 20))
    first = load(folder).digest
    assert first == load(folder).digest
    assert first != load(folder, train=5).digest
    fill(tmp_path, test=[{**row, "label": 0} for row in rows(4, 20)])
    assert first != load(folder).digest


@pytest.mark.parametrize("name", ["train", "validation", "test"])
@pytest.mark.parametrize("number", [0, -3])
def test_a_count_below_one_is_refused(name, number):
    counts = {"train_examples": None, "validation_examples": None, f"{name}_examples": number}
    with pytest.raises(ConfigError, match=rf"^{name}_examples = {number}: ask for at least 1 example$"):
        load_splits(TASK, data="nowhere", **counts)


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"validation": rows(2), "test": rows(2)}, "there is no train split beside validation.jsonl, test.jsonl"),
        ({"train": rows(1)}, "train.jsonl: too few different rows (1) to carve a split from"),
        ({"train": [], "test": rows(2)}, "train.jsonl: holds no rows"),
        ({"train": rows(4), "test": []}, "test.jsonl: holds no rows"),
        ({"train": [{"x": "t", "lable": 1}], "test": rows(1)}, 'no label field "label"; did you mean "lable"?'),
        ({"train": [{"x": "t", "label": -1}], "test": rows(1)}, 'every label in the field "label" is missing or -1'),
        ({"train": [*rows(3), {"x": "t"}], "test": rows(1)}, "1 of 4 examples have no label, the first is number 3"),
        ({"train": [*rows(1), {"y": "t", "label": 1}], "test": rows(1)}, 'train.jsonl:2: no field "x"'),
        ({"train": [*rows(2), {"x": "t", "label": 7}], "test": rows(1)}, "train.jsonl:3: the label 7 is not one"),
    ],
)
def test_data_that_cannot_be_used_is_one_clear_line(tmp_path, splits, words):
    with pytest.raises(DataError) as caught:
        load(fill(tmp_path, **splits))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_that_hold_no_examples(tmp_path):
    empty = [{"passage": {"text": "p", "questions": []}}]
    with pytest.raises(DataError, match=r"train.jsonl: its rows hold no examples"):
        load(fill(tmp_path, train=empty, test=multirc(1)), load_task("multirc"))


def test_where_the_data_comes_from(tmp_path):
    with pytest.raises(ConfigError, match='task "t" names no data set: name a file or a folder of files with --data'):
        load(None)
    folder = fill(tmp_path, train=rows(6), test=rows(4, 20))
    with pytest.raises(ConfigError, match='revision = "v1" is for data of the Hub'):
        load(folder, revision="v1")
    own = parse_task({"name": "t", "template": "{x} =", "choices": {"0": "no", "1": "yes"}, "data": folder})
    assert load(None, own).digest == load(folder).digest
    hub = parse_task({"name": "t", "template": "{x}", "choices": {"0": "no", "1": "yes"}, "hub": {"path": "a/b"}})
    with pytest.raises(
        DataError, match=r'data set "a/b", revision "v1": not in the local cache .*HF_HUB_OFFLINE is set'
    ):
        load(None, hub, revision="v1")


def test_rows_to_predict_need_no_labels(tmp_path):
    folder = fill(tmp_path, test=[{"x": "a"}, {"x": "b", "label": 99}])
    examples = read_rows(f"{folder}/test.jsonl", TASK)
    assert [(one.index, one.text, one.gold) for one in examples] == [(0, "a =", ()), (1, "b =", ())]
    with pytest.raises(DataError, match=r"none.jsonl: cannot be read"):
        read_rows(tmp_path / "none.jsonl", TASK)


def test_texts_alone_do_for_a_task_that_reads_one_field():
    assert texts(read_rows(["a", "b"], TASK)) == ["a =", "b ="]
    with pytest.raises(DataError, match='rows: task "superglue/rte" reads premise, hypothesis; give dicts or a table'):
        read_rows(["a", "b"], load_task("superglue/rte"))


# ---- a null of training


def golds(examples):
    return [example.gold for example in examples]


def shuffled(folder, task=TASK, **more):
    return load(folder, task, labels="shuffled", **more)


def test_shuffled_answers_are_those_of_the_split_dealt_out_anew_and_report_keeps_its_own(tmp_path):
    folder = fill(tmp_path, train=rows(60), validation=rows(40, 100), test=rows(40, 200))
    given, null = load(folder), shuffled(folder)
    for name in ("train", "validation"):
        before, after = getattr(given, name), getattr(null, name)
        assert texts(before) == texts(after)
        assert sorted(golds(before)) == sorted(golds(after))
        same = sum(one == other for one, other in zip(golds(before), golds(after), strict=True))
        assert abs(same / len(before) - 0.5) < 0.2  # as by chance
        assert null.origin[name] == f"{given.origin[name]}, answers shuffled"
    assert null.test == given.test
    assert null.digest != given.digest


def test_the_shuffle_is_named_by_the_data_seed_alone(tmp_path):
    folder = fill(tmp_path, train=rows(60), validation=rows(40, 100), test=rows(40, 200))
    assert shuffled(folder) == shuffled(folder)
    other = shuffled(folder, data_seed=1)
    assert golds(other.train) != golds(shuffled(folder).train)
    assert set(texts(other.train)) == set(texts(shuffled(folder).train))


def test_a_subset_is_drawn_before_its_answers_are_shuffled(tmp_path):
    folder = fill(tmp_path, train=rows(60), validation=rows(40, 100), test=rows(40, 200))
    given, null = load(folder, train=20), shuffled(folder, train=20)
    assert texts(given.train) == texts(null.train)
    assert sorted(golds(given.train)) == sorted(golds(null.train))


def test_answers_among_choices_of_ones_own_stay_among_them(tmp_path):
    def record(number, start):
        made = []
        for i in range(start, start + number):
            names = [f"name {i} {letter}" for letter in "abcdefg"[: 2 + i % 5]]
            made.append({"passage": " ".join(names), "query": "@placeholder?", "entities": names, "answers": names[:1]})
        return made

    task = load_task("record")
    folder = fill(tmp_path, train=record(40, 0), validation=record(20, 50))
    given, null = load(folder, task), shuffled(folder, task)
    assert len({len(example.choices) for example in null.train}) > 1
    for before, after in zip(given.train, null.train, strict=True):
        assert before.choices == after.choices
        assert len(before.gold) == len(after.gold)
        assert all(0 <= choice < len(after.choices) for choice in after.gold)
    moved = sum(one.gold != other.gold for one, other in zip(given.train, null.train, strict=True))
    assert moved > len(given.train) / 3


ODD = [
    "null", "NaN", "Infinity", "1e400", "9" * 5000, r'"\ud800"', "[" * 200 + "]" * 200, '{"a": [1, {"b": null}]}',
    "true", '"text"', "7", "7.0", '{"k": 1, "k": 2}', "[]",
]  # fmt: skip


def test_a_field_that_the_task_does_not_use_stops_nothing(tmp_path):
    """Of every kind, in every row another, twice in some, and missing in others."""
    for name in ("train", "test"):
        lines = [
            f'{{"x": "text {name} {number}", "label": {number % 2}, "more": {odd}, "more": {other}, "n{number}": 1}}'
            for number, (odd, other) in enumerate(zip(ODD, ODD[1:] + ODD[:1], strict=True))
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join([*lines, '{"x": "last", "label": 0}', ""]))
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("train", "test"):
        kept = [{"x": f"text {name} {number}", "label": number % 2} for number in range(len(ODD))]
        fill(plain, **{name: [*kept, {"x": "last", "label": 0}]})
    assert load(str(tmp_path)).digest == load(str(plain)).digest


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ("NaN", 'train.jsonl:3: the field "x" holds NaN, which pandas writes'),
        ("Infinity", "train.jsonl:3: .* one type: a number here, a text in .*train.jsonl:1"),
        (r'"\ud800 and more"', 'train.jsonl:3: the field "x" holds half a character'),
        ("7", "train.jsonl:3: .* one type: a number here, a text in .*train.jsonl:1"),
        ("null", 'train.jsonl:3: the field "x" is empty; fill it, or leave such rows out'),
        ('"a", "x": "b"', 'train.jsonl:3: the field "x" is there twice'),
        ('["a"]', "train.jsonl:3: .* one type: a list here"),
    ],
)
def test_a_field_that_the_task_uses_is_right_or_its_line_is_named(tmp_path, odd, said):
    folder = fill(tmp_path, train=rows(6), test=rows(6, 20))
    lines = (tmp_path / "train.jsonl").read_text().splitlines()
    (tmp_path / "train.jsonl").write_text("\n".join([*lines[:2], f'{{"x": {odd}, "label": 0}}', *lines[3:]]))
    with pytest.raises(DataError, match=said) as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_whole_numbers_beside_others_stay_what_they_are(tmp_path):
    mixed = [{"x": value, "label": place % 2} for place, value in enumerate([7, 7.5, 8, 10**30, 0.1, 3])]
    splits = load(fill(tmp_path, train=mixed, validation=rows(4), test=rows(4, 20)))
    assert texts(splits.train) == ["7 =", "7.5 =", "8 =", f"{10**30} =", "0.1 =", "3 ="]


def test_a_label_is_not_read_for_prediction_whatever_it_is(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"x": "a", "label": 1}\n{"x": "b", "label": "odd"}\n{"x": "c", "label": NaN, "label": []}\n')
    assert texts(read_rows(path, TASK)) == ["a =", "b =", "c ="]
