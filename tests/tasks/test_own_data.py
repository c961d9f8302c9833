"""Data as users have it: every form of file and every kind of label works, or one line says what to do."""

import csv
import json

import datasets
import numpy as np
import pandas as pd
import pytest

from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks import Columns, Hub, InMemory, load_splits, load_task, open_task, read_rows
from prunekit.tasks.data import read_data
from prunekit.tasks.label_words import words_of
from prunekit.tasks.labels import infer_labels
from prunekit.tasks.rows import Source, of_dataset

TEXT = "review text"  # a name with a blank
# label of a row by its number; the labels that are seen in it, or what is said
KINDS = {
    "whole numbers": (lambda n: n % 5 + 1, ("1", "2", "3", "4", "5")),
    "words": (lambda n: ("NEGATIVE", "not_sure", "positive")[n % 3], ("NEGATIVE", "not_sure", "positive")),
    "truths": (lambda n: n % 2 == 0, ("false", "true")),
    "whole numbers with a point": (lambda n: float(n % 2), ("0", "1")),
    "halves": (lambda n: n % 3 / 2, ("0", "0.5", "1")),
    "any number": (lambda n: n / 7, "predicting a number (regression) is not supported; write classes"),
    "free texts": (lambda n: f"answer {n}", "they look like free text"),
    "lists": (lambda n: ["a", "b"][: n % 2 + 1], "several labels a row (multi-label classification) are not supported"),
}  # fmt: skip


def table(label, start=0, rows=40):
    numbers = range(start, start + rows)
    texts = [f'text {number}, with a "mark"\nand a line' for number in numbers]
    return pd.DataFrame({"id": numbers, TEXT: texts, "stars": [label(n) for n in numbers], "note": None})


def records(frame):
    return frame.drop(columns="note").to_dict("records")


def dataset(frame):
    return datasets.Dataset.from_list(records(frame))


def lines(path, frame):
    path.write_text("".join(json.dumps(row) + "\n" for row in records(frame)))


FORMS = {
    "csv": lambda f, label: table(label).to_csv(f / "own.csv", index=False),
    "csv of a spreadsheet": lambda f, label: table(label).to_csv(f / "own.csv", sep=";", encoding="utf-8-sig"),
    "tsv": lambda f, label: table(label).to_csv(f / "own.tsv", sep="\t", index=False),
    "parquet": lambda f, label: table(label).to_parquet(f / "own.parquet"),
    "json": lambda f, label: table(label).to_json(f / "own.json", orient="records"),
    "jsonl": lambda f, label: lines(f / "own.jsonl", table(label)),
    "lines called json": lambda f, label: lines(f / "own.json", table(label)),
    "csv splits": lambda f, label: [table(label, s).to_csv(f / f"{n}.csv") for n, s in (("train", 0), ("dev", 50))],
    "parquet shards": lambda f, label: [
        table(label, 20 * n, 20).to_parquet(f / f"train-0000{n}-of-00002.parquet") for n in range(2)
    ],
    "save_to_disk": lambda f, label: dataset(table(label)).save_to_disk(f / "own"),
    "save_to_disk of splits": lambda f, label: datasets.DatasetDict(
        train=dataset(table(label)), validation=dataset(table(label, 50))
    ).save_to_disk(f / "own"),
    "a pandas table": lambda f, label: InMemory(table(label)),
    "a Dataset": lambda f, label: InMemory(dataset(table(label))),
    "a DatasetDict": lambda f, label: InMemory(datasets.DatasetDict(train=dataset(table(label)))),
    "dicts": lambda f, label: InMemory(records(table(label))),
    "dicts by split": lambda f, label: InMemory({"train": records(table(label)), "val": records(table(label, 50))}),
}


def data(form, kind, folder):
    """The data of a form with labels of a kind, as --data or data= would be given it."""
    rows = FORMS[form](folder, KINDS[kind][0])
    if isinstance(rows, InMemory):
        return rows
    files = sorted(folder.iterdir())
    return str(files[0]) if len(files) == 1 and not files[0].stem.startswith("train") else str(folder)


