import pytest

from prunekit.errors import DataError
from prunekit.tasks import fields


def test_a_missing_or_null_field_names_the_nearest_present_one():
    row = {"premise": "p", "hypothesis": None, "label": 0}
    with pytest.raises(DataError, match=r'^f:3: no field "premis"; did you mean "premise"\?$'):
        fields.value(row, "premis", "f:3")
    with pytest.raises(DataError, match=r'^f:3: no field "hypothesis"; known: label, premise$'):
        fields.value(row, "hypothesis", "f:3")


@pytest.mark.parametrize(
    ("read", "value", "kind"),
    [
        (fields.text, 3, "a text"),
        (fields.whole, True, "a whole number"),
        (fields.whole, "3", "a whole number"),
        (fields.texts, ["a", 1], "a list of texts"),
        (fields.table, [1], "a table"),
        (fields.tables, [{}, 1], "a list of tables"),
    ],
)
def test_another_type_is_named(read, value, kind):
    with pytest.raises(DataError, match=rf"^here: the field \"x\" holds .*, not {kind}$"):
        read({"x": value}, "x", "here")


def test_the_right_type_is_returned():
    row = {"a": "t", "b": 3, "c": ["x"], "d": {"y": 1}, "e": [{"z": 2}]}
    assert fields.text(row, "a", "") == "t"
    assert fields.whole(row, "b", "") == 3
    assert fields.texts(row, "c", "") == ["x"]
    assert fields.table(row, "d", "") == {"y": 1}
    assert fields.tables(row, "e", "") == [{"z": 2}]
