import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunekit.support.errors import ConfigError
from prunekit.tasks import Example, parse_task
from prunekit.tasks.example import placeholders


def test_text_fills_the_template_and_keeps_literal_braces():
    example = Example(0, "{{q}} {question}? {question} {passage}", {"question": "{x}", "passage": "p"}, ("no", "yes"))
    assert example.text == "{q} {x}? {x} p"


def test_shortened_changes_the_fields_only():
    example = Example(3, "a {x}", {"x": "long text"}, ("no", "yes"), (1,), "g")
    short = example.shortened({"x": "long"})
    assert short.text == "a long"
    assert (short.index, short.choices, short.gold, short.group) == (3, ("no", "yes"), (1,), "g")


def test_placeholders_are_named_once_in_order():
    assert placeholders("{b} {a} {b}") == ("b", "a")


@pytest.mark.parametrize(
    "template",
    [
        "{a.b}",
        "{a[0]}",
        "{a!r}",
        "{a:>9}",
        "{a:{b}}",
        "{}",
        "{0}",
        "{ a}",
        "plain",
        "{a",
        "a}",
        "{a!}",
        "",
        "{{a}}",
        f"{{{10**30}x}}",
    ],
)
def test_anything_but_plain_placeholders_is_refused(template):
    with pytest.raises(ConfigError, match=r'^task: "template" = ') as caught:
        parse_task({"name": "t", "template": template, "choices": {"0": "no", "1": "yes"}})
    assert "\n" not in str(caught.value)


@settings(max_examples=400, deadline=None)
@given(st.text(st.sampled_from("{}ab_.[]!:r0 \n\\é\x00"), max_size=12) | st.text(max_size=30))
def test_a_template_is_refused_or_renders(template):
    try:
        task = parse_task({"name": "t", "template": template, "choices": {"0": "no", "1": "yes"}})
    except ConfigError:
        return
    row = {name: "text" for name in placeholders(template)} | {"label": 1}
    assert "text" in task.examples(row, 0)[0].text