def opened(source, text=(TEXT,), label="stars", words=None):
    task, sources = open_task("own/mine", source, columns=Columns(text, label, words))
    return task, load_splits(task, data=sources, train_examples=None, validation_examples=None)


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_with_every_kind_of_label_works_or_is_refused_in_one_line_that_says_what_to_do(form, kind, tmp_path):
    source, (label, expected) = data(form, kind, tmp_path), KINDS[kind]
    if isinstance(expected, str):
        with pytest.raises(DataError) as refused:
            opened(source)
        line = str(refused.value)
        assert line.startswith('the label column "stars" holds ')
        assert expected in line
        assert "\n" not in line
        return
    task, splits = opened(source)
    assert task.labels == expected
    examples = {example.text: example for part in splits.parts.values() for example in part}
    for number in range(40):
        example = examples[f'review text: text {number}, with a "mark"\nand a line stars:']
        value = label(number)
        written = (
            str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
        )
        assert [task.labels[gold] for gold in example.gold] == [written]
    assert splits.notes, "what was carved is said"


UNREAD = {
    "own.xlsx": 'pandas.read_excel("own.xlsx").to_csv("own.csv", index=False)',
    "own.zip": "unpack it first",
    "own.csv.gz": "unpack it first",
    "own.arrow": 'datasets.Dataset.from_file("own.arrow").to_parquet("own.parquet")',
    "own.feather": 'pandas.read_feather("own.feather").to_parquet("own.parquet")',
    "own.pkl": "a pickle can run any code, and is never read",
    "own.sqlite": "pandas.read_sql",
    "own.txt": "write a CSV file with a header",
    "own.docx": "write it as one of them",
    "own": "its name has no ending that says its form",
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_form_that_is_not_read_says_how_to_convert_it(name, tmp_path):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError) as refused:
        opened(str(tmp_path / name))
    assert UNREAD[name] in str(refused.value)
    assert "\n" not in str(refused.value)
    (tmp_path / name).rename(tmp_path / f"train{(tmp_path / name).suffix}")
    with pytest.raises(DataError):  # in a folder too
        opened(str(tmp_path))


# ---- CSV as it comes

CSV = {
    "a cell too many": ("text,label\na,b,1\n", "own.csv:2: 3 cells, and 2 in the header"),
    "an open quote": ('text,label\na,1\n"b,2\nc,1\n', "own.csv:3: not a row of CSV: unexpected end of data"),
    "a quote inside": ('text,label\n"b" c,2\n', "own.csv:2: not a row of CSV: .* its own written twice"),
    "an empty text": ("text,label\na,1\n,2\nb,1\n", 'own.csv:3: the field "text" is empty; fill it'),
    "an empty label": ("text,label\na,1\nb,\nc,2\nd,1\ne,2\n", "1 of 5 examples have no label, the first is number 1"),
    "NaN for a label": ("text,label\na,1\nb,NaN\nc,2\nd,1\n", "own.csv:3: the label 'NaN' is not one of"),
    "a word among numbers": ("text,label\na,1\nb,none\nc,2\nd,1\n", r"holds words \('none'\) and numbers"),
    "one label": ("text,label\na,1\nb,1\n", "holds '1' in every row"),
    "capitals": ("text,label\na,Good\nb,good\nc,bad\nd,bad\ne,bad\nf,good\n", "'Good' and 'good', which differ in"),
    "a name twice": ("text,text,label\na,b,1\nc,d,2\n", 'own.csv:2: the field "text" is there twice'),
    "no header": ("a fine film,1\na bad film,0\n", 'own.csv: no column "text"; known: 1, a fine film'),
    "no rows": ("text,label\n", "own.csv: holds no rows below its header"),
    "nothing": ("", "own.csv: holds no header"),
    "latin-1": ("text,label\ncafé,1\n".encode("latin-1"), "own.csv:2: not UTF-8 .* iconv -f cp1252 -t utf-8"),
    "utf-16": ("text,label\na,1\n".encode("utf-16"), "own.csv:1: not UTF-8 .* iconv -f UTF-16 -t utf-8"),
    "a spreadsheet": (b"PK\x03\x04\xff\xff", "a spreadsheet or zip archive, whatever its name says"),
    "zeros": (b"text,label\na\0,1\n", "holds zero bytes"),
}


