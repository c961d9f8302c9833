import dataclasses

import pytest

from prunekit.support.errors import ConfigError
from prunekit.tasks import Hub, load_task, parse_task

GOOD = {"name": "t", "template": "{x}", "choices": {"0": "no", "1": "yes"}}


def without(*names):
    return {key: value for key, value in GOOD.items() if key not in names}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({**GOOD, "templte": "{x}"}, 'unknown key "templte"; did you mean "template"?'),
        (without("name"), 'the key "name" is missing'),
        ({**GOOD, "name": "../t"}, '"name" = '),
        ({**GOOD, "metrics": ["accurcy"]}, 'unknown metric "accurcy"; did you mean "accuracy"?'),
        ({**GOOD, "metrics": []}, "name at least one metric"),
        ({**GOOD, "metrics": ["accuracy", "accuracy"]}, "none twice"),
        ({**GOOD, "choices": {"0": "no"}}, "at least two labels"),
        ({**GOOD, "choices": {"0": "no", "1": "no"}}, "a word of its own"),
        ({**GOOD, "choices": {"0": "no", "1": " "}}, "a word of its own"),
        (without("choices"), "exactly one of [choices], labels_file, choice_fields, choice_list"),
        ({**GOOD, "choice_list": "options"}, "exactly one of"),
        ({**without("choices"), "choice_fields": ["a"]}, "at least two different fields"),
        ({**GOOD, "choices": {"0": "a", "1": "b", "2": "c"}, "metrics": ["f1"]}, '"f1" needs exactly two choices'),
        ({**without("choices"), "choice_list": "o", "metrics": ["f1a"]}, '"f1a" needs exactly two choices'),
        ({**GOOD, "aliases": {"2": [2]}}, 'unknown label "2"'),
        ({**GOOD, "aliases": {"0": [7], "1": [7]}}, 'the alias 7 of "1" already means another label'),
        ({**GOOD, "aliases": {"0": ["1"]}}, "already means another label"),
        ({**GOOD, "transform": "mark_span"}, '"transform" = '),
        ({**GOOD, "hub": {"pth": "a/b"}}, '"hub'),
        ({**GOOD, "separator": "; "}, '"separator" = '),
        (
            {**GOOD, "separator": " ", "template": "{x} answer: "},
            "the template ends in ' ', which already stands before",
        ),
        ({**GOOD, "separator": "", "template": "{x} answer:\n"}, "the template ends in '\\n'"),
        ({**GOOD, "separator": "\n", "choices": {"0": " no", "1": "yes"}}, "the answer ' no' begins with a blank"),
    ],
)
def test_every_mistake_is_one_clear_line(table, words):
    with pytest.raises(ConfigError) as caught:
        parse_task(table, "mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert words in message
    assert "\n" not in message


def test_a_file_becomes_a_task_with_data_beside_it(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntemplate = "{x} ="\nlabel = "y"\nmetrics = ["f1"]\ndata = "rows"\n'
        'hub = { path = "a/b", name = "c", rename = { text = "x" } }\n'
        '[choices]\nz = "no"\na = "yes"\n[aliases]\nz = [false, 0]\na = [true]\n'
    )
    task = load_task(str(path))
    assert (task.labels, task.choices) == (("z", "a"), ("no", "yes")), "the order of the file is kept"
    assert task.aliases == {"z": (False, 0), "a": (True,)}
    assert task.hub == Hub("a/b", "c", {"text": "x"})
    assert task.data == str(tmp_path / "rows")
    assert task.examples({"x": "t", "y": True}, 0)[0].gold == (1,)


def test_aliases_may_be_given_for_labels_of_a_file():
    assert parse_task({**without("choices"), "labels_file": "labels.json", "aliases": {"0": [False]}}).choices is None


@pytest.mark.parametrize("separator", [" ", "\n", ""])
def test_the_separator_of_a_file_stands_between_text_and_answer(separator):
    (example,) = parse_task({**GOOD, "separator": separator}).examples({"x": "is it", "label": 0}, 0)
    assert (example.before, example.joined("no")) == ("is it", f"is it{separator}no")
    spaced = dataclasses.replace(example, fields={"x": "is it "})
    assert (spaced.before, spaced.joined("no")) == ("is it", f"is it {separator.lstrip(' ')}no"), "no blank is doubled"


@pytest.mark.parametrize(
    ("template", "word", "whole"), [("{x}: ", "no", "t: no"), ("{x}:\n", "no", "t:\nno"), ("{x}:", " no", "t: no")]
)
def test_a_blank_that_is_written_already_takes_the_separators_place(template, word, whole):
    (example,) = parse_task({**GOOD, "template": template, "choices": {"0": word, "1": "yes"}}).examples({"x": "t"}, 0)
    assert (example.before, example.joined(word)) == ("t:", whole)
