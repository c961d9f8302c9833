"""The documentation in a real browser: nothing from elsewhere, with and without scripts, on a phone, by keyboard."""

import base64
import io
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import chromium
import docs_site
import numpy as np
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.program() is None, reason="no chromium is installed: apt-get install chromium"),
]

SAMPLE = (
    "index.html", "quick-start.html", "ideas.html", "cheat-sheet.html", "faq.html", "command-line.html",
    "gallery/index.html", "notebooks/prefix_study.html", "studies/pruning_helps/index.html",
    "reference/prunekit.html", "reference/prunekit.prompts.mask.html",
)  # fmt: skip


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *said) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return docs_site.built(tmp_path_factory)


@pytest.fixture(scope="module")
def home(site):
    """The site as a server gives it, on this machine alone."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def visit(tab, address):
    tab.events.clear()
    tab.call("Page.navigate", url=address)
    while not any(one.get("method") == "Page.loadEventFired" for one in tab.events):
        tab.events.append(tab._next())
    tab.run("0")


@pytest.mark.parametrize("page", SAMPLE)
def test_a_page_asks_no_other_address_and_says_no_error(tab, home, page):
    visit(tab, home + page)
    tab.run("new Promise(done => setTimeout(done, 300))")
    assert [url for url in tab.asked_for() if not url.startswith((home, "blob:"))] == []
    assert tab.said() == []
    assert tab.run("document.querySelector('article h1').innerText.length") > 0


def test_no_page_is_wider_than_a_phone(tab, site, home):
    tab.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    wide = []
    try:
        for scripts in (True, False):
            tab.call("Emulation.setScriptExecutionDisabled", value=not scripts)
            for path in sorted(site.rglob("*.html")) if scripts else [site / name for name in SAMPLE]:
                page = path.relative_to(site).as_posix()
                visit(tab, home + page)
                metrics = tab.call("Page.getLayoutMetrics")["cssContentSize"]
                if metrics["width"] > 360:
                    wide.append((page, scripts, metrics["width"]))
    finally:
        tab.call("Emulation.clearDeviceMetricsOverride")
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert wide == []


@pytest.mark.parametrize("page", SAMPLE)
def test_without_scripts_a_page_can_be_read_and_left(tab, home, page):
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        visit(tab, home + page)
        facts = tab.call("DOM.getDocument", depth=-1, pierce=False)["root"]
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert facts["childNodeCount"] >= 1
    assert tab.run("document.querySelector('article').innerText.length") > 200
    assert tab.run("getComputedStyle(document.querySelector('article')).visibility") == "visible"
    assert tab.run("document.querySelectorAll('nav.md-nav--primary a[href]').length") > 10


def test_the_whole_navigation_is_reached_by_the_tab_key(tab, home):
    visit(tab, home + "index.html")
    wanted = set(
        tab.run(
            "[...document.querySelectorAll('nav.md-nav--primary a.md-nav__link[href]')]"
            ".filter(a => a.offsetParent !== null).map(a => a.href)"
        )
    )
    assert len(wanted) > 10
    tab.run("document.activeElement.blur()")
    seen = []
    for _ in range(120):
        tab.press("Tab", 9)
        seen.append(tab.run("document.activeElement.href || document.activeElement.tagName"))
        if wanted <= set(seen):
            break
    assert wanted - set(seen) == set()
    assert seen[0].endswith("#prunekit")  # the first is the way past the navigation, to the heading


def test_enter_follows_a_link_of_the_navigation(tab, home):
    visit(tab, home + "index.html")
    tab.run("document.querySelector('nav.md-nav--primary a[href=\"ideas.html\"]').focus()")
    tab.press("Enter", 13)
    tab.run("new Promise(done => setTimeout(done, 1000))")
    assert tab.run("location.pathname") == "/ideas.html"


@pytest.fixture
def sized(tab):
    """Sets the window's size in pixels, which comes back afterwards."""

    def size(width, height):
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    yield size
    tab.call("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (400, 740)])
def test_the_first_screen_says_what_prunekit_does_and_shows_it(tab, home, sized, width, height):
    sized(width, height)
    visit(tab, home + "index.html")
    opening = "[...document.querySelectorAll('article p > strong, article img')].slice(0, 2)"
    ends = tab.run(f"{opening}.map(part => part.getBoundingClientRect().bottom)")
    assert max(ends) <= height
    moving = tab.run("fetch(document.querySelector('article img').src).then(answer => answer.text())")
    assert "@keyframes" in moving


@pytest.mark.parametrize("page", ["gallery/index.html", "ideas.html", "notebooks/own_data.html"])
@pytest.mark.parametrize(("look", "low", "high"), [("light", 235, 255), ("dark", 0, 60)])
def test_a_picture_has_the_ground_of_the_page_around_it(tab, home, sized, page, look, low, high):
    sized(1400, 900)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": look}])
    try:
        visit(tab, home + page)
        tab.run("localStorage.clear()")  # where the site remembers the look of the page before
        visit(tab, home + page)
        tab.run("document.querySelector('article img').scrollIntoView({block: 'center', behavior: 'instant'})")
        x, y = tab.run(
            "(b => [b.x + scrollX, b.y + scrollY])(document.querySelector('article img').getBoundingClientRect())"
        )
        clip = {"x": x + 9, "y": y + 9, "width": 2, "height": 2, "scale": 1}
        content = base64.b64decode(tab.call("Page.captureScreenshot", format="png", clip=clip)["data"])
    finally:
        tab.call("Emulation.setEmulatedMedia", features=[])
    shades = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert low <= shades.min() and shades.max() <= high


@pytest.mark.parametrize("width", [800, 1400])
def test_the_comparison_fits(tab, home, sized, width):
    sized(width, 900)
    visit(tab, home + "comparison.html")
    assert tab.run("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.md-typeset__scrollwrap'))") == 0


def test_a_picture_of_the_gallery_opens_large_by_keyboard_and_closes(tab, home, sized):
    sized(1400, 900)
    visit(tab, home + "gallery/index.html")
    small = tab.run("document.querySelector('.gallery img').getBoundingClientRect().width")
    tab.run("document.querySelector('.gallery a').focus()")
    tab.press("Enter", 13)
    assert tab.run("getComputedStyle(document.querySelector('.large')).display") == "flex"
    assert tab.run("document.querySelector('.large img').getBoundingClientRect().width") > 2 * small
    assert tab.run("document.activeElement.matches('.large')")
    tab.press("Enter", 13)
    assert tab.run("getComputedStyle(document.querySelector('.large')).display") == "none"
