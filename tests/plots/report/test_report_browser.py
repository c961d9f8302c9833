"""The page in a real browser: no error, sorting by hand and by key, print, and nothing run that a stranger wrote."""

import base64
import shutil
from dataclasses import replace

import chromium
import pytest
from small import SMALL_RUN
from test_html import PAYLOADS, table, whole

from prunekit.experiment import environment
from prunekit.plots.report import html, page_text
from prunekit.runs.run import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.program() is None, reason="no chromium is installed: apt-get install chromium"),
]

ENTER, SPACE, TAB = ("Enter", 13), (" ", 32), ("Tab", 9)
HOSTILE = "\"'><img src=x onerror=document.title='run'><script>document.title='run'</script>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of the small run."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    page_text.write([SMALL_RUN], out, 0.01)
    return out


@pytest.fixture
def opened(tab, report):
    tab.open(report)
    tab.run("document.querySelectorAll('details').forEach(part => part.open = true)")
    return tab


def silent(tab):
    assert tab.said() == []
    assert tab.asked_for() == []


def column(tab, place=0, table=0):
    """What a column of a sortable table shows, from top to bottom."""
    rows = f"document.querySelectorAll('table.sortable')[{table}].tBodies[0].rows"
    return tab.run(f"[...{rows}].map(r => r.cells[{place}].innerText)")


def heads(tab, what):
    return tab.run(f"[...document.querySelectorAll('table.sortable')[0].tHead.rows[0].cells].map(c => {what})")


def test_it_opens_without_a_word_and_asks_for_nothing(opened):
    silent(opened)
    assert opened.run("document.querySelectorAll('figure svg').length") >= 5
    assert opened.run("[...document.querySelectorAll('figure svg')].every(s => s.getBoundingClientRect().height > 50)")


def test_ids_of_drawings_do_not_clash(opened):
    ids = opened.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    used = opened.run("[...document.querySelectorAll('use')].map(e => e.getAttribute('href').slice(1))")
    assert set(used) <= set(ids)


def test_a_click_sorts_and_a_second_turns_it_round(opened):
    density = heads(opened, "c.innerText.trim().split(/\\s/)[0]").index("density")
    before = column(opened, density)
    assert len(set(before)) > 2
    for wanted in ("ascending", "descending"):
        box = opened.run(
            "(button => {"
            "  button.scrollIntoView({block: 'center', behavior: 'instant'});"
            "  const box = button.getBoundingClientRect();"
            "  return [box.x + box.width / 2, box.y + box.height / 2];"
            f"}})(document.querySelectorAll('table.sortable th button')[{density}])"
        )
        opened.click(*box)
        assert heads(opened, "c.getAttribute('aria-sort')")[density] == wanted
        shown = [float(one) for one in column(opened, density)]
        assert shown == sorted(map(float, before), reverse=wanted == "descending")
    silent(opened)


@pytest.mark.parametrize("key", [ENTER, SPACE])
def test_keys_sort_too(opened, key):
    opened.run("document.querySelectorAll('table.sortable th button')[1].focus()")
    opened.press(*key)
    assert heads(opened, "c.getAttribute('aria-sort')")[:3] == [None, "ascending", None]
    assert "sorted by" in opened.run("document.querySelector('[role=status]').textContent")
    assert opened.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_tab_goes_through_links_tables_and_buttons(opened):
    opened.run("document.activeElement.blur()")
    seen = []
    for _ in range(40):
        opened.press(*TAB)
        seen.append(opened.run("document.activeElement.tagName + '.' + document.activeElement.className"))
    assert seen[0] == "A.skip"
    assert {"DIV.scroll", "BUTTON."} <= set(seen)


def test_missing_values_come_last_in_either_direction(tab, tmp_path):
    (tmp_path / "page.html").write_text(html.render(whole("name")))
    tab.open(tmp_path / "page.html")
    for wanted in (["0.50", "1.50", "2.50"], ["2.50", "1.50", "0.50"]):
        tab.run("document.querySelectorAll('table.sortable th button')[1].click()")
        assert column(tab, 1)[:3] == wanted
        assert set(column(tab, 1)[3:]) == {""}


def test_it_prints_on_white_without_controls(opened):
    opened.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    try:
        assert opened.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert opened.run("getComputedStyle(document.querySelector('nav')).display") == "none"
        pdf = base64.b64decode(opened.call("Page.printToPDF", printBackground=False)["data"])
        assert pdf.startswith(b"%PDF-")
        assert len(pdf) > 20_000
    finally:
        opened.call("Emulation.setEmulatedMedia", media="", features=[])
    silent(opened)


def test_it_has_a_dark_face_and_a_light_one(opened):
    seen = set()
    for face in ("light", "dark"):
        opened.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": face}])
        seen.add(opened.run("getComputedStyle(document.body).backgroundColor"))
        assert opened.run(CONTRAST) >= 4.5
    opened.call("Emulation.setEmulatedMedia", features=[])
    assert len(seen) == 2


# the least contrast of any text with the ground it stands on (WCAG), that of drawings too
CONTRAST = """(() => {
  const light = (text) => {
    const parts = text.match(/[\\d.]+/g).map(Number);
    if (parts.length > 3 && parts[3] === 0) return null;
    const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = parts.slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let least = 21;
  for (const one of document.querySelectorAll('body *')) {
    if (![...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    if (['SCRIPT', 'STYLE'].includes(one.tagName)) continue;
    let ground = null;
    for (let up = one; up && ground === null; up = up.parentElement) {
      ground = light(getComputedStyle(up).backgroundColor);
    }
    const ink = light(one.closest('svg') ? getComputedStyle(one).fill : getComputedStyle(one).color);
    const pair = [ink, ground ?? 1].sort((a, b) => b - a);
    least = Math.min(least, (pair[0] + 0.05) / (pair[1] + 0.05));
  }
  return least;
})()"""


