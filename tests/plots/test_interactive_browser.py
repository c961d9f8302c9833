"""Interactive figures in a real browser: drawn under their own policy, they tell what one points at."""

import chromium
import pytest
from small import SMALL_RUN

from prunekit.plots.drawing import draw_figures, write_figures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.program() is None, reason="no chromium is installed: apt-get install chromium"),
]
NAMES = ("density_curve", "learning_curves", "token_map")
#: Resolves once there is a drawing.
DRAWN = """new Promise(done => {
  const wait = () => document.querySelector('#chart svg') ? done() : setTimeout(wait, 50);
  wait();
})"""
CELLS, SEEDS = "#chart .mark-rect path", "#chart .role-legend-symbol path"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("vl_convert")
    out = tmp_path_factory.mktemp("pages")
    write_figures(draw_figures([SMALL_RUN], NAMES, suffix="html"), out, suffix="html")
    return out


def shown(tab, path, look="light", width=1000):
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": look}])
    tab.open(path)
    tab.run(DRAWN)
    return tab


def middle(tab, selector):
    box = f"document.querySelector('{selector}').getBoundingClientRect()"
    return tab.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("look", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 27)")])
def test_a_page_draws_in_the_readers_colours_and_asks_for_nothing(tab, folder, name, look, ground):
    shown(tab, folder / f"{name}.html", look)
    assert tab.said() == [] and tab.asked_for() == []
    assert tab.run("getComputedStyle(document.querySelector('#chart svg')).backgroundColor") == ground


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_a_phone(tab, folder, name):
    shown(tab, folder / f"{name}.html", width=400)
    assert tab.run("document.documentElement.scrollWidth") <= 400
    assert tab.run("document.querySelector('#chart').scrollWidth") <= 400


def test_a_cell_tells_its_score_when_one_points_at_it(tab, folder):
    shown(tab, folder / "token_map.html")
    x, y = middle(tab, CELLS)
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    tab.run("new Promise(done => setTimeout(done, 300))")
    told = tab.run("document.querySelector('#vg-tooltip-element').innerText")
    assert all(word in told for word in ("token", "score", "loss added without it", "nearest words"))


def test_a_click_on_a_seed_of_the_legend_leaves_it_alone(tab, folder):
    shown(tab, folder / "learning_curves.html")
    bright = (
        "[...document.querySelectorAll('#chart .mark-line path')].filter(p => p.getAttribute('opacity') > 0.5).length"
    )
    before = tab.run(bright)
    tab.click(*middle(tab, SEEDS))
    tab.run("new Promise(done => setTimeout(done, 300))")
    assert 0 < tab.run(bright) == before / 3
