"""Answers as files, read back by the reader of rows."""

from pathlib import Path

import pytest

from prunekit.runs import answers
from prunekit.support.errors import ConfigError
from prunekit.tasks.files import read_file

ANSWERS = [
    {"index": 0, "answer": 'good, or "so"', "choice": 1, "score": 0.5, "label": "1"},
    {"index": 1, "answer": "bad\nand worse", "choice": 0, "score": -1e-9, "label": "0"},
]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.TSV", "a.parquet"])
def test_answers_come_back_from_the_form_that_the_name_ends_in_and_are_known_again(tmp_path, name):
    path = tmp_path / name
    answers.check_form(path)
    path.write_bytes(answers.written(ANSWERS, path))
    kinds = {"index": int, "choice": int, "score": float}
    rows = [{key: kinds.get(key, str)(value) for key, value in row.items()} for row in read_file(path).rows]
    assert rows == ANSWERS
    assert answers.is_answers(path.read_bytes())


def test_another_form_is_refused_by_naming_those_there_are():
    with pytest.raises(ConfigError, match=r"--out a.xlsx: answers are written as .jsonl, .csv, .tsv or .parquet"):
        answers.check_form(Path("a.xlsx"))
