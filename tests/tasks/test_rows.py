import json
import time

import pytest

from prunekit.support.errors import DataError
from prunekit.tasks.folders import read_folder
from prunekit.tasks.rows import read_jsonl


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_lines_become_rows_named_by_file_and_line(tmp_path):
    path = write(tmp_path / "train.jsonl", '\ufeff{"a": "x"}\n\n{"a": "y\u2028z", "b": 2}\r\n')
    source = read_jsonl(path)
    assert source.rows == [{"a": "x"}, {"a": "y\u2028z", "b": 2}]
    assert source.locations == [f"{path}:1", f"{path}:3"]
    assert source.name == "train.jsonl"


def test_a_text_that_looks_like_a_date_stays_a_text(tmp_path):
    path = write(tmp_path / "train.jsonl", '{"sentence": "2019-01-01", "label": true}\n')
    assert read_jsonl(path).rows == [{"sentence": "2019-01-01", "label": True}]


def test_nested_rows_survive(tmp_path):
    path = write(tmp_path / "train.jsonl", '{"p": {"q": [{"a": 1}, {"b": "x"}]}}\n{"p": {"q": []}}\n')
    assert read_jsonl(path).rows == [{"p": {"q": [{"a": 1}, {"b": "x"}]}}, {"p": {"q": []}}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1}\n{"a": \n', r"train.jsonl:2: not a line of JSON: Expecting value"),
        (b'{"a": "\xff"}\n', r"train.jsonl:1: not a line of JSON: 'utf-8' codec"),
        ("[" * 100_000, r"train.jsonl:1: not a line of JSON"),
        ("[1]\n", r"train.jsonl:1: a row must be a JSON object, not '\[1\]'"),
        ("\n \n", r"train.jsonl: holds no rows"),
        ("{}\n{}\n", r"train.jsonl: its rows have no fields"),
        ("[" * 100_000, r"nested too deeply"),
        ('{"a": 1}\n{"a": 2}{"a": 3}\n', r"train.jsonl:2: not a line of JSON: Extra data"),
        ('{"a": 1}\r{"a": 2}\r', r"train.jsonl:1: not a line of JSON: Extra data"),
        ('{"a": "x"}\n'.encode("utf-16"), r"train.jsonl:1: .*; save the file as UTF-8"),
        ('{"a": NAN}\n', r"train.jsonl:1: not a line of JSON"),
    ],
)
def test_a_malformed_file_is_one_clear_line(tmp_path, text, words):
    path = write(tmp_path / "train.jsonl", text)
    with pytest.raises(DataError, match=words) as caught:
        read_jsonl(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none.jsonl: cannot be read: No such file"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(
        DataError, match=r"none: no such data folder; it must hold train, validation and test with an ending"
    ):
        read_folder(tmp_path / "none")
    with pytest.raises(
        DataError, match=r"holds none of train, validation and test with an ending such as .csv, .jsonl or .parquet"
    ):
        read_folder(tmp_path)


def test_every_row_keeps_its_own_form(tmp_path):
    """Nothing is made of one type with other rows: no 7.0 of a 7 beside a 7.5, no null where a field is missing."""
    path = write(tmp_path / "train.jsonl", '{"a": 7}\n{"a": 7.5, "b": 1180591620717411303424}\n{"a": "x"}\n')
    rows = read_jsonl(path).rows
    assert rows == [{"a": 7}, {"a": 7.5, "b": 2**70}, {"a": "x"}]
    assert [type(row["a"]) for row in rows] == [int, float, str]


def test_thousands_of_distinct_keys_take_no_time(tmp_path):
    """A table of all keys by all rows would have 164 million cells."""
    lines = [json.dumps({"text": f"row {number}", f"key {number}": number}) for number in range(12_800)]
    path = write(tmp_path / "train.jsonl", "\n".join(lines))
    began = time.process_time()
    assert len(read_jsonl(path).rows) == 12_800
    assert time.process_time() - began < 5


def test_a_very_long_line_is_a_row(tmp_path):
    path = write(tmp_path / "train.jsonl", json.dumps({"a": "word " * 2_000_000}))
    assert len(read_jsonl(path).rows[0]["a"]) == 10_000_000