@pytest.mark.parametrize("trap", CSV)
def test_a_csv_file_that_cannot_be_meant_is_one_line_with_its_place(trap, tmp_path):
    content, said = CSV[trap]
    (tmp_path / "own.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=said) as refused:
        opened(str(tmp_path / "own.csv"), ("text",), "label")
    assert "\n" not in str(refused.value)


def test_cells_stay_the_texts_they_are_and_lines_are_counted_through_them(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        '\ufeff text ,label,\r\n007,1,\r\n"a\r\nb",2,\r\n,,\r\n\r\n2019-01-01,1.0,\r\n' + "x" * 200_000 + ",2,\r\n"
    )
    limit = csv.field_size_limit()
    source = read_data(str(path))["train"]
    assert [row["text"] for row in source.rows] == ["007", "a\r\nb", "2019-01-01", "x" * 200_000]
    assert [location.rpartition(":")[2] for location in source.locations] == ["2", "3", "7", "8"]
    assert csv.field_size_limit() == limit
    task, _ = opened(str(path), ("text",), "label")
    assert task.labels == ("1", "2")


def test_old_line_ends_and_tabs_in_a_csv_file_are_read(tmp_path):
    (tmp_path / "own.csv").write_bytes(b"text\tlabel\ra, b\t1\rc\t2\r")
    assert read_data(str(tmp_path / "own.csv"))["train"].rows == [
        {"text": "a, b", "label": "1"},
        {"text": "c", "label": "2"},
    ]


# ---- labels and their words


def source(values, names=None):
    return {
        "train": Source("own", [{"y": value} for value in values], [""] * len(values), {"y": names} if names else {})
    }


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([10, 9, 10, 9], ("9", "10")),
        (["10", "9", "9.0", "10"], ("9", "10")),
        ([-1, 0, 1, -1, 0, 1], ("-1", "0", "1")),
        (["True", "FALSE", "true"], ("false", "true")),
        (["01", "02", "01", "02"], ("01", "02")),
        ([" b", "a ", "b", "a"], ("a", "b")),
        ([1.0, None, 0.0, float("nan"), 1.0, 0.0], ("0", "1")),
    ],
)
def test_labels_are_in_the_order_of_their_kind(values, labels):
    assert infer_labels(source(values), "y") == labels


def test_class_names_are_the_labels_in_their_order_and_hidden_ones_are_none():
    features = datasets.Features({"t": datasets.Value("string"), "y": datasets.ClassLabel(names=["2 stars", "1 star"])})
    rows = {"t": [f"text {n}" for n in range(20)], "y": [n % 2 for n in range(20)]}
    hidden = datasets.Dataset.from_dict({"t": ["a"], "y": [-1]}, features=features)
    both = datasets.DatasetDict(train=datasets.Dataset.from_dict(rows, features=features), test=hidden)
    task, splits = opened(InMemory(both), ("t",), "y")
    assert task.labels == ("2 stars", "1 star")
    assert all(example.gold == (int(example.fields["t"].split()[1]) % 2,) for example in splits.train)
    assert splits.origin["test"].startswith("carved from data train by hash")


def test_a_split_of_hidden_labels_adds_no_label():
    train, hidden = source([0, 1, 0, 1])["train"], source([-1, -1])["train"]
    assert infer_labels({"train": train, "test": hidden}, "y") == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("NEGATIVE", "not_entailment", "Sci/Tech", "USA"), ("negative", "not entailment", "Sci/Tech", "USA")),
        (("a_b", "a b"), ("a_b", "a b")),
        (("1", "2"), ("1", "2")),
    ],
)
def test_words_are_the_labels_as_one_would_write_them(labels, words):
    assert tuple(words_of(labels).values()) == words


def test_words_that_are_given_go_before_a_file_beside_the_data_and_that_before_the_labels(tmp_path):
    table(KINDS["truths"][0]).to_csv(tmp_path / "own.csv")
    path = str(tmp_path / "own.csv")
    assert opened(path)[0].choices == ("false", "true")
    (tmp_path / "labels.json").write_text('{"false": "no", "true": "yes"}')
    assert opened(path)[0].choices == ("no", "yes")
    assert opened(path, words={"false": "bad", "true": "good"})[0].choices == ("bad", "good")
    with pytest.raises(DataError, match="the label 'False' is not one of"):
        opened(path, words={"x": "bad", "true": "good"})


# ---- tasks and columns


def test_columns_fill_the_fields_of_a_task_in_its_order(tmp_path):
    rows = [{"a": f"p {n}", "b": f"h {n}", "c": n % 2, "text": "other"} for n in range(20)]
    task, _ = open_task("pair", InMemory(rows), columns=Columns(("b", "a"), "c"))
    assert task.choices == ("0", "1")
    assert read_rows(rows[:1], task)[0].text == "sentence1: h 0 sentence2: p 0 answer:"
    task, splits = opened(InMemory(rows), ("a", "b"), "c")
    assert splits.train[0].text.startswith("a: p ")
    with pytest.raises(ConfigError, match=r'--text a: task "pair" reads 2 \(sentence1, sentence2\); name as many'):
        load_task("pair", columns=Columns(("a",)))
    with pytest.raises(ConfigError, match="reads rows of a form of its own"):
        load_task("multirc", columns=Columns(("a",)))


