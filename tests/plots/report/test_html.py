"""The page as HTML: whole, inert, and needing nothing but itself."""

import base64
import hashlib
import json
import re
import shlex
import subprocess
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from markupsafe import Markup

from prunekit.plots import cells, style
from prunekit.plots.report import html
from prunekit.plots.report.page_parts import (
    Block,
    Cell,
    Column,
    Figure,
    Hover,
    Missing,
    Page,
    Piece,
    Section,
    Table,
)
from prunekit.support.errors import DataError

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reader(HTMLParser):
    """Every element with its attributes, in order; refuses tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]

    def ids(self):
        """Every id, each there once."""
        ids = [attributes["id"] for _, attributes in self.found if "id" in attributes]
        assert len(ids) == len(set(ids))
        return set(ids)


def table(word="name"):
    rows = [[Cell(f"{word} {place}", f"{word} {place}"), Cell(f"{place}.50", place + 0.5)] for place in range(3)]
    rows.append([Cell(word, word), Cell("", None)])
    rows.append([Cell(word, word, [Piece(word), Piece(f" {word}", "del"), Piece(word, "ins")]), Cell("", None)])
    return Table(f"{word} of a table", [Column(word), Column("value")], rows, [False, True])


def whole(word="name"):
    """A page that has every part, `word` in every string."""
    drawing = Markup('<svg role="img" aria-label="bars"></svg>')
    figure = Figure(word, word, drawing, table(word), wide=True, hover=Hover([word], [[word]]))
    block = Block(word, "block-1", [word], [table(word)], [figure], [table(word)], [Missing(word, word, word)])
    section = Section(word, "run-1", [(word, word)], [word], [word], [block])
    return Page(word, word, [section], [replace(block, anchor="across")], word)


def test_it_is_one_well_formed_document_and_the_same_every_time():
    read = Reader(html.render(whole()))
    assert [tag for tag, _ in read.found[:2]] == ["html", "head"]
    assert read.all("html") == [{"lang": "en"}]
    assert html.render(whole()) == html.render(whole())


def test_nothing_is_loaded_from_elsewhere():
    text = html.render(whole())
    assert "://" not in text
    read = Reader(text)
    for _, attributes in read.found:
        assert not set(attributes) & {"src", "srcset", "action", "data", "poster", "background", "style"}
        assert attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert not read.all("link")


def test_the_policy_allows_its_own_script_and_style_and_no_other():
    text = html.render(whole())
    (policy,) = [
        one["content"] for one in Reader(text).all("meta") if one.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    # and it stands before what it rules
    assert text.index("Content-Security-Policy") < min(text.index("<style"), text.index("<script"), text.index("<svg"))


def test_headings_never_skip_a_level():
    levels = [int(tag[1]) for tag, _ in Reader(html.render(whole())).found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_table_can_be_read_aloud():
    read = Reader(html.render(whole()))
    tables = len(read.all("table"))
    assert tables
    assert len(read.all("caption")) == tables
    scopes = [attributes.get("scope") for attributes in read.all("th")]
    assert set(scopes) == {"col", "row"}
    assert scopes.count("col") == 2 * tables
    assert all(one.get("aria-label") or one.get("aria-labelledby") for one in read.all("section"))


def test_links_lead_to_what_is_there():
    read = Reader(html.render(whole()))
    ids = read.ids()
    assert {one["href"][1:] for one in read.all("a")} <= ids
    assert all(one["aria-labelledby"] in ids for _, one in read.found if "aria-labelledby" in one)


def test_cells_carry_what_they_are_sorted_by():
    read = Reader(html.render(whole()))
    keys = [attributes.get("data-key") for attributes in read.all("td")]
    assert keys[:4] == ["0.5", "1.5", "2.5", None]


def test_what_is_told_of_cells_reaches_the_script_whole():
    (figure, _) = (one for one in Reader(html.render(whole('a "b" <i>'))).all("figure"))
    assert json.loads(figure["data-hover"]) == [['a "b" <i>', 'a "b" <i>']]


def colours():
    """The page's colours by name, light and dark."""
    light, dark = re.findall(r":root \{(.*?)\}", html._beside("page.css"), re.DOTALL)[:2]
    named = [dict(re.findall(r"--([\w-]+): #([0-9a-f]+)", text)) for text in (light, dark)]
    return {"light": named[0], "dark": named[0] | named[1]}


