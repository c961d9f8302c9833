"""What all figures share: they draw what is in their table, the same bytes each time, and say what a run lacks."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from functools import cache, partial
from pathlib import Path

import figure_tables
import matplotlib
import pandas as pd
import pytest
import tiny
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from picture_faults import faults
from roots import ROOT

from prunekit.plots import run_choice, style
from prunekit.plots.catalog import FIGURES
from prunekit.plots.drawing import draw_figures, runs_and_names, write_figures
from prunekit.plots.figure import LackingError
from prunekit.plots.run_choice import opened, unfinished
from prunekit.runs.run import Run
from prunekit.support.errors import ArtifactError, ConfigError

BY_NAME = {figure.name: figure for figure in FIGURES}
every_figure = pytest.mark.parametrize("picture", FIGURES, ids=list(BY_NAME))


def table_for(picture):
    return figure_tables.MADE[picture.name]()


def laid_out(picture, table, columns=1):
    """A figure that its canvas has not drawn yet."""
    return style.picture(picture.draw, table, columns=columns, height=picture.height(table, columns))


def drawn(picture, table, columns=1):
    """The axes of a figure, in the style."""
    with style.look():
        figure = laid_out(picture, table, columns)
        FigureCanvasAgg(figure).draw()
    return figure.axes[0]


@cache
def usual_table(name):
    return figure_tables.MADE[name]()


@cache
def drawn_once(name, columns=1):
    """The axes of a figure of its usual table, for whoever only looks."""
    return drawn(BY_NAME[name], usual_table(name), columns)


@cache
def rendered(name, suffix):
    return BY_NAME[name].render(usual_table(name), suffix, 1)


def texts(svg):
    return " | ".join(
        found.text or "" for found in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    )


def test_there_is_a_table_and_a_module_for_each_figure():
    assert set(BY_NAME) == set(figure_tables.MADE)
    assert all((ROOT / "prunekit" / "plots" / f"{name}.py").is_file() for name in BY_NAME)


@every_figure
def test_draw_gives_back_the_axes_that_it_was_given(picture):
    with style.look():
        axes = Figure().add_subplot()
        assert picture.draw(table_for(picture), axes) is axes


@every_figure
def test_a_figure_leaves_its_table_as_it_was(picture):
    drawn_once(picture.name)
    pd.testing.assert_frame_equal(usual_table(picture.name), table_for(picture))


BYTES = """
import hashlib, figure_tables, sys
from prunekit.plots.catalog import FIGURES
by_name = {figure.name: figure for figure in FIGURES}
for name, suffix in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    found = by_name[name].render(figure_tables.MADE[name](), suffix, 1)
    print(name, suffix, hashlib.sha256(found).hexdigest())
