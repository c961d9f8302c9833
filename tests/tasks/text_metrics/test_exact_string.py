"""The very same text, blanks at the ends aside."""

import pytest

from prunekit.tasks.text_metrics import TEXT_METRICS


@pytest.mark.parametrize(
    ("answer", "references", "value"),
    [
        (" yes\n", ["yes"], 1.0),
        ("Yes", ["yes"], 0.0),
        ("yes.", ["yes"], 0.0),
        ("no", ["yes", " no"], 1.0),
        ("not  it", ["not it"], 0.0),
    ],
)
def test_only_blanks_at_the_ends_do_not_count(answer, references, value):
    assert TEXT_METRICS["exact_string"].row(answer, references) == (value,)