def brightness(colour):
    """Relative luminance (WCAG)."""
    wide = "".join(digit * 2 for digit in colour) if len(colour) == 3 else colour
    parts = [int(wide[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("face", ["light", "dark"])
def test_every_text_stands_out_from_every_ground(face):
    named = colours()[face]
    pairs = [
        (ink, ground)
        for ink in ("ink", "quiet", "link", "red-text")
        for ground in ("ground", "panel", "stripe", "warn")
    ]
    pairs += [({"white": "ground"}.get(cells.ink_on(step), "ink"), f"heat-{step}") for step in range(len(style.HEAT))]
    for pair in pairs:
        darker, lighter = sorted(brightness(named[name]) for name in pair)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, pair


def test_a_table_that_was_cut_says_so():
    cut = replace(table(), left_out=7)
    section = replace(whole().sections[0], blocks=[Block("b", "b", tables=[cut])])
    assert "(7 more rows are not shown.)" in html.render(replace(whole(), sections=[section]))


def test_a_page_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(html, "LARGEST", 1000)
    with pytest.raises(DataError, match="MB"):
        html.render(whole())


def test_commands_are_cut_between_words_and_stay_one_command():
    command = shlex.join(["prunekit", "prune", "--out", "a folder; rm -rf 'x'", *["--train-steps", "80"] * 12])
    text = html.in_lines(command)
    assert max(map(len, text.splitlines())) < 100
    said = subprocess.run(
        ["sh", "-c", text.replace("prunekit", "printf '%s\\n'", 1)], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines() == shlex.split(command)[1:]


# ---- strangers' strings

_STARTS = [
    "", '"', "'", "</", "-->", "]]>", "</script>", "</style>", "</title>", "</svg>", "\\", "{{", "{%", "`", "\x00",
]  # fmt: skip
_CORES = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "javascript:alert(1)",
    "<iframe srcdoc='<script>alert(1)</script>'>", "<body onload=alert(1)>", "<a href=javascript:alert(1)>x</a>",
    "<style>*{display:none}</style>", "<base href=//evil.test/>", "<meta http-equiv=refresh content=0>",
    "<form action=//evil.test><button>", "onmouseover=alert(1) x=", "<!--", "<math><mi xlink:href=data:x,1>",
    "<details open ontoggle=alert(1)>",
]  # fmt: skip
PAYLOADS = [start + core for start in _STARTS for core in _CORES]


def test_there_are_enough_payloads():
    assert len(set(PAYLOADS)) >= 200


@pytest.mark.parametrize("group", range(15))
def test_hostile_strings_stay_text(group):
    shape = [(tag, sorted(set(attributes) - {"data-key"})) for tag, attributes in Reader(html.render(whole())).found]
    for payload in PAYLOADS[group::15]:
        text = html.render(whole(payload))
        read = Reader(text)
        # the very elements and attributes that a harmless page has
        assert [(tag, sorted(set(attributes) - {"data-key"})) for tag, attributes in read.found] == shape
        assert not re.search(r"<(img|iframe|base|form|math|details open)", text)


def test_no_field_of_a_page_is_left_out_of_the_attack():
    """Every string field of every part holds the word, so that a new one cannot slip by."""
    left = []

    def visit(one, where):
        if is_dataclass(one):
            for field in fields(one):
                visit(getattr(one, field.name), f"{type(one).__name__}.{field.name}")
        elif isinstance(one, list | tuple):
            for item in one:
                visit(item, where)
        elif isinstance(one, str) and not isinstance(one, Markup) and "WORD" not in one:
            left.append(where)

    visit(whole("WORD"), "")
    assert set(left) <= {"Section.anchor", "Block.anchor", "Column.label", "Cell.text", "Piece.only"}
