import pandas as pd
import pytest

from prunekit.analysis import conclusions
from prunekit.analysis.conclusions import Conclusion, one_row, refuse_several, rows
from prunekit.support.errors import DataError

TABLE = pd.DataFrame({"kind": ["a", "a", "b"], "level": ["token", "piece", "token"], "value": [1, 2, 3]})


def test_rows_are_chosen_by_all_values():
    assert list(rows(TABLE, kind="a", level="token")["value"]) == [1]


def test_an_empty_table_needs_no_columns():
    assert rows(pd.DataFrame(), kind="a").empty
    assert one_row(pd.DataFrame(), kind="a") is None


def test_one_row_comes_as_a_dictionary():
    assert one_row(TABLE, kind="b") == {"kind": "b", "level": "token", "value": 3}
    assert one_row(TABLE, kind="c") is None


def test_several_rows_for_one_are_refused():
    with pytest.raises(DataError, match="2 rows for kind a; give the table of one run"):
        one_row(TABLE, kind="a")


def test_several_subjects_are_refused_by_name():
    refuse_several(TABLE, "round")  # a column that is not there tells nothing apart
    with pytest.raises(DataError, match="about one kind, the table holds a, b; choose one"):
        refuse_several(TABLE, "kind")


def test_conclusions_make_a_table():
    table = conclusions.as_table([Conclusion("Is it?", "yes", "It is.")])
    assert table.to_dict("records") == [{"question": "Is it?", "answer": "yes", "sentence": "It is."}]
    assert list(conclusions.as_table([])) == ["question", "answer", "sentence"]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (conclusions.seeds(1), "1 seed"),
        (conclusions.seeds(6.0), "6 seeds"),
        (conclusions.span(pd.Series([3.0, 3.0])), "3"),
        (conclusions.span(pd.Series([5, 2])), "2 to 5"),
        (conclusions.probability(0.0123), "0.012"),
        (conclusions.probability(float("nan")), "nan"),
        (conclusions.capital("the prompt"), "The prompt"),
        (conclusions.capital(""), ""),
    ],
)
def test_words(said, wanted):
    assert said == wanted
