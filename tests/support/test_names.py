"""Names in one text, and back."""

import pytest

from prunekit.support.names import joined, parted


@pytest.mark.parametrize(
    "names",
    [["premise", "hypothesis"], ["review, long"], ["review, long", "stars"], [" text"], ['say "so"', "b"], ["a b"]],
)
def test_names_come_back_whatever_they_hold(names):
    assert parted(joined(names)) == names


def test_plain_names_are_written_as_ever():
    assert joined(["premise", "hypothesis"]) == "premise,hypothesis"
    assert joined([3, 5]) == "3,5"
    assert parted(" premise , hypothesis") == ["premise", "hypothesis"]
    assert parted('"review, long", stars') == ["review, long", "stars"]
