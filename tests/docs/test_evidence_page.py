"""That the summary says nothing which no table of the studies says."""

import re
from pathlib import Path

import pytest

from analyses.studies import catalog, evidence
from prunekit.analysis import verdicts

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/evidence.md").read_text()
PAGES = {path: path.read_text() for path in catalog.HERE.rglob("*.md")}
_INTERVAL = re.compile(r"([-+]?\d\.\d{3})\s+(\[-?\d\.\d{3}, -?\d\.\d{3}\])")
_NUMBER = re.compile(r"(?<![\d.])\d\.\d{3}(?!\d)")


@pytest.fixture(scope="module")
def decided():
    return evidence.on_real_models(catalog.STUDIES)


def test_every_difference_stands_with_its_interval_in_a_table():
    differences = _INTERVAL.findall(PAGE)
    assert len(differences) > 10
    for difference, interval in differences:
        assert any(f"{difference} {interval}" in text for text in PAGES.values()), f"{difference} {interval}"


def test_every_other_number_stands_on_a_page_of_the_studies():
    numbers = set(_NUMBER.findall(_INTERVAL.sub("", PAGE)))
    assert "0.752" in numbers
    cells = " ".join(PAGES.values())
    missing = {number for number in numbers if not re.search(rf"(?<![\d.]){number.rstrip('0')}0*(?!\d)", cells)}
    assert not missing


def test_it_counts_the_verdicts_on_real_models_as_they_are(decided):
    kinds = decided["verdict"].map(verdicts.kind)
    assert (len(kinds), (kinds == verdicts.INCONCLUSIVE).sum()) == (28, 12)
    assert "what twelve of twenty-eight are" in PAGE
    assert (kinds == verdicts.OTHER_WAY).sum() == 3
    assert "the three claims of the twenty-eight that go the other way" in PAGE


def test_its_picture_is_what_the_tables_give(decided):
    assert (catalog.HERE / evidence.EVIDENCE_PICTURE).read_bytes() == evidence.render(decided)
