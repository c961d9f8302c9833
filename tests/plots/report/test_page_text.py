"""A page that was made before, taken again as long as nothing that it is made of changed."""

import shutil

import pytest
from small import SMALL_RUN

from prunekit.plots.report import build, page_text
from prunekit.plots.report.page_key import page_key
from prunekit.plots.report.page_parts import Page, Section
from prunekit.runs.run import Run
from prunekit.support import kept

pytestmark = pytest.mark.gate


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(kept.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copy(tmp_path):
    """The small run where it may be harmed."""
    shutil.copytree(SMALL_RUN, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def pages(monkeypatch):
    """Makes quick pages in place of real ones; returns the list of those that were made."""
    made = []

    def build_quickly(paths, tolerance, *, with_model):
        made.append(Page(f"page {len(made)}", "", [Section("run", "a", [], [], ["few seeds"], [])], [], ""))
        return made[-1]

    monkeypatch.setattr(build, "build", build_quickly)
    return made


def test_a_kept_page_has_the_bytes_of_one_made_from_nothing_and_its_warnings(few, monkeypatch, tmp_path):
    from_nothing = page_text.write([SMALL_RUN], tmp_path / "first.html", 0.01)
    monkeypatch.setattr(build, "build", None)  # who makes a page fails
    again = page_text.write([SMALL_RUN], tmp_path / "again.html", 0.01)
    assert again == from_nothing and any("Too few seeds" in line for line in again.warnings)
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "first.html").read_bytes()


def test_a_page_is_made_anew_where_the_run_the_request_or_the_kept_file_differs(pages, copy, cache):
    first = page_text.page_text([copy], 0.01)
    assert page_text.page_text([copy], 0.01) == first and len(pages) == 1
    page_text.page_text([copy], 0.02)
    (copy / "environment.json").unlink()
    page_text.page_text([copy], 0.01)
    assert len(pages) == 3
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    page_text.page_text([copy], 0.01)
    assert len(pages) == 4


def test_a_page_that_asks_the_model_is_never_kept(pages, copy):
    for _ in range(2):
        page_text.page_text([copy], 0.01, with_model=True)
    assert len(pages) == 2


def test_a_page_is_not_kept_where_its_run_went_on_meanwhile(pages, copy, cache, monkeypatch):
    quickly = build.build

    def meanwhile(*arguments, **options):
        (copy / "notes.txt").write_text("one more file")
        return quickly(*arguments, **options)

    monkeypatch.setattr(build, "build", meanwhile)
    page_text.page_text([copy], 0.01)
    assert not cache.exists()


def test_the_key_covers_a_single_byte_of_a_run_its_place_and_the_tolerance(copy, tmp_path):
    key = page_key([copy], 0.01)
    assert key == page_key([copy], 0.01)
    others = [page_key([copy], 0.02), page_key([copy, copy], 0.01)]
    path = next(copy.rglob("log.parquet"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    others.append(page_key([copy], 0.01))
    path.write_bytes(content)
    moved = copy.rename(tmp_path / "moved")
    others.append(page_key([moved], 0.01))
    assert len({key, *others}) == 5


def test_the_key_covers_the_files_that_texts_are_taken_from(tmp_path):
    data, run = tmp_path / "rows.csv", Run(tmp_path / "run")
    run.path.mkdir()
    run.write_settings({"task": {"name": "mine.toml", "data": str(data)}})
    keys = [page_key([run.path], 0.01)]
    for text in ("text,label\n", "text,label\na,b\n"):
        data.write_text(text)
        keys.append(page_key([run.path], 0.01))
    assert len(set(keys)) == 3


@pytest.mark.parametrize("task", ["a text", {}, {"name": "mine", "data": "/"}])
def test_there_is_no_key_of_what_is_no_run_or_names_no_task(task, tmp_path):
    assert page_key([tmp_path], 0.01) is None
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.write_settings({"task": task})
    assert page_key([run.path], 0.01) is None
