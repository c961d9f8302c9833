import pytest
from roots import ROOT

from prunekit.support.errors import ArtifactError, ConfigError, DataError, DivergedError, PrunekitError, nearest


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError, 2), (DataError, 2), (ArtifactError, 1), (DivergedError, 1), (PrunekitError, 1)]
)
def test_each_error_has_the_exit_code_of_its_kind(error, code):
    assert issubclass(error, PrunekitError)
    assert error("x").exit_code == code


def test_a_typo_gets_the_nearest_name():
    assert nearest("sst-2", ["sst2", "rte", "cb"]) == 'did you mean "sst2"?'


def test_where_nothing_is_near_all_names_are_listed_once_and_sorted():
    assert nearest("zzzzzz", ["rte", "cb", "rte"]) == "known: cb, rte"


def test_nothing_advises_to_fetch_prunekit_from_an_index_that_does_not_have_it():
    """An extra is installed with the package; what is not there yet, a user installs by its own name."""
    root = ROOT
    for path in [
        *(root / "prunekit").rglob("*.py"),
        *(root / "analyses").rglob("*.py"),
        *(root / "docs").rglob("*.md"),
    ]:
        assert "prunekit[" not in path.read_text(), path