def test_the_arrow_keys_and_the_pointer_read_the_cells_of_the_token_map(opened):
    rows = opened.run("JSON.parse(document.querySelector('figure[data-hover]').dataset.hover)")
    opened.run("document.querySelector('figure[data-hover] .paper').focus({preventScroll: true})")
    for key, code in (("ArrowDown", 40), ("ArrowRight", 39), ("ArrowRight", 39)):
        opened.press(key, code)
    read = "document.querySelector('.readout').textContent"
    assert opened.run(read) == f"{rows[1][0]} · piece 2: {rows[1][3]}"
    box = opened.run(
        "(ground => { ground.scrollIntoView({block: 'center', behavior: 'instant'});"
        "const box = ground.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; })"
        "(document.querySelector('[data-cells]'))"
    )
    tokens, pieces = len(rows), len(rows[0]) - 1
    x, y = box[0] + box[2] * 0.5 / pieces, box[1] + box[3] * (tokens - 0.5) / tokens
    opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    for _ in range(50):  # a browser tells of a pointer when it next draws
        if opened.run(read).startswith(rows[-1][0]):
            break
        opened.run("new Promise(later => setTimeout(later, 50))")
    assert opened.run(read) == f"{rows[-1][0]} · piece 0: {rows[-1][1]}"
    frame = opened.run("(box => [box.x, box.y])(document.querySelector('.frame').getBoundingClientRect())")
    assert abs(frame[0] - box[0]) < 2 and abs(frame[1] - (box[1] + box[3] * (tokens - 1) / tokens)) < 2
    silent(opened)


def test_seeds_come_and_go_by_their_buttons(opened):
    seen = "[...document.querySelectorAll('[data-seed=\"1\"]')].filter(l => l.getBoundingClientRect().width > 0).length"
    before = opened.run(seen)
    assert before > 3
    press = "document.querySelectorAll('.seeds').forEach(bar => bar.querySelector('[aria-label=\"seed 1\"]').click())"
    opened.run(press)
    assert opened.run(seen) == 0
    opened.run(press)
    assert opened.run(seen) == before
    silent(opened)


def test_runs_side_by_side_can_be_filtered(tab, tmp_path):
    overview = replace(table("run"), filters=True)
    (tmp_path / "page.html").write_text(html.render(replace(whole(), overview=overview)))
    tab.open(tmp_path / "page.html")
    rows = "[...document.querySelector('table.filterable').tBodies[0].rows].filter(row => !row.hidden).length"
    assert tab.run(rows) == 5
    tab.run("(input => { input.value = 'RUN 1'; input.dispatchEvent(new Event('input')); })"
            "(document.querySelector('.filter input'))")  # fmt: skip
    assert tab.run(rows) == 1
    assert tab.run("document.querySelector('[role=status]').textContent") == "1 of 5 rows"
    silent(tab)


def test_it_fits_a_phone(opened):
    opened.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    try:
        assert opened.run("document.documentElement.scrollWidth") <= 360
    finally:
        opened.call("Emulation.clearDeviceMetricsOverride")


def test_without_script_it_can_be_read(opened, report):
    opened.call("Emulation.setScriptExecutionDisabled", value=True)
    opened.open(report)
    opened.call("Emulation.setScriptExecutionDisabled", value=False)
    assert opened.run("document.querySelectorAll('th button').length") == 0
    assert opened.run("document.querySelectorAll('table').length") > 3


# ---- strangers' strings


@pytest.mark.parametrize("group", range(5))
def test_nothing_of_two_hundred_payloads_runs(tab, tmp_path, group):
    for place, payload in enumerate(PAYLOADS[group::5]):
        file = tmp_path / f"{place}.html"
        file.write_text(html.render(whole(payload.replace("alert(1)", "document.title='run'"))), encoding="utf-8")
        tab.open(file)
        assert tab.run("document.title") != "run"
        silent(tab)


def test_a_hostile_run_is_inert(tab, tmp_path):
    """Names that a stranger may choose: of the run, its model, its task, its texts."""
    folder = tmp_path / HOSTILE.replace("/", "\u2215")
    shutil.copytree(SMALL_RUN, folder)
    run = Run(folder)
    settings = run.settings()
    for section, key in (("model", "name"), ("task", "name"), ("prompt", "init_text"), ("task", "data")):
        settings[section][key] = HOSTILE
    settings["metric_note"] = {HOSTILE: HOSTILE}
    run.write_settings(settings)
    hostile = environment.current() | {"python": "</script><script>document.title='run'</script>", "rounds": []}
    run.write_environment({"run": run.id, "environments": [hostile]})
    out = tmp_path / "report.html"
    page_text.write([folder], out, 0.01)
    tab.open(out)
    assert tab.run("document.title") != "run"
    assert tab.run("document.querySelectorAll('script').length") == 1
    assert tab.run("document.querySelectorAll('img, iframe, object, embed, base').length") == 0
    assert HOSTILE in tab.run("document.body.innerText")
    silent(tab)


def test_the_policy_stops_what_a_mistake_would_let_through(tab, tmp_path):
    """A page with a script put into it by force: the browser refuses to run it, and says so."""
    text = html.render(whole()).replace("</main>", "<script>document.title='run'</script></main>")
    (tmp_path / "page.html").write_text(text)
    tab.open(tmp_path / "page.html")
    assert tab.run("document.title") != "run"
    assert any("Content Security Policy" in str(one) for one in tab.said())
