import xml.etree.ElementTree as ElementTree

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from prunekit.plots import style
from prunekit.plots.report.svg import inline

XML = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">{}</svg>'


def made(inside):
    return inline(XML.format(inside), "p-", "a label")


def parsed(inside):
    return ElementTree.fromstring(made(inside))


def test_ids_and_what_refers_to_them_get_the_prefix():
    root = parsed(
        '<defs><clipPath id="c"/><path id="m" d="M0 0"/></defs><g clip-path="url(#c)"><use xlink:href="#m"/></g>'
    )
    assert [one.get("id") for one in root.iter() if one.get("id")] == ["p-c", "p-m"]
    assert root.find("g").get("clip-path") == "url(#p-c)"
    assert root.find("g/use").get("href") == "#p-m"


def test_styles_become_attributes():
    (path,) = parsed('<path d="M0 0" style="fill: none; stroke: #0072b2; clip-path: url(#c)"/>')
    assert (path.get("fill"), path.get("stroke"), path.get("clip-path")) == ("none", "#0072b2", "url(#p-c)")
    assert path.get("style") is None


def test_fonts_are_taken_apart():
    (text,) = parsed("""<text style="font: italic 700 7.5px 'DejaVu Sans', sans-serif; text-anchor: middle">a</text>""")
    assert (text.get("font-size"), text.get("font-style"), text.get("font-weight")) == ("7.5px", "italic", "700")
    assert text.get("font-family").startswith("'DejaVu Sans', ")
    assert text.text == "a"


def test_addresses_comments_metadata_and_style_sheets_go():
    text = made("<!-- a comment --><metadata>http://x</metadata><style>*{}</style><title>t</title><path d='M0 0'/>")
    assert "http" not in text
    assert text.count("<") == 3
    assert 'role="img"' in text
    assert 'aria-label="a label"' in text


def test_a_pixel_picture_inside_stays():
    (image,) = parsed('<image xlink:href="data:image/png;base64,AAAA" width="1"/>')
    assert image.get("href") == "data:image/png;base64,AAAA"


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        "<foreignObject/>",
        "<a><path/></a>",
        '<path onclick="alert(1)"/>',
        '<use xlink:href="https://evil.test/#x"/>',
        '<image xlink:href="javascript:alert(1)"/>',
        '<image xlink:href="data:image/svg+xml;base64,AAAA"/>',
        '<path style="background: url(//evil.test)"/>',
        '<path fill="url(//evil.test/#a)"/>',
        '<path fill="URL (//evil.test/#a)"/>',
        '<text style="font: 7px x&lt;y"/>',
        "<animate/>",
        "<set/>",
    ],
)
def test_what_no_drawing_of_ours_holds_is_refused(inside):
    with pytest.raises(ValueError, match="a drawing"):
        made(inside)


def test_labels_and_texts_stay_text():
    text = inline(XML.format("<text>&lt;script&gt;</text>"), "p-", '"><script>alert(1)</script>')
    assert "<script" not in text
    assert ElementTree.fromstring(text).get("aria-label") == '"><script>alert(1)</script>'


def test_a_drawing_of_matplotlib_passes_whole():
    def draw(table, ax):
        ax.imshow([[0, 1], [2, 3]])
        ax.plot(table["x"], table["x"], "o--", label="$x$ <b> & more", color="red", alpha=0.5)
        ax.bar([0], [1], hatch="///")
        ax.set_title("]]> --> <script>")
        style.legend_above(ax)
        return ax

    table = pd.DataFrame({"x": [0, 1]})
    drawings = [style.render(draw, table, "svg", salt=salt).decode() for salt in ("one", "two")]
    plt.close("all")
    first, second = (inline(drawing, f"{place}-", "label") for place, drawing in enumerate(drawings))
    root = ElementTree.fromstring(first)
    words = " ".join(one.text or "" for one in root.iter("text"))
    assert "$x$ <b> & more" in words
    assert "]]> --> <script>" in words
    ids = [{one.get("id") for one in ElementTree.fromstring(text).iter()} - {None} for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