def test_names_that_cannot_stand_in_a_template_are_read_all_the_same():
    rows = [{"a.b[0]": f"x {n}", "7": f"y {n}", "q: {z}!": f"z {n}", "y": n % 2} for n in range(20)]
    _, splits = opened(InMemory(rows), ("a.b[0]", "7", "q: {z}!"), "y")
    first = splits.train[0].fields
    number = next(iter(first.values())).split()[1]
    assert splits.train[0].text == f"a.b[0]: x {number} 7: y {number} q: {{z}}!: z {number} y:"


def test_columns_that_nobody_named_are_listed_with_a_guess(tmp_path):
    table(KINDS["words"][0]).to_csv(tmp_path / "own.csv", index=False)
    with pytest.raises(
        ConfigError, match=r'--text .review text. --label stars, of "id", "review text", "stars", "note"'
    ):
        open_task("own/mine", str(tmp_path / "own.csv"))
    with pytest.raises(DataError, match='no column "star"; did you mean "stars"'):
        opened(str(tmp_path / "own.csv"), label="star")


def test_a_library_task_reads_other_forms_and_their_written_labels(tmp_path):
    rows = [{"sentence": f"film {n}", "label": str(n % 2)} for n in range(20)]
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv")
    task, sources = open_task("sst2", str(tmp_path))
    splits = load_splits(task, data=sources, train_examples=None, validation_examples=None)
    assert all(example.gold == (int(example.fields["sentence"].split()[1]) % 2,) for example in splits.train)


# ---- what lies where


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere.csv", "nowhere.csv: no such file or folder, and no Hub data set"),
        ("nowhere", "nowhere: no such file or folder, and no Hub data set, which would be org/name"),
        ("in memory", "the rows were in memory and are not kept; give them again"),
    ],
)
def test_data_that_is_not_there_is_said_to_be_missing(place, said):
    with pytest.raises(DataError, match=said):
        read_data(place)


@pytest.mark.parametrize("rows", [5, [1, 2], {"a": [1]}, pd.Series([1]), np.zeros(3), [], iter([{}])])
def test_other_things_in_memory_are_refused(rows):
    with pytest.raises(DataError, match=r"^data: [^\n]*$"):
        read_data(InMemory(rows))


def test_a_hub_data_set_is_named_with_its_configuration_and_revision(monkeypatch):
    source = of_dataset(dataset(table(KINDS["words"][0])), "train", "train")
    monkeypatch.setattr(
        "prunekit.tasks.data.read_hub", lambda hub, revision: calls.append((hub, revision)) or {"train": source}
    )
    calls = []
    task, sources = open_task("own/set", "org/set:small", "v2", Columns((TEXT,), "stars"))
    assert calls == [(Hub("org/set", "small"), "v2")]
    assert task.labels == KINDS["words"][1]
    assert list(sources) == ["train"]


def test_a_name_that_is_neither_here_nor_on_the_hub_says_both():
    with pytest.raises(
        DataError, match=r'^org/set: no such file or folder; data set "org/set": not in the local cache'
    ):
        read_data("org/set")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["train.csv", "train.jsonl"], "has several files for train: train.csv, train.jsonl; leave one"),
        (["val.csv", "validation.csv", "train.csv"], "has several files for validation"),
        (["reviews.csv"], "name the file itself: .*reviews.csv"),
        (["train.xlsx"], "train.xlsx: .xlsx files are not read"),
        ([], "holds none of train, validation and test"),
    ],
)
def test_a_folder_that_is_not_clear_says_what_to_name(files, said, tmp_path):
    for name in files:
        table(KINDS["words"][0]).to_csv(tmp_path / name)
    with pytest.raises(DataError, match=said):
        read_data(str(tmp_path))


def test_reading_writes_nothing_but_what_was_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    dataset(table(KINDS["words"][0])).save_to_disk(folder / "own")
    table(KINDS["words"][0]).to_parquet(folder / "own.parquet")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    opened(str(folder / "own"))
    opened(str(folder / "own.parquet"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