"""


@pytest.mark.slow  # the gate has test_wheel.py's
def test_another_process_with_another_hash_seed_gives_the_same_bytes():
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    env = dict(os.environ) | {"PYTHONHASHSEED": "7", "PYTHONPATH": path, "TZ": "UTC7"}
    pairs = [(name, "svg") for name in BY_NAME] + [(FIGURES[-1].name, suffix) for suffix in ("pdf", "png")]
    words = [sys.executable, "-c", BYTES, *(word for pair in pairs for word in pair)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    here = [f"{name} {suffix} {hashlib.sha256(rendered(name, suffix)).hexdigest()}" for name, suffix in pairs]
    assert done.stdout.splitlines() == here


@every_figure
def test_no_date_and_no_version_is_written(picture):
    for suffix in style.SUFFIXES if picture is FIGURES[-1] else ("svg",):
        content = rendered(picture.name, suffix)
        assert not re.search(rb"20[2-9]\d-\d\d-\d\d|D:20\d\d|[Mm]atplotlib v|Software|CreationDate", content), suffix


@every_figure
@pytest.mark.parametrize("columns", tiny.at_night(1, 2))
def test_a_figure_is_as_wide_as_its_columns(picture, columns):
    assert drawn_once(picture.name, columns).figure.get_figwidth() == style.WIDTHS[columns]
    svg = ElementTree.fromstring(rendered(picture.name, "svg"))
    assert float(svg.get("width").removesuffix("pt")) == pytest.approx(72 * style.WIDTHS[1], abs=0.01)


@every_figure
@pytest.mark.parametrize("columns", tiny.at_night(1, 2))
def test_no_text_leaves_the_picture_and_no_two_labels_overlap(picture, columns):
    axes = drawn_once(picture.name, columns)
    figure = axes.figure
    for part in [*figure.axes, *figure.legends]:
        box = part.get_tightbbox(figure.canvas.get_renderer())
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
    for axis in (axes.xaxis, axes.yaxis):
        boxes = [one.get_window_extent() for one in axis.get_ticklabels() if one.get_text() and one.get_visible()]
        assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


@every_figure
def test_no_text_is_smaller_than_six_points(picture):
    figure = drawn_once(picture.name).figure
    sizes = [one.get_fontsize() for one in figure.findobj(matplotlib.text.Text) if one.get_text()]
    assert min(sizes) >= 6


@pytest.mark.parametrize("picture", [BY_NAME["spectrum"], BY_NAME["token_map"]], ids=["spectrum", "token_map"])
def test_the_users_own_style_neither_changes_a_figure_nor_is_changed(picture):
    expected = rendered(picture.name, "svg")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert picture.render(table_for(picture), "svg") == expected
        assert dict(matplotlib.rcParams) == before


def test_no_figure_is_left_to_pyplot():
    from matplotlib._pylab_helpers import Gcf

    before = Gcf.get_all_fig_managers()  # of a page of the documentation perhaps, that ran in this process
    for picture in FIGURES:
        rendered(picture.name, "svg")
    assert Gcf.get_all_fig_managers() == before


def one_seed(table):
    """The table of a run of one seed, which has no intervals over seeds."""
    if "seed" in table:
        return table[table["seed"] == table["seed"].min()].reset_index(drop=True)
    counts = {name: 1 for name in ("seeds", "units") if name in table}
    intervals = {name: float("nan") for name in ("low", "high") if counts and name in table}
    return table.assign(**counts, **intervals)


def all_equal(table):
    """The table of a run in which pruning, controls and rounds change nothing."""
    values = ("test", "validation", "difference", "score", "value", "jaccard")
    same = {name: 0.5 for name in values if name in table}
    return table.assign(**same)


@pytest.mark.parametrize(
    ("picture", "variant"), tiny.in_turn(FIGURES, [all_equal, one_seed]), ids=lambda part: getattr(part, "name", None)
)
def test_no_plot_shows_a_single_point_an_empty_panel_or_an_impossible_value(picture, variant):
    if picture.name == "mask_overlap" and variant is one_seed:
        pytest.skip("masks of one seed are refused, see below")
    with style.look():  # what is laid out again has to be so in the same style
        assert faults(laid_out(picture, variant(table_for(picture)))) == []


def with_trials(table):
    """The table of a run that searched too: four sizes on validation."""
    rows = [
        table.iloc[1].to_dict() | dict(
            stage="prune-1", arm=f"grid/tokens={tokens}-pieces=8", density=tokens / 40, parameters=40 * tokens,
            validation=0.6 + 0.01 * tokens, test=float("nan"), low=float("nan"), high=float("nan"), best=False,
        )
        for tokens in (16, 12, 8, 4)
    ]  # fmt: skip
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True)


@pytest.mark.parametrize("name", ["density_curve", "cost"])
def test_every_trial_of_a_search_is_a_cross(name):
    axes = drawn(BY_NAME[name], with_trials(table_for(BY_NAME[name])))
    for panel in axes.figure.axes:
        crosses = [line for line in panel.lines if line.get_marker() == "x" and len(line.get_xdata())]
        assert sorted(place for line in crosses for place in line.get_xdata()) == [0.1, 0.2, 0.3, 0.4]
    assert "validation" in texts_of(axes.figure) or name == "cost"


def texts_of(figure):
    return " ".join(text.get_text() for legend in figure.legends for text in legend.get_texts())


def test_the_functional_rank_has_three_lines_with_their_names_beside_them():
    axes = drawn_once("functional_rank")
    written = {text.get_text() for text in axes.texts}
    assert written == {"prompt", "change from start", "random directions"}
    assert not written & {text.get_text() for text in axes.figure.legends[0].get_texts()}


@every_figure
def test_every_picture_names_task_model_and_how_many(picture):
    title = drawn_once(picture.name).get_title(loc="left").replace("\n", " ")
    assert re.match(r"toy, m, n = \d+", title)


HOSTILE = "$\\frac{1$ <script>alert(1)</script> \x00\x1b[31m & 漢字 " + "x" * 80


@pytest.mark.parametrize("picture", tiny.by_day(FIGURES, [*FIGURES[::4], FIGURES[-1]]), ids=list(BY_NAME))
def test_a_strangers_name_is_text_and_nothing_else(picture):
    table = table_for(picture)
    for name in {"task", "scope", "metric"} & set(table):
        table[name] = HOSTILE
    root = ElementTree.fromstring(picture.render(table, "svg", note=f"{HOSTILE} \ud800"))
    assert not [one for one in root.iter() if one.tag.endswith("script")]
    if picture is FIGURES[-1]:
        assert picture.render(table, "pdf", note=HOSTILE)


@every_figure
def test_the_names_inside_two_figures_of_one_page_differ(picture):
    def names(one):
        return set(re.findall(r' id="([^"]+)"', rendered(one.name, "svg").decode()))

    assert len(names(picture)) > 10
    assert not names(picture) & set().union(*(names(other) for other in FIGURES if other is not picture))


def test_a_note_stands_in_the_picture():
    picture = BY_NAME["density_curve"]
    assert "seed 4" in texts(picture.render(table_for(picture), "svg", note="r: prune-1 lacks round 3 of seed 4"))


def test_seven_base_lines_have_a_dash_each_and_take_no_place_from_the_axes():
    picture = BY_NAME["density_curve"]
    few = table_for(picture)
    names = ["no prompt", "instruction", "4 in context", "probe on [CLS]", "LoRA"]
    more = [few.iloc[-1].to_dict() | {"arm": name, "test": 0.4 + 0.05 * place} for place, name in enumerate(names)]
    many = pd.concat([few, pd.DataFrame(more)], ignore_index=True)
    axes = {}
    for name, table in (("few", few), ("many", many)):
        with style.look():
            drawn = style.picture(picture.draw, table, columns=1, height=picture.height(table, 1))
            drawn.draw_without_rendering()
        (axes[name],) = drawn.axes
    across = [line for line in axes["many"].lines if line.get_color() == style.QUIET]
    assert len({str(line._unscaled_dash_pattern) for line in across}) == len(across) == 7
    heights = [ax.get_window_extent().height for ax in axes.values()]
    assert heights[1] > 0.9 * heights[0]


# ---- on runs


@pytest.fixture(scope="module")
def pruned(folder):
    """A run of two seeds and two rounds of a tiny random T5."""
    return tiny.finished("t5", folder, folder / "runs", seeds="2")[0].path


figures = partial(tiny.call, "figures")


def test_all_draws_what_a_run_allows_and_names_the_commands_for_the_rest(pruned, tmp_path, capsys):
    assert figures(pruned, "--out", tmp_path / "out") == 0
    said = capsys.readouterr()
    lacks = {line.split(":")[0]: line for line in said.out.splitlines() if ": not drawn: " in line}
    drawn = {path.stem for path in (tmp_path / "out").iterdir()}
    of_other_runs = {"layers_heads"}  # input vectors have no layers, and nobody is told so
    assert drawn | set(lacks) == set(BY_NAME) - of_other_runs and not drawn & set(lacks)
    assert {"density_curve", "token_map", "spectrum", "rank_while_training", "functional_rank", "cost"} <= drawn
    assert "--kind leave-one-out" in lacks["importance"] and "--controls" in lacks["controls"]
    for name in drawn:
        assert (tmp_path / "out" / f"{name}.svg").stat().st_size < 100_000
        assert len(pd.read_csv(tmp_path / "out" / f"{name}.csv"))
    assert said.err == ""


def test_a_named_figure_is_written_beside_its_table(pruned, tmp_path, capsys):
    assert figures(pruned, "token_map", "--out", tmp_path, "--suffix", "png", "--seed", "1") == 0
    assert (tmp_path / "token_map.png").read_bytes().startswith(b"\x89PNG")
    assert set(pd.read_csv(tmp_path / "token_map.csv")["seed"]) == {1}
    assert f"written to {tmp_path / 'token_map.png'}" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("words", "said", "code"), [
    (["cost", "importance"], "--kind leave-one-out", 1),
    (["token_map", "--seed", "9"], "--seed 9", 2),
])  # fmt: skip
def test_a_figure_or_seed_that_a_run_does_not_have_is_an_error(words, said, code, pruned, tmp_path, capsys):
    assert figures(pruned, *words, "--out", tmp_path / "out") == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words, says, code", [
    (["nowhere"], '"nowhere" is neither a run directory nor a figure; known: controls, cost', 2),
    (["spektrum"], 'did you mean "spectrum"?', 2),
    (["cost"], "name a run directory before the figures cost", 2),
    ([], "Missing argument", 2),
    (["."], "not a run directory", 1),
    ([".", "--columns", "3"], "--columns", 2),
    ([".", "--suffix", "jpg"], "--suffix jpg: use one of svg, pdf, png, html", 2),
])  # fmt: skip
def test_what_cannot_be_drawn_ends_in_one_line(words, says, code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert figures(*words) == code
    said = capsys.readouterr()
    assert says in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_called_like_a_figure_is_named_by_its_path():
    assert runs_and_names([".", "cost", "./"]) == ([Path(), Path()], ["cost"])


def test_the_library_draws_and_returns_and_only_then_writes(pruned, tmp_path, capsys):
    drawings = draw_figures([pruned], ["cost", "spectrum"], columns=2)
    drawn = {drawing.figure.name: drawing.content[:5] for drawing in drawings.drawn}
    assert drawn == {"cost": b"<?xml", "spectrum": b"<?xml"}
    with pytest.raises(ConfigError, match=r'no figure is called "costs"; did you mean "cost"\?'):
        draw_figures([pruned], ["costs"])
    (tmp_path / "spectrum.svg").write_text("the user's")
    with pytest.raises(ConfigError, match=r"spectrum\.svg: is there already"):
        write_figures(drawings, tmp_path, suffix="svg")
    assert [path.name for path in tmp_path.iterdir()] == ["spectrum.svg"]
    paths = write_figures(drawings, tmp_path, suffix="svg", overwrite=True)
    assert [path.read_bytes() for path in paths] == [drawing.content for drawing in drawings.drawn]
    assert capsys.readouterr().out == ""


@pytest.fixture
def copied(pruned, tmp_path):
    return shutil.copytree(pruned, tmp_path / "copy")


def test_a_damaged_run_is_named_and_nothing_is_drawn(copied, tmp_path, capsys):
    tiny.flip(next(copied.glob("prune-*/seed=1/round=02/scores.safetensors")), 0.99)
    assert figures(copied, "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "scores.safetensors: damaged" in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", tiny.at_night(["density_curve", "token_map"], []), ids=["two", "all"])
def test_a_half_finished_run_is_drawn_with_a_note_in_every_figure(names, copied, tmp_path, capsys):
    for path in copied.glob("prune-*/seed=*/round=02"):
        shutil.rmtree(path)
    assert unfinished(opened([copied]))
    assert figures(copied, *names, "--out", tmp_path / "out") == 0
    assert "unfinished: " in capsys.readouterr().err
    drawn = sorted((tmp_path / "out").glob("*.svg"))
    assert [path.stem for path in drawn] == names or len(drawn) > 5
    assert [path.name for path in drawn if "copy: " not in texts(path.read_bytes())] == []


def test_several_runs_go_into_one_figure_but_for_those_of_one_prompt(pruned, copied):
    runs = opened([pruned, copied])
    table = BY_NAME["density_curve"].table(runs)
    assert set(table["run"]) == {pruned.name, "copy"}
    svg = texts(BY_NAME["density_curve"].render(table, "svg"))
    assert "copy" in svg
    with pytest.raises(LackingError, match="one prompt, and 2 runs"):
        BY_NAME["token_map"].table(runs)


def test_a_run_pruned_in_one_round_says_that_its_masks_would_be_one_point(pruned, tmp_path):
    short = shutil.copytree(pruned, tmp_path / "short")
    for path in short.glob("prune-*/seed=*/round=02"):
        shutil.rmtree(path)
    with pytest.raises(LackingError, match="masks of one size are one point"):
        BY_NAME["mask_overlap"].table(opened([short]))


def test_learning_curves_mark_what_was_kept(pruned):
    table = BY_NAME["learning_curves"].table(opened([pruned]))
    assert set(table["round"]) == {0, 1, 2}
    axes = drawn(BY_NAME["learning_curves"], table)
    rings = [line for line in axes.lines if line.get_marker() == "o" and line.get_label().startswith("_")]
    kept = table[(table["metric"] != "loss") & table["round"].isin([0, 2]) & (table["step"] == table["kept_step"])]
    marked = sorted(tuple(point) for line in rings for point in line.get_xydata())
    assert marked == sorted(zip(kept["step"], kept["value"], strict=True))


def test_a_run_without_a_search_has_no_map_of_one(pruned):
    with pytest.raises(LackingError, match="prunekit search"):
        BY_NAME["search_map"].table(opened([pruned]))


def test_a_folder_that_is_no_run_and_a_run_named_twice_are_refused(pruned, tmp_path):
    with pytest.raises(ArtifactError, match="not a run directory"):
        opened([tmp_path])
    with pytest.raises(ConfigError, match="two runs have this name"):
        opened([pruned, pruned / ".." / pruned.name])


def test_where_no_training_came_to_its_end_a_figure_of_one_seed_is_lacking(tmp_path):
    with pytest.raises(LackingError, match="no training that this figure shows came to its end"):
        run_choice.one_seed(pd.DataFrame({"seed": []}), Run(tmp_path), None)
