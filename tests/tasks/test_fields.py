import pytest

from prunekit.support.errors import DataError
from prunekit.tasks import fields


def test_a_missing_field_names_the_nearest_present_one_and_an_empty_one_is_said_to_be_empty():
    row = {"premise": "p", "hypothesis": None, "label": 0}
    with pytest.raises(DataError, match=r'^f:3: no field "premis"; did you mean "premise"\?$'):
        fields.value(row, "premis", "f:3")
    with pytest.raises(DataError, match=r'^f:3: the field "hypothesis" is empty; fill it, or leave such rows out$'):
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


# ---- what JSON can hold beside what is meant


def refused(row, name, read=fields.written):
    with pytest.raises(DataError) as error:
        read(fields.parse(row), name, "f.jsonl:3")
    line = str(error.value)
    assert line.startswith(f'f.jsonl:3: the field "{name}" ')
    assert "\n" not in line
    line.encode()  # it can be shown
    return line


@pytest.mark.parametrize("read", [fields.written, fields.text])
def test_nan_is_a_missing_value_and_no_text(read):
    assert "holds NaN, which pandas writes where a value is missing; leave such rows out" in refused(
        '{"x": NaN}', "x", read
    )


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000])
def test_numbers_beyond_every_float_are_no_texts(number):
    assert "infinite" in refused(f'{{"x": {number}}}', "x")


@pytest.mark.parametrize(("given", "said"), [("7", "7"), ("7.5", "7.5"), ("-0.0", "-0.0"), ("1e3", "1000.0")])
def test_a_number_is_written_out_as_it_stands(given, said):
    assert fields.written(fields.parse(f'{{"x": {given}}}'), "x", "") == said


@pytest.mark.parametrize("given", [r"\ud83d", r"good \udc00 night", r"\ude00\ud83d"])
def test_half_a_character_is_named_with_its_place(given):
    assert "holds half a character (a lone surrogate, " in refused(f'{{"x": "{given}"}}', "x")
    assert "half a character" in refused(f'{{"x": "{given}"}}', "x", fields.text)
    assert "half a character" in refused(f'{{"x": ["fine", "{given}"]}}', "x", fields.texts)


def test_a_pair_of_surrogates_is_one_character():
    assert fields.written(fields.parse(r'{"x": "\ud83d\ude00"}'), "x", "") == "\U0001f600"


def test_a_field_that_is_there_twice_is_refused_where_it_is_read():
    row = '{"x": "a", "y": 1, "x": "b", "z": {"q": 1, "q": 2}, "w": 3, "w": 3}'
    assert "is there twice, with different values" in refused(row, "x")
    assert fields.written(fields.parse(row), "y", "") == "1"
    assert fields.written(fields.parse(row), "w", "") == "3"
    with pytest.raises(DataError, match='"q" is there twice'):
        fields.value(fields.table(fields.parse(row), "z", "f"), "q", "f")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (['"a"', "7"], 'f:2: the field "x" must hold values of one type: a number here, a text in f:1'),
        (["null", "NaN", "1", "2.5", "true"], "f:5: .*: true or false here, a number in f:3"),
        (['{"a": 1}', "[1]"], "f:2: .*: a list here, a table in f:1"),
    ],
)
def test_a_field_of_two_kinds_is_refused_with_both_lines(rows, said):
    found = [fields.parse(f'{{"x": {row}}}') for row in rows]
    places = [f"f:{number}" for number in range(1, len(rows) + 1)]
    with pytest.raises(DataError, match=said):
        fields.check_alike(found, places, ["x"])
    fields.check_alike(found, places, ["y"])  # nobody reads x
