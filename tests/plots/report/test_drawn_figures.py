import pandas as pd
import pytest

import prunekit.plots.catalog
import prunekit.plots.run_choice
from prunekit.plots.figure import Figure, LackingError
from prunekit.plots.report import drawn_figures


def drawing(table, ax):
    ax.plot(table["x"], table["y"], label="<b>")
    return ax


def lacking(runs):
    raise LackingError("it has no x; make it: prunekit prune --controls")


def table_of(runs):
    return pd.DataFrame({"x": [0, 1], "y": [0.5, 0.25], "same": ["a", "a"]})


@pytest.fixture
def draw(monkeypatch):
    """Two pictures that can be drawn, one that lacks something, one that needs the model."""
    made = (
        Figure("wide_one", "What x does.", table_of, drawing, columns=2),
        Figure("narrow", "The same.", table_of, drawing),
        Figure("dropped_as", "Nothing.", lacking, drawing),
        Figure("functional_rank", "The model's.", table_of, drawing),
    )
    monkeypatch.setattr(prunekit.plots.catalog, "FIGURES", made)
    monkeypatch.setattr(prunekit.plots.run_choice, "unfinished", lambda runs: "run: half of it")
    return lambda **more: drawn_figures.draw(None, "run-1", "prunekit report RUN", **{"with_model": False} | more)


def test_each_figure_has_a_title_a_caption_a_drawing_and_its_table(draw):
    found, missing = draw().of("wide_one", "narrow")
    assert missing == []
    assert [(one.title, one.caption, one.wide) for one in found] == [
        ("Wide one", "What x does.", True), ("Narrow", "The same.", False),
    ]  # fmt: skip
    assert [column.label for column in found[0].table.columns] == ["x", "y"]  # what never changes is left out
    assert found[0].drawing.startswith("<svg")
    assert 'id="run-1-wide_one-' in found[0].drawing
    assert 'aria-label="What x does."' in found[0].drawing


def test_an_unfinished_run_is_named_in_every_picture(draw):
    assert all("half of it" in one.drawing for one in draw().drawn.values())


def test_what_cannot_be_drawn_says_why(draw):
    (missing,) = draw().of("dropped_as")[1]
    assert (missing.what, missing.why) == ("Dropped as", "it has no x; make it: prunekit prune --controls")


def test_the_model_is_only_asked_where_it_is_wished(draw):
    (missing,) = draw().of("functional_rank")[1]
    assert missing.command == "prunekit report RUN --with-model"
    asked = draw(with_model=True)
    assert list(asked.of("functional_rank")[0][0].table.columns)
    assert set(asked.frames) == {"wide_one", "narrow", "functional_rank"}
    assert asked.names == ["wide_one", "narrow", "functional_rank", "dropped_as"]
