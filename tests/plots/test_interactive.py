"""Interactive figures: every number is in the chart, a page asks for nothing, and who lacks Altair is told."""

import json
import re
import sys

import figure_tables
import pytest
from small import SMALL_RUN

import prunekit as pk
from prunekit.plots import style
from prunekit.plots.catalog import FIGURES
from prunekit.plots.drawing import draw_figures, write_figures
from prunekit.plots.interactive import CHARTS
from prunekit.plots.interactive.chart import look
from prunekit.plots.report.html import _beside
from prunekit.plots.report.svg import _THEMED
from prunekit.support.errors import ConfigError

BY_NAME = {figure.name: figure for figure in FIGURES}
every_chart = pytest.mark.parametrize("name", CHARTS)


def specification(name, table=None):
    pytest.importorskip("altair")
    return CHARTS[name].draw(figure_tables.MADE[name]() if table is None else table).to_dict()


def tables_in(chart):
    """The rows of every data set of a specification."""
    return list(chart["datasets"].values())


@every_chart
def test_a_chart_holds_every_value_of_the_table_that_its_figure_draws(name):
    table = figure_tables.MADE[name]()
    column = {"density_curve": "test", "controls": "difference", "learning_curves": "value", "token_map": "score"}[name]
    drawn = {row.get(column) for rows in tables_in(specification(name)) for row in rows}
    assert set(table[column].dropna()) <= drawn


@every_chart
def test_a_chart_needs_no_text_to_be_evaluated_and_nothing_from_elsewhere(name):
    text = json.dumps({key: value for key, value in specification(name).items() if key != "$schema"})
    assert '"expr"' not in text and '"url"' not in text and "http" not in text


def test_a_search_shows_each_trial_by_its_validation():
    ticket = figure_tables.density_curve()
    trial = ticket.head(1).assign(stage="search-1", arm="grid/tokens=8-pieces=4", test=None, validation=0.77)
    chosen = ticket.head(1).assign(stage="search-1", best=False)
    rows = tables_in(specification("density_curve", figure_tables.pd.concat([ticket, chosen, trial])))
    (of_trials,) = [part for part in rows if any(row.get("kind") == "trial" for row in part)]
    assert [(row["line"], row["validation"]) for row in of_trials] == [("search-1", 0.77)]


def test_a_token_tells_its_cost_and_the_words_near_it():
    pytest.importorskip("altair")
    chart = pk.load(SMALL_RUN).plot.token_map(interactive=True).to_dict()
    rows = [row for part in tables_in(chart) for row in part]
    assert len(rows) == 8 * 4
    assert all(isinstance(row["left_out"], float) and len(row["words"].split(", ")) == 3 for row in rows)
    assert {field["field"] for field in chart["layer"][0]["encoding"]["tooltip"]} == {
        "token", "piece", "score", "left_out", "words"
    }  # fmt: skip


@pytest.fixture(scope="module")
def page():
    pytest.importorskip("vl_convert")
    (drawing,) = draw_figures([SMALL_RUN], ["learning_curves"], suffix="html").drawn
    return drawing.content.decode()


def test_a_page_may_run_its_own_script_alone_and_load_nothing(page):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.partition(" ")[::2] for rule in policy.split("; "))
    assert rules["default-src"] == "&#39;none&#39;" and rules["script-src"].startswith("&#39;sha256-")
    assert "unsafe-eval" not in policy and "http" not in policy
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert (
        re.findall(r"(?:src|href)=|url\(|http", re.sub("https://vega.github.io/schema|http-equiv", "", outside)) == []
    )


def test_a_strangers_text_cannot_leave_the_facts_of_a_page():
    pytest.importorskip("vl_convert")
    from prunekit.plots.interactive.page import page

    table = figure_tables.learning_curves().assign(task="</script><script>alert(1)</script>")
    assert b"<script>alert" not in page(BY_NAME["learning_curves"], CHARTS["learning_curves"], table)


def test_who_has_no_altair_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(ConfigError, match=r"needs Altair: pip install altair vl-convert-python$"):
        draw_figures([SMALL_RUN], ["density_curve"], suffix="html")
    with pytest.raises(ConfigError, match="needs Altair"):
        pk.load(SMALL_RUN).plot.density(interactive=True)


def test_a_figure_without_an_interactive_form_names_those_that_have_one():
    with pytest.raises(ConfigError, match=r"^cost: no page to hover over; --suffix html has density_curve, controls"):
        draw_figures([SMALL_RUN], ["cost"], suffix="html")
    with pytest.raises(ConfigError, match=r"^cost: no interactive form; these have one: density_curve"):
        pk.load(SMALL_RUN).plot.cost(interactive=True)


def test_a_picture_in_another_format_may_lie_beside_an_earlier_one(tmp_path):
    for suffix in ("svg", "pdf", "svg"):
        drawings = draw_figures([SMALL_RUN], ["density_curve"], suffix=suffix)
        write_figures(drawings, tmp_path, suffix=suffix)
    assert {path.name for path in tmp_path.iterdir()} == {f"density_curve.{end}" for end in ("svg", "pdf", "csv")}
    (tmp_path / "density_curve.csv").write_text("the user's")
    with pytest.raises(ConfigError, match=r"density_curve\.svg: is there already"):
        write_figures(drawings, tmp_path, suffix="svg")


def test_report_and_charts_have_the_same_colours_in_the_dark():
    _, _, dark = _beside("page.css").partition("(prefers-color-scheme: dark)")
    in_the_page = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark.partition("\n}\n")[0]))
    assert {
        name: style.DARK[color] for color, name in _THEMED.items() if color in style.DARK
    }.items() <= in_the_page.items()
    assert look(dark=True)["range"]["heatmap"] == [in_the_page[f"heat-{step}"] for step in range(9)]
