import numpy as np
import pandas as pd

from prunekit.plots.report.page_parts import Cell, Column, number, pairs, probability, significant, table_of, yes_no

FRAME = pd.DataFrame(
    {
        "name": ["a", "b", None],
        "value": [1.25, np.nan, -3.0],
        "count": np.array([1, 2, 3], dtype=np.int64),
        "good": [True, False, True],
        "hidden": [0, 0, 0],
    }
)
COLUMNS = {
    "value": Column("the value", number(1)),
    "name": Column("name"),
    "count": Column("count"),
    "good": Column("good", yes_no),
    "dropped_as": Column("dropped_as"),
}


def test_named_columns_come_in_the_asked_order():
    table = table_of(FRAME, COLUMNS, "a caption")
    assert [column.label for column in table.columns] == ["the value", "name", "count", "good"]
    assert table.caption == "a caption"
    assert table.numeric == [True, False, True, False]


def test_cells_hold_a_text_and_what_they_are_sorted_by():
    first, second, third = table_of(FRAME, COLUMNS, "").rows
    assert first == [Cell("1.2", 1.25), Cell("a", "a"), Cell("1", 1.0), Cell("yes", 1.0)]
    assert second[0] == Cell("", None)
    assert third[1] == Cell("", None)


def test_long_tables_are_cut_and_say_by_how_much():
    table = table_of(FRAME, COLUMNS, "", most=2)
    assert (len(table.rows), table.left_out) == (2, 1)


def test_lists_in_cells_are_text():
    table = table_of(pd.DataFrame({"a": [[1, 2]]}), {"a": Column("a")}, "")
    assert table.rows[0][0] == Cell("[1, 2]", "[1, 2]")


def test_pairs_are_names_and_values():
    table = pairs({"rate": 0.5, "none": None}, "settings")
    assert [[cell.text for cell in row] for row in table.rows] == [["rate", "0.5"], ["none", ""]]
    assert [column.label for column in table.columns] == ["setting", "value"]


def test_forms_of_numbers():
    assert number(2, "+z")(-0.001) == "+0.00"
    assert significant(1234.5) == "1.23e+03"
    assert (probability(0.0004), probability(0.25)) == ("<0.001", "0.250")
    assert (yes_no(np.True_), yes_no(False)) == ("yes", "no")
