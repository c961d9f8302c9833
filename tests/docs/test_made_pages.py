"""What is made for the site: pages of notebooks, the gallery that opens large, the reference of what is public."""

import base64
import json
import re

import docs_site
import pytest
from docs_site import ROOT, Page

import prunekit
from prunekit.plots.catalog import FIGURES
from prunekit.plots.run_plots import SHORT

# docs_site puts their folder on the path
import gallery  # isort: skip
import notebooks  # isort: skip
import reference  # isort: skip

GALLERY = """# Figures

Some words.

| figure | what it shows |
|---|---|
| ![](one.svg) | `one`: a "line". It falls. |
| ![](two.svg) | `two`: bars. |

More words.
"""


def test_a_picture_of_the_gallery_opens_large_and_closes_where_it_was():
    page = gallery.page(GALLERY)
    assert "| figure" not in page
    assert page.startswith("# Figures\n\nSome words.")
    assert page.endswith("More words.\n")
    assert re.findall(r'href="#(large-\w+)"', page) == ["large-one", "large-two"]
    assert re.findall(r'id="(large-\w+)" href="#(\w+)"', page) == [("large-one", "one"), ("large-two", "two")]
    assert page.count('alt="one: a &quot;line&quot;"') == 2
    assert gallery.page("# No table") == "# No table"


def test_every_committed_picture_of_the_gallery_is_on_its_page(tmp_path_factory):
    page = Page(docs_site.built(tmp_path_factory) / "gallery" / "index.html")
    pictures = {path.name for path in (ROOT / "figures" / "gallery").glob("*.svg")}
    assert {name for name in page.loaded if name.endswith(".svg")} == pictures
    assert {f"large-{name.removesuffix('.svg')}" for name in pictures} <= page.ids


def test_a_notebook_becomes_a_page_with_its_tables_and_pictures(tmp_path):
    folder = tmp_path / notebooks.FOLDER
    folder.mkdir(parents=True)
    picture, table = (
        b"\x89PNG",
        '<div><style scoped>a</style>\n\n<table border="1" class="dataframe">\n<tr></tr></table></div>',
    )
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["two\n", "lines\n"]},
        {"output_type": "display_data", "data": {"text/html": table}},
        {"output_type": "display_data", "data": {"image/png": base64.b64encode(picture).decode()}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Opening."]},
        {"cell_type": "markdown", "source": "## A part\n\nText."},
        {"cell_type": "code", "source": ["x = 1\n", "x"], "outputs": outputs},
    ]
    (folder / "some.ipynb").write_text(json.dumps({"cells": cells}))
    files = notebooks.files(tmp_path)
    assert set(files) == {"notebooks/some.md", "notebooks/some.ipynb", "notebooks/some-1.png"}
    assert files["notebooks/some-1.png"] == picture
    page = files["notebooks/some.md"]
    assert page.startswith("# Title\n\n*[The notebook](some.ipynb)")
    assert "```python\nx = 1\nx\n```\n\n```text\ntwo\nlines\n```" in page
    assert "![A part](some-1.png)" in page
    assert "<style" not in page
    assert "\n\n" not in page[page.index('<div class="output">') : page.index("![A part]")].rstrip()


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    return Page(docs_site.built(tmp_path_factory) / "reference" / "prunekit.html")


def test_the_reference_holds_what_is_public_what_it_hands_out_and_every_picture(public, tmp_path_factory):
    assert {name for name in prunekit.__all__ if not name.startswith("_")} <= set(reference.public())
    assert {*reference.public().values(), *reference.OBJECTS} <= public.ids
    text = (docs_site.built(tmp_path_factory) / "reference" / "prunekit.html").read_text()
    names = [figure.name for figure in FIGURES if figure.name not in SHORT.values()] + list(SHORT)
    assert [name for name in names if f"<code>{name}</code>" not in text] == []


def test_modules_are_neither_in_the_navigation_nor_found_by_the_search(tmp_path_factory):
    site = docs_site.built(tmp_path_factory)
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {
        entry["location"].partition("#")[0] for entry in index["docs"] if entry["location"].startswith("reference/")
    }
    assert found == {"reference/prunekit.html"}
    navigation = (site / "index.html").read_text()
    assert re.findall(r"md-nav__link[^>]*>\s*(?:<span[^>]*>)?\s*prunekit[.]\w+", navigation) == []
