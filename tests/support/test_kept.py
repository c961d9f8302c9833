"""What is kept in the user's cache folder."""

import os

import pytest

from prunekit.support import kept

pytestmark = pytest.mark.gate


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(kept.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_kept_is_taken_until_it_is_deleted(folder):
    assert kept.take("key") is None
    kept.keep("key", b"a page\nof two lines")
    assert kept.take("key") == b"a page\nof two lines" and kept.take("other") is None
    (folder / "key.kept").unlink()
    assert kept.take("key") is None


@pytest.mark.parametrize(
    "harm", [lambda content: content[:-1], lambda content: content.replace(b"p", b"q"), lambda _: b""]
)
def test_a_file_that_is_not_whole_counts_as_none(folder, harm):
    kept.keep("key", b"a page")
    path = folder / "key.kept"
    path.write_bytes(harm(path.read_bytes()))
    assert kept.take("key") is None


def test_the_oldest_go_where_there_are_too_many_and_nobody_elses(folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    os.utime(folder / "thesis.tex", (0, 0))
    for number in range(34):
        kept.keep(str(number), b"page")
        os.utime(folder / f"{number}.kept", (number, number))
    kept.keep("last", b"page")
    assert kept.take("last") == b"page" and kept.take("33") == b"page" and kept.take("0") is None
    assert len(list(folder.glob("*.kept"))) == 32 and (folder / "thesis.tex").read_text() == "mine"


def test_nothing_is_kept_where_nobody_wants_it_or_nothing_can_be_written(folder, monkeypatch):
    folder.write_bytes(b"a file, no folder")
    kept.keep("key", b"a page")
    assert kept.take("key") is None
    monkeypatch.setenv(kept.FOLDER, "")
    kept.keep("key", b"a page")
    assert kept.take("key") is None


def test_it_lies_where_the_system_has_its_caches(tmp_path, monkeypatch):
    monkeypatch.delenv(kept.FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept.keep("key", b"a page")
    assert (tmp_path / "prunekit" / "key.kept").is_file() and kept.take("key") == b"a page"
